//! Records: kind, identity and value of a definition, encoded as key and value on disk. Knows no meaning of a record.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kind::Kind;
use crate::model::Ticket;
use crate::store::{Committer, Op, Store, StoreError};

/// A stored definition that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The value does not have the format of this version. The key is escaped.
    #[error("the stored definition under {key:?} is damaged: {reason}")]
    Damaged { key: String, reason: String },
    #[error("the stored permission pattern {0:?} does not compile")]
    Pattern(String),
}

/// The part of the key that tells the records of a kind apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(Vec<u8>);

impl Identity {
    /// Names, each with its length in front, so that no two identities share a key.
    pub fn of_names(names: &[&str]) -> Identity {
        let mut bytes = Vec::with_capacity(names.iter().map(|name| name.len() + 4).sum());
        for name in names {
            // Names are at most 255 bytes on the wire; a longer name from an operator still has its own key.
            bytes.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        Identity(bytes)
    }

    pub fn of_ids(ids: &[u64]) -> Identity {
        Identity(ids.iter().flat_map(|id| id.to_be_bytes()).collect())
    }
}

/// A definition as it is stored.
pub trait Record: Sized {
    const KIND: Kind;
    /// The value on disk.
    type Value: Serialize + DeserializeOwned;

    fn identity(&self) -> Identity;

    fn value(&self) -> &Self::Value;

    /// The record with this identity and value; `None` if the identity does not fit the kind.
    fn from_parts(identity: &[u8], value: Self::Value) -> Option<Self>;

    /// All records of the kind.
    fn load(store: &dyn Store) -> Result<Vec<Self>, DefinitionError> {
        let prefix = key(Self::KIND, &Identity(Vec::new()));
        let decode = |(key, value): (Vec<u8>, Vec<u8>)| {
            let damaged = |reason: String| DefinitionError::Damaged {
                key: key.escape_ascii().to_string(),
                reason,
            };
            let value =
                serde_json::from_slice(&value).map_err(|error| damaged(error.to_string()))?;
            let identity = key.strip_prefix(prefix.as_slice()).unwrap_or_default();
            Self::from_parts(identity, value).ok_or_else(|| damaged("a wrong key".to_owned()))
        };
        store
            .definitions(&prefix)?
            .into_iter()
            .map(decode)
            .collect()
    }
}

/// A record whose value contains the names of its identity.
pub trait NamedRecord: Serialize + DeserializeOwned {
    const KIND: Kind;

    fn names(&self) -> Vec<&str>;
}

impl<R: NamedRecord> Record for R {
    const KIND: Kind = R::KIND;
    type Value = R;

    fn identity(&self) -> Identity {
        Identity::of_names(&self.names())
    }

    fn value(&self) -> &R {
        self
    }

    fn from_parts(_: &[u8], value: R) -> Option<R> {
        Some(value)
    }
}

/// Records to write and to remove, in one batch.
#[derive(Debug, Default)]
pub struct Records(Vec<Op>);

impl Records {
    /// Writes a record, or replaces the one with its identity.
    pub fn put<R: Record>(&mut self, record: &R) {
        let value = serde_json::to_vec(record.value())
            .unwrap_or_else(|error| unreachable!("records are plain text and numbers: {error}"));
        self.0.push(Op::PutDefinition {
            key: key(R::KIND, &record.identity()),
            value,
        });
    }

    pub fn remove(&mut self, kind: Kind, identity: &Identity) {
        self.0.push(Op::RemoveDefinition {
            key: key(kind, identity),
        });
    }

    pub fn append(&mut self, mut other: Records) {
        self.0.append(&mut other.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds them to the batch that gathers.
    pub fn write_soon(self, committer: &Committer) -> Ticket {
        committer.append(self.0)
    }

    #[cfg(test)]
    pub(super) fn into_ops(self) -> Vec<Op> {
        self.0
    }
}

pub(in crate::broker) fn key(kind: Kind, identity: &Identity) -> Vec<u8> {
    [kind.word().as_bytes(), &[0], &identity.0].concat()
}

#[cfg(test)]
pub(in crate::broker) mod tests {
    use super::*;
    use crate::store::Journal as _;
    use crate::store::{Batch, MemoryStore};

    /// Writes the records to a store, as a commit does.
    pub(in crate::broker) fn write(store: &MemoryStore, fill: impl FnOnce(&mut Records)) {
        let mut records = Records::default();
        fill(&mut records);
        store.append(&Batch::from_iter(records.into_ops())).unwrap();
    }

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Pair(String, String);

    impl NamedRecord for Pair {
        const KIND: Kind = Kind::Permission;
        fn names(&self) -> Vec<&str> {
            vec![&self.0, &self.1]
        }
    }

    fn pair(a: &str, b: &str) -> Pair {
        Pair(a.to_owned(), b.to_owned())
    }

    #[test]
    fn identities_do_not_run_together() {
        let store = MemoryStore::new();
        let pairs = [pair("", "abc"), pair("a", "bc"), pair("ab", "c")];
        write(&store, |records| {
            pairs.iter().for_each(|pair| records.put(pair));
        });
        assert_eq!(Pair::load(&store).unwrap(), pairs);
        let gone = Identity::of_names(&["ab", "c"]);
        write(&store, |records| records.remove(Kind::Permission, &gone));
        assert_eq!(Pair::load(&store).unwrap(), pairs[..2]);
    }

    #[test]
    fn damage_is_named() {
        let store = MemoryStore::new();
        let op = Op::PutDefinition {
            key: key(Kind::Permission, &Identity::of_names(&["x"])),
            value: b"{".to_vec(),
        };
        store.append(&Batch::from_iter([op])).unwrap();
        let error = Pair::load(&store).unwrap_err().to_string();
        assert!(
            error.starts_with(
                r#"the stored definition under "permission\\x00\\x00\\x00\\x00\\x01x" is damaged"#
            ),
            "{error}"
        );
    }
}
