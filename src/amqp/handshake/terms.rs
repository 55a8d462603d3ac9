//! The terms of an open connection, and the client's part in them.

use super::super::sasl::Mechanism;
use crate::wire::{AMQPValue, FieldTable};

/// Capabilities in the client's properties that the broker acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::amqp) struct Capabilities {
    /// Wants a `connection.close` when its login is refused.
    pub(in crate::amqp) authentication_failure_close: bool,
    /// Understands `connection.blocked` and `connection.unblocked`.
    pub(in crate::amqp) connection_blocked: bool,
    /// Understands `basic.cancel` from the broker, when a queue is gone.
    pub(in crate::amqp) consumer_cancel_notify: bool,
}

impl Capabilities {
    /// Ignores capabilities that are not a table or not booleans.
    pub(super) fn of(client_properties: &FieldTable) -> Capabilities {
        let Some(AMQPValue::FieldTable(table)) = client_properties.inner().get("capabilities")
        else {
            return Capabilities::default();
        };
        let has = |name: &str| matches!(table.inner().get(name), Some(AMQPValue::Boolean(true)));
        Capabilities {
            authentication_failure_close: has("authentication_failure_close"),
            connection_blocked: has("connection.blocked"),
            consumer_cancel_notify: has("consumer_cancel_notify"),
        }
    }
}

/// A client in its handshake.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) user: String,
    pub(super) mechanism: Mechanism,
    pub(super) properties: FieldTable,
    pub(super) capabilities: Capabilities,
}

/// Values of `tune-ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tuned {
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    pub(super) heartbeat: u16,
}

/// The terms that a handshake has agreed on.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::amqp) struct Terms {
    pub(in crate::amqp) user: String,
    pub(in crate::amqp) mechanism: Mechanism,
    pub(in crate::amqp) vhost: String,
    /// The largest frame in both directions, in bytes, including its overhead.
    pub(in crate::amqp) frame_max: u32,
    /// Maximum number of open channels; at least 1.
    pub(in crate::amqp) channel_max: u16,
    /// Seconds; 0 is off.
    pub(in crate::amqp) heartbeat: u16,
    pub(in crate::amqp) client_properties: FieldTable,
    pub(in crate::amqp) capabilities: Capabilities,
}

impl Terms {
    pub(super) fn new(client: Client, tuned: Tuned, vhost: String) -> Terms {
        let Client {
            user,
            mechanism,
            properties,
            capabilities,
        } = client;
        let Tuned {
            channel_max,
            frame_max,
            heartbeat,
        } = tuned;
        Terms {
            user,
            mechanism,
            vhost,
            frame_max,
            channel_max,
            heartbeat,
            client_properties: properties,
            capabilities,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_that_are_not_a_table_or_not_booleans_are_ignored() {
        let mut as_text = FieldTable::default();
        as_text.insert("capabilities".into(), AMQPValue::LongString("all".into()));
        assert_eq!(Capabilities::of(&as_text), Capabilities::default());
        let mut capabilities = FieldTable::default();
        capabilities.insert("authentication_failure_close".into(), AMQPValue::LongInt(1));
        capabilities.insert("connection.blocked".into(), AMQPValue::Boolean(false));
        capabilities.insert("consumer_cancel_notify".into(), AMQPValue::Boolean(true));
        let mut properties = FieldTable::default();
        properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        let expected = Capabilities {
            consumer_cancel_notify: true,
            ..Capabilities::default()
        };
        assert_eq!(Capabilities::of(&properties), expected);
    }
}
