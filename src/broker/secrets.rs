//! Keys with which requests over HTTP are signed: each belongs to a user and a virtual host, and lets its holder do
//! there what that user may. The table only; `users` changes it under its own lock, so that a key goes with its user.
//!
//! A signature can only be checked by who has the key itself, so keys are stored as they are: the data directory is
//! kept to its owner.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rand::RngExt;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};

use super::access_records::{DefinitionError, Record};
use crate::model::Name;
use crate::store::{Op, Store};

/// What ids start with that are generated here: so do all of CMQ's, and some clients look.
const ID_PREFIX: &str = "AKID";
/// Random characters of a generated id, after the prefix.
const ID_CHARS: usize = 32;
/// Random characters of a generated key.
const KEY_CHARS: usize = 32;
/// The longest id or key that an operator may choose, in bytes.
pub const SECRET_BYTES_MAX: usize = 128;

/// A key and whose it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// `SecretId`: public, tells one key from another.
    pub id: Name,
    /// `SecretKey`: what signatures are made with.
    pub key: Name,
    /// Its user.
    pub user: Name,
    /// Its virtual host.
    pub vhost: Name,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key: this may end in a log.
        f.debug_struct("Secret")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

impl Record for Secret {
    const KIND: &'static str = "secret-key";
    fn identity(&self) -> Vec<&str> {
        vec![&self.id]
    }
}

impl Secret {
    /// A key for `user` in `vhost`; id and key are made up where none is given.
    pub fn new(user: &str, vhost: &str, chosen: Option<(&str, &str)>) -> Secret {
        let (id, key) = match chosen {
            Some((id, key)) => (id.into(), key.into()),
            None => (
                format!("{ID_PREFIX}{}", random(ID_CHARS)).into(),
                random(KEY_CHARS).into(),
            ),
        };
        Secret {
            id,
            key,
            user: user.into(),
            vhost: vhost.into(),
        }
    }
}

fn random(chars: usize) -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(chars)
        .map(char::from)
        .collect()
}

/// All keys by id.
#[derive(Debug, Default)]
pub struct Secrets {
    by_id: RwLock<HashMap<Name, Arc<Secret>>>,
}

impl Secrets {
    /// What the store holds.
    pub(super) fn load(store: &dyn Store) -> Result<Secrets, DefinitionError> {
        let by_id = Secret::load(store)?
            .into_iter()
            .map(|secret| (secret.id.clone(), Arc::new(secret)))
            .collect();
        Ok(Secrets {
            by_id: RwLock::new(by_id),
        })
    }

    /// A key by its id.
    pub fn get(&self, id: &str) -> Option<Arc<Secret>> {
        self.by_id.read().get(id).cloned()
    }

    /// All keys, ordered by user, virtual host and id.
    pub fn list(&self) -> Vec<Arc<Secret>> {
        let mut all: Vec<_> = self.by_id.read().values().cloned().collect();
        all.sort_by(|a, b| (&a.user, &a.vhost, &a.id).cmp(&(&b.user, &b.vhost, &b.id)));
        all
    }

    /// Adds a key; false if there is one with its id.
    pub(super) fn insert(&self, secret: Secret, ops: &mut Vec<Op>) -> bool {
        let mut by_id = self.by_id.write();
        if by_id.contains_key(&secret.id) {
            return false;
        }
        ops.push(secret.put());
        by_id.insert(secret.id.clone(), Arc::new(secret));
        true
    }

    /// Removes those that `gone` names.
    pub(super) fn remove(&self, gone: impl Fn(&Secret) -> bool, ops: &mut Vec<Op>) {
        self.by_id.write().retain(|id, secret| {
            let goes = gone(secret);
            if goes {
                ops.push(Secret::remove(&[id]));
            }
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, MemoryStore};

    #[test]
    fn keys_come_back_and_go_with_their_owner() {
        let store = MemoryStore::new();
        let secrets = Secrets::default();
        let mut ops = Vec::new();
        for (user, vhost) in [("a", "/"), ("a", "v"), ("b", "v")] {
            assert!(secrets.insert(Secret::new(user, vhost, None), &mut ops));
        }
        let chosen = Secret::new("b", "/", Some(("AKIDchosen", "key")));
        assert!(secrets.insert(chosen.clone(), &mut ops));
        assert!(!secrets.insert(Secret::new("a", "/", Some(("AKIDchosen", "x"))), &mut ops));
        store.commit(&Batch::from_iter(ops)).unwrap();

        let secrets = Secrets::load(&store).unwrap();
        assert_eq!(*secrets.get("AKIDchosen").unwrap(), chosen);
        let mut ops = Vec::new();
        secrets.remove(|secret| &*secret.user == "a", &mut ops);
        secrets.remove(|secret| &*secret.vhost == "v", &mut ops);
        store.commit(&Batch::from_iter(ops)).unwrap();
        for left in [secrets, Secrets::load(&store).unwrap()] {
            assert_eq!(left.list(), [Arc::new(chosen.clone())]);
        }
    }

    #[test]
    fn generated_keys_differ_and_are_not_shown() {
        let (one, other) = (Secret::new("u", "/", None), Secret::new("u", "/", None));
        assert!(one.id.starts_with("AKID") && one.id.len() == 36 && one.key.len() == 32);
        assert!(one.id != other.id && one.key != other.key);
        assert!(!format!("{one:?}").contains(&*one.key));
    }
}
