//! The server's side of the handshake: its settings, and the `connection.start` made of them.

use super::super::sasl::Mechanism;
use crate::model::COMPATIBLE_VERSION;
use crate::wire::protocol::connection::{AMQPMethod, Start};
use crate::wire::{AMQPClass, AMQPValue, FieldTable, short_string};

/// The smallest frame size that a client may ask for (RabbitMQ up to 4.0), and the largest of most frames before
/// `tune-ok`.
pub(in crate::amqp) const FRAME_MAX_MIN: u32 = 4096;

/// The largest `start-ok`: the tokens of OAuth 2 are passwords of many kilobytes.
pub(super) const START_OK_FRAME_MAX: u32 = 32 * 1024;

/// The server's offers for tuning, and texts of its properties.
#[derive(Clone, Debug)]
pub(in crate::amqp) struct Settings {
    /// The largest `channel-max`; at least 1.
    pub(in crate::amqp) channel_max: u16,
    /// The largest `frame-max`, in bytes; at least [`FRAME_MAX_MIN`].
    pub(in crate::amqp) frame_max: u32,
    /// The suggested heartbeat, in seconds; 0 is off. The client decides.
    pub(in crate::amqp) heartbeat: u16,
    /// The product name, which some clients check.
    pub(in crate::amqp) product: String,
    /// The mechanisms that clients may log in with, in the order of the offer.
    pub(in crate::amqp) mechanisms: Vec<Mechanism>,
}

impl Settings {
    /// Whether a client may use the mechanism. Only TLS brings certificates.
    pub(super) fn offers(&self, mechanism: Mechanism, secure: Secure) -> bool {
        let is_possible = match mechanism {
            Mechanism::External => secure == Secure::Tls,
            Mechanism::Plain | Mechanism::AmqPlain | Mechanism::Anonymous => true,
        };
        is_possible && self.mechanisms.contains(&mechanism)
    }
}

/// Whether TLS protects the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::amqp) enum Secure {
    Plain,
    Tls,
}

pub(super) fn start(settings: &Settings, cluster_name: &str, secure: Secure) -> AMQPClass {
    let offered = settings.mechanisms.iter().copied();
    let offered = offered.filter(|mechanism| settings.offers(*mechanism, secure));
    let names: Vec<&str> = offered.map(Mechanism::name).collect();
    AMQPClass::Connection(AMQPMethod::Start(Start {
        version_major: 0,
        version_minor: 9,
        server_properties: server_properties(settings, cluster_name),
        mechanisms: names.join(" ").as_str().into(),
        locales: "en_US".into(),
    }))
}

/// The same names as RabbitMQ's: clients read `version` and `capabilities` before they use an extension.
fn server_properties(settings: &Settings, cluster_name: &str) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        capabilities.insert(short_string(name), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    for (name, text) in [
        ("cluster_name", cluster_name),
        ("copyright", "Copyright (c) the Leveret authors"),
        ("information", "Licensed under the Apache License 2.0"),
        ("platform", "Rust"),
        ("product", settings.product.as_str()),
        ("version", COMPATIBLE_VERSION),
        ("leveret_version", env!("CARGO_PKG_VERSION")),
    ] {
        properties.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    properties
}
