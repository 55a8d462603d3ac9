//! Entries for exchanges, queues, bindings and policies. In a document of one virtual host they do not name it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::Name;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExchangeEntry {
    pub(super) name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vhost: Option<Name>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default = "yes")]
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    #[serde(default)]
    pub(super) internal: bool,
    #[serde(default)]
    pub(super) arguments: Arguments,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct QueueEntry {
    pub(super) name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vhost: Option<Name>,
    /// For readers: RabbitMQ and we read the type from the arguments.
    #[serde(rename = "type", default, skip_deserializing)]
    pub(super) kind: &'static str,
    #[serde(default = "yes")]
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    #[serde(default)]
    pub(super) arguments: Arguments,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BindingEntry {
    pub(super) source: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vhost: Option<Name>,
    pub(super) destination: Name,
    pub(super) destination_type: DestinationType,
    #[serde(default)]
    pub(super) routing_key: Name,
    #[serde(default)]
    pub(super) arguments: Arguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DestinationType {
    Queue,
    Exchange,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PolicyEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vhost: Option<Name>,
    pub(super) name: Name,
    pub(super) pattern: Value,
    #[serde(rename = "apply-to", default, skip_serializing_if = "Option::is_none")]
    pub(super) apply_to: Option<Value>,
    pub(super) definition: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) priority: Option<Value>,
}

/// An object; an empty list stands for an empty object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Arguments {
    Object(Map<String, Value>),
    List([Value; 0]),
    Null(()),
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments::Object(Map::new())
    }
}

impl Arguments {
    pub(super) fn object(&self) -> Option<&Map<String, Value>> {
        match self {
            Arguments::Object(object) => Some(object),
            Arguments::List([]) | Arguments::Null(()) => None,
        }
    }
}

fn yes() -> bool {
    true
}
