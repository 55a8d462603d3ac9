//! Entries for users, virtual hosts, permissions and parameters.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::topology::Arguments;
use crate::model::Name;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UserEntry {
    pub(super) name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hashing_algorithm: Option<String>,
    /// Written by hand: RabbitMQ exports hashes only.
    #[serde(default, skip_serializing)]
    pub(super) password: Option<String>,
    pub(super) tags: Tags,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<Arguments>,
}

/// A list, or names with commas between them, as before RabbitMQ 3.9.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Tags {
    List(Vec<Name>),
    Text(String),
}

impl Tags {
    pub(super) fn names(&self) -> Vec<Name> {
        match self {
            Tags::List(names) => names.iter().map(|name| name.trim().into()).collect(),
            Tags::Text(text) => {
                let names = text.split(',').filter(|name| !name.is_empty());
                names.map(|name| name.trim().into()).collect()
            }
        }
    }
}

/// A virtual host. RabbitMQ has written the same values in different places.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct VhostEntry {
    pub(super) name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tags: Option<Tags>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) default_queue_type: Option<Value>,
    /// In files that people write: RabbitMQ reads it and never exports it.
    #[serde(default, skip_serializing)]
    pub(super) tracing: Option<bool>,
    #[serde(default)]
    pub(super) metadata: VhostMetadataEntry,
    #[serde(default, skip_deserializing)]
    pub(super) limits: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct VhostMetadataEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tags: Option<Vec<Name>>,
    /// The word `undefined` stands for none in some exports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_queue_type: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protected_from_deletion: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PermissionEntry {
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) configure: Name,
    pub(super) write: Name,
    pub(super) read: Name,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TopicPermissionEntry {
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) exchange: Name,
    pub(super) write: Name,
    pub(super) read: Name,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ParameterEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vhost: Option<Name>,
    pub(super) component: Name,
    pub(super) name: Name,
    pub(super) value: Value,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GlobalParameterEntry {
    pub(super) name: Name,
    pub(super) value: Arc<Value>,
}
