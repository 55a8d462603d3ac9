//! Global parameters: a name and any JSON value each.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{NAME_BYTES_MAX, ParameterError, VALUE_BYTES_MAX};
use crate::broker::definitions::Kind;
use crate::broker::definitions::record::{DefinitionError, Identity, NamedRecord, Record, Records};
use crate::broker::definitions::table::{Serialised, Table};
use crate::model::Name;
use crate::store::{Committer, StoreFailed};

/// The name that operators and clients see for the whole broker.
pub const CLUSTER_NAME: &str = "cluster_name";
/// An id that stays the same for the life of a data directory.
pub const INTERNAL_CLUSTER_ID: &str = "internal_cluster_id";
/// The hash of the definitions file that was imported last. Not listed, as in RabbitMQ.
pub const IMPORTED_HASH: &str = "imported_definition_hash_value";
/// Random characters of the id of the cluster.
const ID_CHARS: usize = 22;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct GlobalParameterRecord {
    name: Name,
    value: Arc<Value>,
}

impl NamedRecord for GlobalParameterRecord {
    const KIND: Kind = Kind::GlobalParameter;
    fn names(&self) -> Vec<&str> {
        vec![&self.name]
    }
}

#[derive(Debug, Default)]
struct ByName(BTreeMap<Name, Arc<Value>>);

enum Change {
    Put(GlobalParameterRecord),
    Remove(Name),
}

impl Table for ByName {
    type Change = Change;

    fn write(change: &Change, records: &mut Records) {
        match change {
            Change::Put(record) => records.put(record),
            Change::Remove(name) => {
                records.remove(Kind::GlobalParameter, &Identity::of_names(&[name]));
            }
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put(record) => self.0.insert(record.name, record.value),
            Change::Remove(name) => self.0.remove(&name),
        };
    }
}

/// All global parameters.
pub struct GlobalParameters {
    table: Serialised<ByName>,
}

impl GlobalParameters {
    /// The parameters that the committer's store holds.
    pub(in crate::broker) fn open(
        committer: Arc<Committer>,
    ) -> Result<GlobalParameters, DefinitionError> {
        let mut table = ByName::default();
        for record in GlobalParameterRecord::load(&**committer.store())? {
            table.apply(Change::Put(record));
        }
        Ok(GlobalParameters {
            table: Serialised::new(table, committer),
        })
    }

    /// All parameters that operators see, ordered by name.
    pub fn list(&self) -> Vec<(Name, Arc<Value>)> {
        let table = self.table.read();
        let all = table.0.iter().filter(|(name, _)| ***name != *IMPORTED_HASH);
        all.map(|(name, value)| (name.clone(), Arc::clone(value)))
            .collect()
    }

    pub fn get(&self, name: &str) -> Option<Arc<Value>> {
        self.table.read().0.get(name).cloned()
    }

    /// The name of the cluster that an operator has set.
    pub fn cluster_name(&self) -> Option<String> {
        let value = self.get(CLUSTER_NAME)?;
        value.as_str().map(str::to_owned)
    }

    /// The permanent id of this broker's data.
    pub fn cluster_id(&self) -> String {
        let value = self.get(INTERNAL_CLUSTER_ID);
        let id = value.as_deref().and_then(Value::as_str);
        id.unwrap_or_default().to_owned()
    }

    /// Sets or replaces a parameter; it is durable when this returns.
    pub async fn set(&self, name: &str, value: Value) -> Result<(), ParameterError> {
        self.set_all(vec![(name.into(), Arc::new(value))]).await
    }

    /// Sets or replaces parameters, all in one commit.
    pub async fn set_all(&self, parameters: Vec<(Name, Arc<Value>)>) -> Result<(), ParameterError> {
        for (name, value) in &parameters {
            if name.len() > NAME_BYTES_MAX {
                return Err(ParameterError::NameTooLong);
            }
            if value.to_string().len() > VALUE_BYTES_MAX {
                return Err(ParameterError::ValueTooLong);
            }
        }
        self.table
            .change(|table| {
                let changed = parameters
                    .into_iter()
                    .filter(|(name, value)| table.0.get(name) != Some(value));
                let put =
                    changed.map(|(name, value)| Change::Put(GlobalParameterRecord { name, value }));
                Ok((put.collect(), ()))
            })
            .await
    }

    /// Removes a parameter.
    pub async fn clear(&self, name: &str) -> Result<(), ParameterError> {
        self.table
            .change(|table| match table.0.contains_key(name) {
                true => Ok((vec![Change::Remove(name.into())], ())),
                false => Err(ParameterError::NotFound),
            })
            .await
    }

    /// Gives new data its id.
    pub(in crate::broker) async fn create_cluster_id(&self) -> Result<(), StoreFailed> {
        let random = rand::rng().sample_iter(Alphanumeric).take(ID_CHARS);
        let id: String = random.map(char::from).collect();
        let put = Change::Put(GlobalParameterRecord {
            name: INTERNAL_CLUSTER_ID.into(),
            value: Arc::new(format!("leveret-cluster-id-{id}").into()),
        });
        self.table
            .change(|table| match table.0.contains_key(INTERNAL_CLUSTER_ID) {
                true => Ok((Vec::new(), ())),
                false => Ok((vec![put], ())),
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::{Limits, MemoryStore};

    #[tokio::test]
    async fn global_parameters_survive_a_restart() {
        let store = Arc::new(MemoryStore::new());
        let start = || Committer::start(store.clone(), Limits::default()).unwrap();
        let committer = start();
        let parameters = GlobalParameters::open(Arc::clone(&committer)).unwrap();
        let value = json!({"a": [1, null, {"b": "ü"}]});
        parameters.set("x/y", value.clone()).await.unwrap();
        parameters.set("gone", json!(1)).await.unwrap();
        parameters.clear("gone").await.unwrap();
        let missing = parameters.clear("gone").await.unwrap_err();
        assert_eq!(missing.to_string(), "Parameter does not exist");
        parameters.create_cluster_id().await.unwrap();
        let id = parameters.cluster_id();
        committer.shutdown();

        let parameters = GlobalParameters::open(start()).unwrap();
        parameters.create_cluster_id().await.unwrap();
        assert_eq!(parameters.cluster_id(), id);
        let names: Vec<_> = parameters
            .list()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, [INTERNAL_CLUSTER_ID.into(), Name::from("x/y")]);
        assert_eq!(*parameters.get("x/y").unwrap(), value);
    }

    #[tokio::test]
    async fn names_and_values_have_a_maximum_length() {
        let store = Arc::new(MemoryStore::new());
        let committer = Committer::start(store, Limits::default()).unwrap();
        let parameters = GlobalParameters::open(committer).unwrap();
        let name = "n".repeat(NAME_BYTES_MAX);
        // Two quotation marks belong to the JSON.
        let value = "v".repeat(VALUE_BYTES_MAX - 2);
        parameters.set(&name, json!(value)).await.unwrap();
        let refused = parameters.set(&(name + "n"), json!(1)).await;
        assert_eq!(refused, Err(ParameterError::NameTooLong));
        let refused = parameters.set("n", json!(value + "v")).await;
        assert_eq!(refused, Err(ParameterError::ValueTooLong));
    }
}
