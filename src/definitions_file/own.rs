//! Entries that only Leveret has, under the key `leveret`, which RabbitMQ ignores.

use serde::{Deserialize, Serialize};

use crate::broker::secrets::Secret;
use crate::model::{Name, QueueOverrides};

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct OwnEntries {
    /// Hashes that RabbitMQ cannot verify. The user's own entry has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) password_hashes: Vec<PasswordEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) secret_keys: Vec<Secret>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) queue_overrides: Vec<OverridesEntry>,
}

impl OwnEntries {
    pub(super) fn is_empty(&self) -> bool {
        self.password_hashes.is_empty()
            && self.secret_keys.is_empty()
            && self.queue_overrides.is_empty()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PasswordEntry {
    pub(super) name: Name,
    pub(super) password_hash: String,
    pub(super) hashing_algorithm: String,
}

/// The overrides of one queue.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OverridesEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vhost: Option<Name>,
    pub(super) queue: Name,
    pub(super) overrides: QueueOverrides,
}
