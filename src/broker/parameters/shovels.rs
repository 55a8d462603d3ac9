//! Parameters of the component `shovel`: definitions of dynamic shovels. The room `shovel` watches the changes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::error::{NAME_BYTES_MAX, ParameterError, VALUE_BYTES_MAX};
use crate::broker::definitions::Kind;
use crate::broker::definitions::proposal::Proposal;
use crate::broker::definitions::record::{DefinitionError, Identity, NamedRecord, Record, Records};
use crate::broker::definitions::table::{Serialised, Table};
use crate::model::Name;
use crate::model::shovel::ShovelDefinition;
use crate::store::Committer;

/// Maximum number of shovels. Each that runs has two connections and a task.
pub const SHOVELS_MAX: usize = 1000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ShovelRecord {
    vhost: Name,
    name: Name,
    value: Arc<Value>,
}

impl NamedRecord for ShovelRecord {
    const KIND: Kind = Kind::Shovel;
    fn names(&self) -> Vec<&str> {
        vec![&self.vhost, &self.name]
    }
}

/// A shovel's virtual host and name.
pub type ShovelKey = (Name, Name);

struct ByName {
    values: BTreeMap<ShovelKey, Arc<Value>>,
    /// Counts the changes.
    version: watch::Sender<u64>,
}

enum Change {
    Put(ShovelKey, Arc<Value>),
    Remove(ShovelKey),
}

impl Table for ByName {
    type Change = Change;

    fn write(change: &Change, records: &mut Records) {
        match change {
            Change::Put((vhost, name), value) => records.put(&ShovelRecord {
                vhost: vhost.clone(),
                name: name.clone(),
                value: Arc::clone(value),
            }),
            Change::Remove((vhost, name)) => {
                records.remove(Kind::Shovel, &Identity::of_names(&[vhost, name]));
            }
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put(key, value) => self.values.insert(key, value),
            Change::Remove(key) => self.values.remove(&key),
        };
        self.version.send_modify(|version| *version += 1);
    }
}

/// All definitions of shovels.
pub struct ShovelParameters {
    table: Serialised<ByName>,
    changed: watch::Receiver<u64>,
}

impl ShovelParameters {
    /// The parameters that the committer's store holds.
    pub(in crate::broker) fn open(
        committer: Arc<Committer>,
    ) -> Result<ShovelParameters, DefinitionError> {
        let (version, changed) = watch::channel(0);
        let mut table = ByName {
            values: BTreeMap::new(),
            version,
        };
        for ShovelRecord { vhost, name, value } in ShovelRecord::load(&**committer.store())? {
            table.apply(Change::Put((vhost, name), value));
        }
        Ok(ShovelParameters {
            table: Serialised::new(table, committer),
            changed,
        })
    }

    /// All shovels, ordered by virtual host and name.
    pub fn list(&self) -> Vec<(ShovelKey, Arc<Value>)> {
        let table = self.table.read();
        let all = table.values.iter();
        all.map(|(key, value)| (key.clone(), Arc::clone(value)))
            .collect()
    }

    /// The shovels of a virtual host, ordered by name.
    pub fn of_vhost(&self, vhost: &Name) -> Vec<(Name, Arc<Value>)> {
        let table = self.table.read();
        let from = (vhost.clone(), Name::from(""));
        let of_it = table.values.range(from..);
        let of_it = of_it.take_while(|((of, _), _)| of == vhost);
        of_it
            .map(|((_, name), value)| (name.clone(), Arc::clone(value)))
            .collect()
    }

    pub fn get(&self, vhost: &str, name: &str) -> Option<Arc<Value>> {
        let table = self.table.read();
        table.values.get(&(vhost.into(), name.into())).cloned()
    }

