//! Health checks, with rabbitmq-diagnostics' words and exit codes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::listeners::{listener_json, listeners_json, port_numbers, protocol_names};
use crate::ctl::context::{Context, Node};
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE};
use crate::ctl::outcome::{Failure, Outcome, Reply};
use crate::ctl::protocol::Request;
use crate::node;
use crate::views::{ListenerView, NodeView};

/// How long a connection to an own listener may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn running(node: &Node) -> Outcome {
    match node.is_running() {
        true => Ok(Reply::Message(is_up())),
        false => Err(Failure::error(EX_UNAVAILABLE, is_down())),
    }
}

/// As the check, but an answer of no is no failure.
pub(super) fn is_running(node: &Node) -> Outcome {
    let result = node.is_running();
    let text = if result { is_up() } else { is_down() };
    let json = json!({"result": result, "message": text});
    Ok(Reply::Report { text, json })
}

/// The socket is there only after the start.
pub(super) fn is_booting() -> Outcome {
    let text = format!(
        "Leveret on node {} is fully booted (check with is_running), stopped or has not started booting yet",
        node::name()
    );
    let json = json!({"result": false, "message": text});
    Ok(Reply::Report { text, json })
}

fn is_up() -> String {
    format!(
        "Leveret on node {} is fully booted and running",
        node::name()
    )
}

fn is_down() -> String {
    format!(
        "Leveret on node {} is not running or has not fully booted yet (check with is_booting)",
        node::name()
    )
}

/// A sentence for each alarm that is on.
pub(super) fn alarm_lines(node: &NodeView) -> Vec<String> {
    let (raised, node) = (node.alarms, &node.name);
    [
        ("Memory alarm", raised.memory),
        ("Free disk space alarm", raised.disk),
    ]
    .into_iter()
    .filter(|(_, is_on)| *is_on)
    .map(|(name, _)| format!("{name} on node {node}"))
    .collect()
}

fn alarms_json(lines: &[String], result: &str) -> Value {
    let node = node::name();
    match lines.is_empty() {
        true => json!({"node": node, "result": result, "alarms": []}),
        false => json!({
            "global": [], "local": lines, "result": result,
            "message": format!("Node {node} reported alarms"),
        }),
    }
}

pub(super) fn alarms(ctx: &Context) -> Outcome {
    let lines = alarm_lines(&ctx.views.node());
    let json = alarms_json(&lines, "ok");
    let text = match lines.is_empty() {
        true => no_alarms(),
        false => lines.join("\n"),
    };
    Ok(Reply::Report { text, json })
}

pub(super) fn check_alarms(ctx: &Context) -> Outcome {
    let lines = alarm_lines(&ctx.views.node());
    match lines.is_empty() {
        true => Ok(Reply::Report {
            text: no_alarms(),
            json: alarms_json(&lines, "ok"),
        }),
        false => Err(Failure {
            json: Some(alarms_json(&lines, "error")),
            ..Failure::plain(EX_UNAVAILABLE, lines.join("\n"))
        }),
    }
}

fn no_alarms() -> String {
    format!(
        "Node {} reported no alarms, local or clusterwide",
        node::name()
    )
}

pub(super) fn virtual_hosts() -> Outcome {
    // A virtual host that cannot be read ends the start, so all that there are, run.
    Ok(ok(format!(
        "Node {} reported all vhosts as running",
        node::name()
    )))
}

/// A check that held.
pub(super) fn ok(text: String) -> Reply {
    Reply::Report {
        text,
        json: json!({"result": "ok"}),
    }
}

pub(super) fn port_listener(ctx: &Context, request: &Request) -> Outcome {
    let wanted = request.arg(0);
    let listeners = ctx.views.node().listeners;
    let ports = port_numbers(&listeners);
    let node = node::name();
    if wanted.parse().is_ok_and(|port: u16| ports.contains(&port)) {
        return Ok(ok(format!(
            "A listener for port {wanted} is running on node {node}."
        )));
    }
    let shown: Vec<String> = ports.iter().map(u16::to_string).collect();
    let text = format!(
        "No listener for port {wanted} is active on node {node}. Found listeners that use the following ports: {}",
        shown.join(", ")
    );
    Err(Failure {
        json: Some(json!({
            "result": "error", "missing": wanted, "ports": ports, "listeners": listeners_json(&node, &listeners),
        })),
        ..Failure::plain(EX_UNAVAILABLE, text)
    })
}

pub(super) fn protocol_listener(ctx: &Context, request: &Request) -> Outcome {
    let wanted = request.arg(0);
    let listeners = ctx.views.node().listeners;
    let protocols = protocol_names(&listeners);
    let name = protocol_name(wanted);
    let node = node::name();
    if protocols.contains(&name.as_str()) {
        return Ok(ok(format!(
            "A listener for protocol {name} is running on node {node}."
        )));
    }
    let text = format!(
        "No listener for protocol {wanted} is active on node {node}. Found listeners for the following protocols: {}",
        protocols.join(", ")
    );
    Err(Failure {
        json: Some(json!({
            "result": "error", "missing": wanted, "protocols": protocols, "listeners": listeners_json(&node, &listeners),
        })),
        ..Failure::error(EX_UNAVAILABLE, text)
    })
}

