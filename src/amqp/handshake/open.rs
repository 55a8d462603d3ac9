//! What a handshake leads to: the terms of an open connection, and what its client can do.

use super::super::sasl::Mechanism;
use super::{Client, Tuned};
use crate::wire::{AMQPValue, FieldTable};

/// What a client says it can do: the `capabilities` table of its properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It wants a `connection.close` when its login is refused.
    pub authentication_failure_close: bool,
    /// It takes `connection.blocked` and `connection.unblocked`.
    pub connection_blocked: bool,
    /// It takes a `basic.cancel` when its queue goes away.
    pub consumer_cancel_notify: bool,
    /// It takes `basic.nack`.
    pub basic_nack: bool,
}

impl Capabilities {
    /// Read from client-properties. What is not a table, or not a boolean, counts for nothing.
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
            basic_nack: has("basic.nack"),
        }
    }
}

/// An open connection's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The name it logged in with.
    pub user: String,
    /// How it logged in.
    pub mechanism: Mechanism,
    /// The virtual host that it opened.
    pub vhost: String,
    /// The largest frame in both directions, in bytes, overhead included.
    pub frame_max: u32,
    /// How many channels may be open at once; at least 1.
    pub channel_max: u16,
    /// In seconds; 0 is off.
    pub heartbeat: u16,
    /// What the client says of itself.
    pub client_properties: FieldTable,
    /// What of that is acted upon.
    pub capabilities: Capabilities,
}

impl Open {
    pub(super) fn new(client: Client, tuned: Tuned, vhost: String) -> Open {
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
        Open {
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

    /// The name that the client gave the connection, if any.
    pub fn connection_name(&self) -> Option<&str> {
        let name = self
            .client_properties
            .inner()
            .get("connection_name")?
            .as_long_string()?;
        std::str::from_utf8(name.as_bytes()).ok()
    }
}
