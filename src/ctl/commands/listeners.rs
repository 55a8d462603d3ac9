//! Listeners, as text and JSON.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::ctl::context::Context;
use crate::ctl::outcome::{Outcome, Reply};
use crate::node;
use crate::views::ListenerView;

pub(super) fn listeners(ctx: &Context) -> Outcome {
    let listeners = ctx.views.node().listeners;
    let lines: Vec<String> = listeners.iter().map(line).collect();
    let node = node::name();
    let json =
        json!({"node": node, "result": "ok", "listeners": listeners_json(&node, &listeners)});
    Ok(Reply::Report {
        text: lines.join("\n"),
        json,
    })
}

/// A listener in one line.
pub(super) fn line(listener: &ListenerView) -> String {
    format!(
        "Interface: {}, port: {}, protocol: {}, purpose: {}",
        interface(listener),
        listener.address.port(),
        listener.protocol_name(),
        listener.purpose()
    )
}

fn interface(listener: &ListenerView) -> String {
    match listener.address {
        std::net::SocketAddr::V4(address) => address.ip().to_string(),
        std::net::SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

pub(super) fn listener_json(node: &str, listener: &ListenerView) -> Value {
    json!({
        "node": node,
        "interface": interface(listener),
        "port": listener.address.port(),
        "protocol": listener.protocol_name(),
        "purpose": listener.purpose(),
    })
}

pub(super) fn listeners_json(node: &str, listeners: &[ListenerView]) -> Vec<Value> {
    let json = |listener| listener_json(node, listener);
    listeners.iter().map(json).collect()
}

/// The ports on which something listens, in order.
pub(super) fn port_numbers(listeners: &[ListenerView]) -> Vec<u16> {
    let ports: BTreeSet<u16> = listeners.iter().map(|own| own.address.port()).collect();
    ports.into_iter().collect()
}

/// The protocols that something listens for, in order.
pub(super) fn protocol_names(listeners: &[ListenerView]) -> Vec<&'static str> {
    let names: BTreeSet<&str> = listeners.iter().map(|own| own.protocol_name()).collect();
    names.into_iter().collect()
}