/// The name of a protocol for one of the names that RabbitMQ takes.
fn protocol_name(alias: &str) -> String {
    let alias = alias.to_lowercase();
    let name = match alias.as_str() {
        "amqp091" | "amqp0.9.1" | "amqp-0-9-1" | "amqp0-9-1" => "amqp",
        "amqps" | "amqp/tls" => "amqp/ssl",
        "management" => "http",
        "management/ssl" | "management/tls" | "http/ssl" | "http/tls" => "https",
        "prometheus" => "http/prometheus",
        other => other,
    };
    name.to_owned()
}

/// Connects to each listener from the broker's own process.
pub(super) async fn port_connectivity(ctx: &Context, request: &Request) -> Outcome {
    let node = node::name();
    let listeners = ctx.views.node().listeners;
    let mut text = String::new();
    let mut unreachable = Vec::new();
    for listener in listeners.iter() {
        let (host, port) = reachable_at(listener, request.options.get("address"));
        text += &format!("Will connect to {host}:{port}\n");
        let connect = TcpStream::connect((host.as_str(), port));
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
        if !matches!(connected, Ok(Ok(_))) {
            unreachable.push(listener);
        }
    }
    let ports: Vec<String> = port_numbers(&listeners)
        .iter()
        .map(u16::to_string)
        .collect();
    if unreachable.is_empty() {
        text += &format!(
            "Successfully connected to ports {} on node {node}",
            ports.join(", ")
        );
        let json =
            json!({"node": node, "result": "ok", "listeners": listeners_json(&node, &listeners)});
        return Ok(Reply::Report { text, json });
    }
    let lines: Vec<String> = unreachable
        .iter()
        .map(|listener| super::listeners::line(listener))
        .collect();
    let failures: Vec<Value> = unreachable
        .iter()
        .map(|listener| listener_json(&node, listener))
        .collect();
    let text = format!(
        "Connection to ports of the following listeners on node {node} failed:\n{}",
        lines.join("\n")
    );
    Err(Failure {
        json: Some(json!({"node": node, "result": "error", "failures": failures})),
        ..Failure::plain(EX_UNAVAILABLE, text)
    })
}

/// Where to connect to: a listener on all interfaces is reached by loopback.
fn reachable_at(listener: &ListenerView, given: Option<&String>) -> (String, u16) {
    let host = match (given, listener.address.ip()) {
        (Some(given), _) => given.clone(),
        (None, IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        (None, IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
        (None, ip) => ip.to_string(),
    };
    (host, listener.address.port())
}

pub(super) fn quorum_critical() -> Outcome {
    Ok(ok(format!(
        "Node {} seems to be the only one in a single node cluster, the check does not apply",
        node::name()
    )))
}

pub(super) fn initial_sync() -> Outcome {
    Ok(ok(format!(
        "Node {} reported no queues with promotable replicas",
        node::name()
    )))
}

/// This node leads every quorum queue.
pub(super) fn elected_leaders(ctx: &Context, request: &Request) -> Outcome {
    let pattern = request.arg(0);
    Regex::new(pattern)
        .map_err(|error| Failure::error(EX_DATAERR, format!("invalid pattern: {error}")))?;
    if !request.has("across-all-vhosts") {
        super::lookup::vhost_exists(ctx, request.vhost())?;
    }
    Ok(ok(
        "Node reported all quorum queue as having responsive leader replicas".to_owned(),
    ))
}

pub(super) fn metadata_store() -> Outcome {
    Ok(ok(format!(
        "Metadata store on node {} has completed its initialization",
        node::name()
    )))
}

pub(super) fn metadata_store_with_data(ctx: &Context) -> Outcome {
    let has_data = !ctx.broker.vhost_list().is_empty() && !ctx.users().list().is_empty();
    match has_data {
        true => metadata_store(),
        false => Err(Failure::plain(
            EX_UNAVAILABLE,
            format!(
                "Metadata store on node {} has no virtual hosts or users",
                node::name()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::{Protocol, Security};

    #[test]
    fn protocols_have_rabbitmqs_aliases() {
        for (alias, name) in [
            ("AMQP", "amqp"),
            ("amqp091", "amqp"),
            ("amqps", "amqp/ssl"),
            ("management", "http"),
            ("https", "https"),
            ("http/ssl", "https"),
            ("prometheus", "http/prometheus"),
            ("mqtt", "mqtt"),
        ] {
            assert_eq!(protocol_name(alias), name);
        }
    }

    #[test]
    fn a_listener_on_all_interfaces_is_reached_by_loopback() {
        let at = |address: &str| ListenerView {
            protocol: Protocol::Amqp,
            security: Security::Plain,
            address: address.parse().unwrap(),
        };
        let reached = |address, given: Option<&str>| {
            let given = given.map(str::to_owned);
            reachable_at(&at(address), given.as_ref())
        };
        assert_eq!(reached("0.0.0.0:5", None), ("127.0.0.1".to_owned(), 5));
        assert_eq!(reached("[::]:5", None), ("::1".to_owned(), 5));
        assert_eq!(reached("10.0.0.1:5", None), ("10.0.0.1".to_owned(), 5));
        assert_eq!(reached("0.0.0.0:5", Some("h")), ("h".to_owned(), 5));
    }
}
