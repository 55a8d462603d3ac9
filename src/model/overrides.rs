//! Values that an operator or CMQ's API sets for a queue after its declaration. Plain data, stored with the
//! queue's definition. A later declaration over AMQP is still compared with the original arguments.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Name;
use super::arguments::{Overflow, QueueArguments};

/// Replaces a queue's arguments; `None` leaves the declared argument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueOverrides {
    /// Maximum time that a message may stay unacked, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility_timeout_ms: Option<u64>,
    /// Maximum number of waiting messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// What happens to a message that exceeds a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// Time to live in milliseconds; the broker then dead-letters the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ttl_ms: Option<u64>,
    /// Age in milliseconds since the enqueue at which the broker drops a message without dead-lettering it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// How long a rewind can bring back acked messages, in milliseconds; 0 turns the history off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewind_ms: Option<u64>,
    /// Maximum number of returns of a message; the broker dead-letters it at the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_limit: Option<u32>,
    /// The dead letter exchange; empty for the default exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_exchange: Option<Name>,
    /// Replaces the routing key of dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_routing_key: Option<Name>,
}

impl QueueOverrides {
    /// Whether every argument is as declared.
    pub fn is_empty(&self) -> bool {
        *self == QueueOverrides::default()
    }

    /// The effective arguments of a queue that was declared with `arguments`.
    pub fn apply(&self, arguments: &Arc<QueueArguments>) -> Arc<QueueArguments> {
        if self.is_empty() {
            return Arc::clone(arguments);
        }
        let declared = QueueArguments::clone(arguments);
        let exchange = self.dead_letter_exchange.clone();
        let routing_key = self.dead_letter_routing_key.clone();
        Arc::new(QueueArguments {
            visibility_timeout_ms: self
                .visibility_timeout_ms
                .or(declared.visibility_timeout_ms),
            max_length: self.max_length.or(declared.max_length),
            overflow: self.overflow.unwrap_or(declared.overflow),
            message_ttl_ms: self.message_ttl_ms.or(declared.message_ttl_ms),
            retention_ms: self.retention_ms,
            rewind_ms: match self.rewind_ms {
                Some(0) => None,
                said => said.or(declared.rewind_ms),
            },
            delivery_limit: self.delivery_limit.or(declared.delivery_limit),
            dead_letter_exchange: exchange.or(declared.dead_letter_exchange),
            dead_letter_routing_key: routing_key.or(declared.dead_letter_routing_key),
            ..declared
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_without_an_override_stay_as_declared() {
        let declared = Arc::new(QueueArguments {
            max_length: Some(5),
            delivery_limit: Some(20),
            ..QueueArguments::default()
        });
        let none = QueueOverrides::default();
        assert!(Arc::ptr_eq(&none.apply(&declared), &declared));
        let some = QueueOverrides {
            delivery_limit: Some(2),
            overflow: Some(Overflow::RejectPublish),
            retention_ms: Some(60_000),
            dead_letter_exchange: Some("".into()),
            ..none
        };
        let effective = some.apply(&declared);
        assert_eq!(effective.max_length, Some(5));
        assert_eq!(effective.delivery_limit, Some(2));
        assert_eq!(effective.overflow, Overflow::RejectPublish);
        assert_eq!(effective.retention_ms, Some(60_000));
        assert_eq!(effective.dead_letter_exchange.as_deref(), Some(""));
        assert_eq!(effective.raw, declared.raw);
    }

    #[test]
    fn only_set_overrides_are_stored() {
        let some = QueueOverrides {
            visibility_timeout_ms: Some(30_000),
            overflow: Some(Overflow::RejectPublish),
            ..QueueOverrides::default()
        };
        let stored = serde_json::to_string(&some).expect("plain data");
        assert_eq!(
            stored,
            r#"{"visibility_timeout_ms":30000,"overflow":"reject-publish"}"#
        );
        assert_eq!(
            serde_json::from_str::<QueueOverrides>(&stored).expect("as stored"),
            some
        );
        assert!(
            serde_json::from_str::<QueueOverrides>("{}")
                .expect("nothing")
                .is_empty()
        );
    }
}
