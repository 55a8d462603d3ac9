//! Health checks and questions to the node.

use serde_json::{Map, Value, json};

use super::cells::{field, items, text};
use super::http::Http;
use crate::ctl::commands::memory_report;
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE};
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::{Cell, Request};

/// What listeners are for, by protocol.
const PURPOSES: &[(&str, &str)] = &[
    ("amqp", "AMQP 0-9-1"),
    ("amqp/ssl", "AMQP 0-9-1 over TLS"),
    ("clustering", "inter-node and CLI tool communication"),
    ("cmq", "CMQ HTTP API 2.0"),
    ("http", "HTTP API"),
    ("https", "HTTP API over TLS"),
    ("http/prometheus", "Prometheus exporter API over HTTP"),
];

pub(super) fn ping(http: &Http) -> Outcome {
    http.get(&["whoami"])?;
    Ok(Reply::Message("Ping succeeded".to_owned()))
}

pub(super) fn await_startup(http: &Http) -> Outcome {
    http.get(&["whoami"])?;
    Ok(Reply::Done)
}

/// The API answers only while the broker serves clients.
pub(super) fn running(http: &Http) -> Outcome {
    let node = http.node()?;
    Ok(Reply::Message(format!(
        "Leveret on node {node} is fully booted and running"
    )))
}

/// A health check of the API: what it says if it holds, or else its reason.
fn check(http: &Http, path: &[&str], holds: impl FnOnce(&str) -> String) -> Outcome {
    let path: Vec<&str> = ["health", "checks"].iter().chain(path).copied().collect();
    match http.check(&path)? {
        (true, _) => Ok(Reply::Report {
            text: holds(&http.node()?),
            json: json!({"result": "ok"}),
        }),
        (false, json) => Err(Failure {
            json: Some(json.clone()),
            ..Failure::plain(EX_UNAVAILABLE, text(&json, "reason"))
        }),
    }
}

/// A sentence for each alarm that is on.
fn alarm_lines(http: &Http) -> Result<Vec<String>, Failure> {
    let (_, json) = http.check(&["health", "checks", "alarms"])?;
    let alarms = field(&json, "alarms").as_array().into_iter().flatten();
    Ok(alarms
        .map(|alarm| {
            let name = match text(alarm, "resource") {
                "memory" => "Memory alarm",
                "disk" => "Free disk space alarm",
                other => other,
            };
            format!("{name} on node {}", text(alarm, "node"))
        })
        .collect())
}

pub(super) fn alarms(http: &Http) -> Outcome {
    let lines = alarm_lines(http)?;
    let node = http.node()?;
    let text = match lines.is_empty() {
        true => no_alarms(&node),
        false => lines.join("\n"),
    };
    let json = alarms_json(&node, &lines, "ok");
    Ok(Reply::Report { text, json })
}

pub(super) fn check_alarms(http: &Http) -> Outcome {
    let lines = alarm_lines(http)?;
    let node = http.node()?;
    match lines.is_empty() {
        true => Ok(Reply::Report {
            text: no_alarms(&node),
            json: alarms_json(&node, &lines, "ok"),
        }),
        false => Err(Failure {
            json: Some(alarms_json(&node, &lines, "error")),
            ..Failure::plain(EX_UNAVAILABLE, lines.join("\n"))
        }),
    }
}

fn alarms_json(node: &str, lines: &[String], result: &str) -> Value {
    match lines.is_empty() {
        true => json!({"node": node, "result": result, "alarms": []}),
        false => json!({
            "global": [], "local": lines, "result": result,
            "message": format!("Node {node} reported alarms"),
        }),
    }
}

fn no_alarms(node: &str) -> String {
    format!("Node {node} reported no alarms, local or clusterwide")
}

pub(super) fn quorum_critical(http: &Http) -> Outcome {
    check(http, &["node-is-quorum-critical"], |node| {
        format!(
            "Node {node} seems to be the only one in a single node cluster, the check does not apply"
        )
    })
}

pub(super) fn port_listener(http: &Http, request: &Request) -> Outcome {
    let port = request.arg(0);
    check(http, &["port-listener", port], |node| {
        format!("A listener for port {port} is running on node {node}.")
    })
}

pub(super) fn protocol_listener(http: &Http, request: &Request) -> Outcome {
    let protocol = request.arg(0);
    check(http, &["protocol-listener", protocol], |node| {
        format!(
            "A listener for protocol {} is running on node {node}.",
            protocol.to_lowercase()
        )
    })
}

