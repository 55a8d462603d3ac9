//! `connection.start`: what the server says of itself.

use super::super::sasl::MECHANISMS;
use super::Settings;
use crate::wire::protocol::connection::{AMQPMethod, Start};
use crate::wire::{AMQPClass, AMQPValue, FieldTable, short_string};

/// The RabbitMQ release whose behaviour clients may expect. They read it from server-properties and want it dotted.
const COMPATIBLE_VERSION: &str = "4.2.0";

pub(super) fn start(settings: &Settings) -> AMQPClass {
    AMQPClass::Connection(AMQPMethod::Start(Start {
        version_major: 0,
        version_minor: 9,
        server_properties: server_properties(settings),
        mechanisms: MECHANISMS.into(),
        locales: "en_US".into(),
    }))
}

/// As RabbitMQ has them, name for name: clients read `version` and `capabilities` before they use an extension.
fn server_properties(settings: &Settings) -> FieldTable {
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
        ("cluster_name", settings.cluster_name.as_str()),
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