    /// Changes with every change of a shovel.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Sets or replaces a shovel of a virtual host, which the caller knows to exist. It is durable when this returns.
    pub(super) async fn set(
        &self,
        vhost: &str,
        name: &str,
        value: &Value,
    ) -> Result<(), ParameterError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(ParameterError::NameTooLong);
        }
        if value.to_string().len() > VALUE_BYTES_MAX {
            return Err(ParameterError::ValueTooLong);
        }
        let checked = ShovelDefinition::parse(name, value);
        checked.map_err(|invalid| ParameterError::Invalid(invalid.to_string()))?;
        let key = (vhost.into(), name.into());
        self.table
            .change(|table| {
                let is_new = !table.values.contains_key(&key);
                if is_new && table.values.len() >= SHOVELS_MAX {
                    let text = format!("there are at most {SHOVELS_MAX} shovels");
                    return Err(ParameterError::Invalid(text));
                }
                Ok((vec![Change::Put(key, Arc::new(value.clone()))], ()))
            })
            .await
    }

    /// Removes a shovel; false if there is none. With `only`, it must still have this value.
    pub async fn clear(
        &self,
        vhost: &str,
        name: &str,
        only: Option<&Arc<Value>>,
    ) -> Result<bool, ParameterError> {
        let key = (vhost.into(), name.into());
        self.table
            .change(|table| {
                let is_it = |value: &Arc<Value>| only.is_none_or(|only| Arc::ptr_eq(only, value));
                match table.values.get(&key).is_some_and(is_it) {
                    true => Ok((vec![Change::Remove(key)], true)),
                    false => Ok((Vec::new(), false)),
                }
            })
            .await
    }

    /// Proposes to forget the shovels of a virtual host that is being deleted.
    pub(in crate::broker) async fn propose_forget_vhost(&self, vhost: &str) -> Proposal {
        let proposed = self.table.propose(|table| {
            let of_it = table.values.keys().filter(|(of, _)| **of == *vhost);
            let remove = of_it.cloned().map(Change::Remove).collect();
            Ok::<_, Infallible>((remove, ()))
        });
        let Ok((proposal, ())) = proposed.await;
        proposal
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::{Limits, MemoryStore};

    fn value(queue: &str) -> Value {
        json!({"src-uri": "amqp://", "src-queue": queue, "dest-uri": "amqp://", "dest-queue": "b"})
    }

    #[tokio::test]
    async fn shovels_survive_a_restart_and_changes_are_seen() {
        let store = Arc::new(MemoryStore::new());
        let start = || Committer::start(store.clone(), Limits::default()).unwrap();
        let committer = start();
        let shovels = ShovelParameters::open(Arc::clone(&committer)).unwrap();
        let mut changes = shovels.changes();
        shovels.set("v", "s", &value("a")).await.unwrap();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        shovels.set("v", "t", &value("a")).await.unwrap();
        shovels.set("w", "s", &value("a")).await.unwrap();
        let old = shovels.get("v", "s").unwrap();
        shovels.set("v", "s", &value("c")).await.unwrap();
        assert!(!shovels.clear("v", "s", Some(&old)).await.unwrap());
        assert!(shovels.clear("v", "t", None).await.unwrap());
        assert!(!shovels.clear("v", "t", None).await.unwrap());
        let forget = shovels.propose_forget_vhost("w").await;
        forget.commit(&committer).await.unwrap();
        committer.shutdown();

        let shovels = ShovelParameters::open(start()).unwrap();
        let expected = (("v".into(), "s".into()), Arc::new(value("c")));
        assert_eq!(shovels.list(), [expected]);
    }

    #[tokio::test]
    async fn invalid_shovels_change_nothing() {
        let store = Arc::new(MemoryStore::new());
        let committer = Committer::start(store, Limits::default()).unwrap();
        let shovels = ShovelParameters::open(committer).unwrap();
        let refused = shovels.set("v", "s", &json!({})).await.unwrap_err();
        assert!(matches!(refused, ParameterError::Invalid(_)), "{refused}");
        let refused = shovels.set("v", &"n".repeat(256), &value("a")).await;
        assert_eq!(refused, Err(ParameterError::NameTooLong));
        assert_eq!(shovels.list(), []);
    }

    #[tokio::test]
    async fn there_is_a_maximum_number_of_shovels() {
        let store = Arc::new(MemoryStore::new());
        let committer = Committer::start(store, Limits::default()).unwrap();
        let shovels = ShovelParameters::open(committer).unwrap();
        for number in 0..SHOVELS_MAX {
            let set = shovels.set("v", &number.to_string(), &value("a")).await;
            set.unwrap();
        }
        let refused = shovels.set("v", "more", &value("a")).await;
        assert!(matches!(refused, Err(ParameterError::Invalid(_))));
        shovels.set("v", "0", &value("b")).await.unwrap();
    }
}