pub(super) fn virtual_hosts(http: &Http) -> Outcome {
    check(http, &["virtual-hosts"], |node| {
        format!("Node {node} reported all vhosts as running")
    })
}

pub(super) fn environment(http: &Http) -> Outcome {
    let settings = http.text(&["config", "effective"])?;
    let settings = settings.ok_or_else(|| {
        Failure::error(EX_DATAERR, "the management API does not show its settings")
    })?;
    let text = settings.trim_end().to_owned();
    let parsed: toml::Table = toml::from_str(&text).unwrap_or_default();
    Ok(Reply::Report {
        text,
        json: json!({"leveret": parsed}),
    })
}

pub(super) fn server_version(http: &Http) -> Outcome {
    let overview = http.get(&["overview"])?;
    let version = match text(&overview, "product_version") {
        "" => text(&overview, "rabbitmq_version"),
        own => own,
    };
    Ok(Reply::Report {
        text: version.to_owned(),
        json: json!({"result": "ok", "value": version}),
    })
}

pub(super) fn listeners(http: &Http) -> Outcome {
    let overview = http.get(&["overview"])?;
    let listeners = items(field(&overview, "listeners").clone());
    let shown: Vec<Value> = listeners.iter().map(listener).collect();
    let lines: Vec<String> = shown
        .iter()
        .map(|own| {
            let (interface, protocol) = (text(own, "interface"), text(own, "protocol"));
            let (port, purpose) = (field(own, "port"), text(own, "purpose"));
            format!(
                "Interface: {interface}, port: {port}, protocol: {protocol}, purpose: {purpose}"
            )
        })
        .collect();
    let json = json!({"node": text(&overview, "node"), "result": "ok", "listeners": shown});
    Ok(Reply::Report {
        text: lines.join("\n"),
        json,
    })
}

/// A listener as the socket shows it.
fn listener(own: &Value) -> Value {
    let protocol = text(own, "protocol");
    let interface = match text(own, "ip_address") {
        address if address.contains(':') => format!("[{address}]"),
        address => address.to_owned(),
    };
    let purpose = PURPOSES.iter().find(|(name, _)| *name == protocol);
    json!({
        "node": field(own, "node"), "interface": interface, "port": field(own, "port"), "protocol": protocol,
        "purpose": purpose.map_or("", |(_, purpose)| *purpose),
    })
}

pub(super) fn memory_breakdown(http: &Http, request: &Request) -> Outcome {
    let node = http.node()?;
    let memory = http.get(&["nodes", &node, "memory"])?;
    let memory = field(&memory, "memory")
        .as_object()
        .cloned()
        .unwrap_or_default();
    let resident = memory
        .get("total")
        .and_then(|total| field(total, "rss").as_u64())
        .unwrap_or(0);
    let kinds: Map<String, Value> = memory
        .into_iter()
        .filter(|(_, bytes)| bytes.is_u64())
        .collect();
    let kinds = kinds
        .iter()
        .map(|(kind, bytes)| (kind.as_str(), bytes.as_u64().unwrap_or(0)));
    memory_report(kinds.collect(), resident, request)
}

/// Counts the queues, since the API answers without the counts.
pub(super) fn rebalance(http: &Http, request: &Request) -> Outcome {
    let chosen: &[(&str, &str)] = match request.arg(0) {
        "all" => &[
            ("quorum", "Number of quorum queues"),
            ("stream", "Number of streams"),
        ],
        "quorum" => &[("quorum", "Number of quorum queues")],
        "stream" => &[("stream", "Number of streams")],
        "classic" => &[],
        other => {
            let text = format!("Bad argument: type {other} is not supported.");
            return Err(Failure::error(EX_DATAERR, text));
        }
    };
    http.post(&["rebalance", "queues"], &json!({}))?;
    let queues = items(http.get(&["queues"])?);
    let mut nodes: Vec<&str> = queues.iter().map(|queue| text(queue, "node")).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let row = |node: &str| {
        let count = |kind: &str| {
            let led = queues
                .iter()
                .filter(|queue| text(queue, "node") == node && text(queue, "type") == kind);
            Cell::from(led.count())
        };
        std::iter::once(Cell::from(node))
            .chain(chosen.iter().map(|(kind, _)| count(kind)))
            .collect()
    };
    let columns: Vec<&str> = std::iter::once("Node name")
        .chain(chosen.iter().map(|(_, column)| *column))
        .collect();
    rows(&columns, nodes.into_iter().map(row).collect())
}
