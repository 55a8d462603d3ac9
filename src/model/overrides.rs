//! Values that an operator or CMQ's API sets for a queue after its declaration. Plain data, stored with the
//! queue's definition. A later declaration over AMQP is still compared with the original arguments.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Name;
use super::arguments::Overflow;

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

    /// The values under the keys of policies. [`super::effective::Given`] merges them.
    pub(super) fn settings(&self) -> Vec<(&'static str, Value)> {
        let number = |key, value: Option<u64>| value.map(|value| (key, Value::from(value)));
        let name = |key, value: &Option<Name>| value.as_deref().map(|name| (key, name.into()));
        let rewind_seconds = self.rewind_ms.map(|ms| ms.div_ceil(1000));
        let overflow = self.overflow.map(|overflow| overflow.as_str().into());
        [
            number("visibility-timeout", self.visibility_timeout_ms),
            number("max-length", self.max_length),
            overflow.map(|word| ("overflow", word)),
            number("message-ttl", self.message_ttl_ms),
            number("rewind-seconds", rewind_seconds),
            number("delivery-limit", self.delivery_limit.map(u64::from)),
            name("dead-letter-exchange", &self.dead_letter_exchange),
            name("dead-letter-routing-key", &self.dead_letter_routing_key),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
