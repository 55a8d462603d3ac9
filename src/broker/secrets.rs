//! A key that signs requests over HTTP. It belongs to a user and a virtual host, and gives its holder that
//! user's permissions there. `users` holds all keys, so that a key goes with its user.
//!
//! Checking a signature takes the key itself, so keys are stored in plain text. The data directory is readable by its
//! owner only.

use std::fmt;

use rand::RngExt;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};

use super::definitions::Kind;
use super::definitions::record::NamedRecord;
use crate::model::Name;

/// Prefix of generated ids. All of CMQ's ids have it, and some clients check it.
const ID_PREFIX: &str = "AKID";
/// Random characters of a generated id, after the prefix.
const ID_CHARS: usize = 32;
/// Random characters of a generated key.
const KEY_CHARS: usize = 32;
/// Maximum length of an id or key that an operator chooses.
pub const SECRET_BYTES_MAX: usize = 128;

/// A key with its user and virtual host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// `SecretId`: public.
    pub id: Name,
    /// `SecretKey`: signs requests.
    pub key: Name,
    pub user: Name,
    pub vhost: Name,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key: this may be logged.
        f.debug_struct("Secret")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

impl NamedRecord for Secret {
    const KIND: Kind = Kind::SecretKey;
    fn names(&self) -> Vec<&str> {
        vec![&self.id]
    }
}

impl Secret {
    /// A key for `user` in `vhost`, with a random id and key unless they are chosen.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_differ_and_are_not_shown() {
        let (one, other) = (Secret::new("u", "/", None), Secret::new("u", "/", None));
        assert!(one.id.starts_with("AKID") && one.id.len() == 36 && one.key.len() == 32);
        assert!(one.id != other.id && one.key != other.key);
        assert!(!format!("{one:?}").contains(&*one.key));
    }
}
