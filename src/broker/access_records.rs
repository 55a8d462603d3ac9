//! How users, permissions and limits are stored: JSON under definition keys. Pure encoding; what they mean is in
//! `users`, `permissions` and `limits`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::limits::{UserLimits, VhostLimits};
use super::password::PasswordHash;
use super::permissions::InvalidPattern;
use crate::model::Name;
use crate::store::{Op, Store, StoreError};

/// A user as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UserRecord {
    pub(super) name: Name,
    pub(super) tags: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<PasswordHash>,
    #[serde(default)]
    pub(super) limits: UserLimits,
}

/// The three patterns of a user in a virtual host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GrantRecord {
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) configure: Name,
    pub(super) write: Name,
    pub(super) read: Name,
}

/// The patterns of a user on a topic exchange, with their variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopicRecord {
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) exchange: Name,
    pub(super) write: Name,
    pub(super) read: Name,
}

/// The limits of a virtual host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VhostLimitsRecord {
    pub(super) vhost: Name,
    pub(super) limits: VhostLimits,
}

/// A stored definition that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The value is not what this version writes.
    #[error("the stored definition under {key:?} is damaged: {reason}")]
    Damaged {
        /// Its key, escaped.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A stored permission pattern does not compile.
    #[error("the stored permission pattern {0:?} does not compile")]
    Pattern(String),
}

impl DefinitionError {
    pub(super) fn pattern(invalid: InvalidPattern) -> DefinitionError {
        DefinitionError::Pattern(invalid.pattern)
    }
}

/// A kind of record: the first part of its key.
pub(super) trait Record: Serialize + DeserializeOwned {
    const KIND: &'static str;
    /// What tells one record of the kind from another.
    fn identity(&self) -> Vec<&str>;

    /// Writes the record, or replaces it.
    fn put(&self) -> Op {
        let value = serde_json::to_vec(self)
            .unwrap_or_else(|error| unreachable!("records are plain text and numbers: {error}"));
        Op::PutDefinition {
            key: key(Self::KIND, &self.identity()),
            value,
        }
    }

    /// Removes the record with this identity.
    fn remove(identity: &[&str]) -> Op {
        Op::RemoveDefinition {
            key: key(Self::KIND, identity),
        }
    }

    /// All records of the kind.
    fn load(store: &dyn Store) -> Result<Vec<Self>, DefinitionError> {
        let decode = |(key, value): (Vec<u8>, Vec<u8>)| {
            serde_json::from_slice(&value).map_err(|error| DefinitionError::Damaged {
                key: key.escape_ascii().to_string(),
                reason: error.to_string(),
            })
        };
        store
            .definitions(&key(Self::KIND, &[]))?
            .into_iter()
            .map(decode)
            .collect()
    }
}

/// `kind NUL`, then each part with its length before it, so that no two identities share a key.
fn key(kind: &str, parts: &[&str]) -> Vec<u8> {
    let mut key = kind.as_bytes().to_vec();
    key.push(0);
    for part in parts {
        // Names are at most 255 bytes on the wire; a longer one from an operator still has a key of its own.
        key.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        key.extend_from_slice(part.as_bytes());
    }
    key
}

impl Record for UserRecord {
    const KIND: &'static str = "user";
    fn identity(&self) -> Vec<&str> {
        vec![&self.name]
    }
}

impl Record for GrantRecord {
    const KIND: &'static str = "permission";
    fn identity(&self) -> Vec<&str> {
        vec![&self.user, &self.vhost]
    }
}

impl Record for TopicRecord {
    const KIND: &'static str = "topic-permission";
    fn identity(&self) -> Vec<&str> {
        vec![&self.user, &self.vhost, &self.exchange]
    }
}

impl Record for VhostLimitsRecord {
    const KIND: &'static str = "vhost-limits";
    fn identity(&self) -> Vec<&str> {
        vec![&self.vhost]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, MemoryStore};

    #[test]
    fn records_come_back_and_keep_apart() {
        let store = MemoryStore::new();
        let grant = |user: &str, vhost: &str| GrantRecord {
            user: user.into(),
            vhost: vhost.into(),
            configure: ".*".into(),
            write: "".into(),
            read: "^a".into(),
        };
        let grants = [grant("a", "bc"), grant("ab", "c"), grant("", "abc")];
        let user = UserRecord {
            name: "a".into(),
            tags: vec!["administrator".into()],
            password: Some(PasswordHash::rabbit_sha256(b"x")),
            limits: UserLimits {
                max_connections: Some(2),
                max_channels: None,
            },
        };
        store
            .commit(&Batch::from_iter(
                grants.iter().map(Record::put).chain([user.put()]),
            ))
            .unwrap();
        let mut loaded = GrantRecord::load(&store).unwrap();
        loaded.sort_by_key(|grant| grant.user.len());
        assert_eq!(
            loaded,
            [grant("", "abc"), grant("a", "bc"), grant("ab", "c")]
        );
        assert_eq!(UserRecord::load(&store).unwrap(), [user]);
        store
            .commit(&Batch::from_iter([GrantRecord::remove(&["ab", "c"])]))
            .unwrap();
        assert_eq!(GrantRecord::load(&store).unwrap().len(), 2);
        assert!(TopicRecord::load(&store).unwrap().is_empty());
    }

    #[test]
    fn damage_is_named() {
        let store = MemoryStore::new();
        let op = Op::PutDefinition {
            key: key("user", &["x"]),
            value: b"{".to_vec(),
        };
        store.commit(&Batch::from_iter([op])).unwrap();
        let error = UserRecord::load(&store).unwrap_err().to_string();
        assert!(
            error.starts_with(
                r#"the stored definition under "user\\x00\\x00\\x00\\x00\\x01x" is damaged"#
            ),
            "{error}"
        );
    }
}
