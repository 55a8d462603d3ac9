//! The report on the broker: `status`.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use serde_json::json;

use crate::broker::vhost::Vhost;
use crate::ctl::context::Context;
use crate::ctl::outcome::{Outcome, Reply};
use crate::files;
use crate::memory::resident_bytes;
use crate::node;

/// Maximum number of ranges of lost messages that are listed per queue.
const LOST_RANGES_MAX: usize = 100;

pub(super) fn status(ctx: &Context) -> Outcome {
    let uptime_secs = ctx.node.started.elapsed().as_secs();
    let (resident, limit) = (resident_bytes(), ctx.memory.limit_bytes());
    let free = ctx.broker.committer().store().free_bytes();
    let disk_limit = ctx.broker.committer().disk_free_min();
    let raised = ctx.alarms.raised();
    let alarms: Vec<&str> = [("memory", raised.memory), ("disk", raised.disk)]
        .iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| *name)
        .collect();
    let amqp = ctx.node.listeners.iter();
    let cmq = ctx.node.cmq_listeners.iter();
    let listeners: Vec<Listener> = amqp
        .map(|address| (*address, "amqp", "AMQP 0-9-1"))
        .chain(cmq.map(|address| (*address, "http", "CMQ HTTP API 2.0")))
        .collect();
    let vhosts = ctx.broker.vhost_list();
    let queues: usize = vhosts.iter().map(|vhost| vhost.queues().len()).sum();
    let damage = damage(&vhosts);
    let json = json!({
        "pid": std::process::id(),
        "os": std::env::consts::OS,
        "uptime": uptime_secs,
        "leveret_version": env!("CARGO_PKG_VERSION"),
        "node": node::name(),
        "data_directory": ctx.node.data_dir.display().to_string(),
        "alarms": alarms,
        "damage": damage.iter().map(|lost| json!({
            "vhost": lost.vhost,
            "queue": lost.queue,
            "messages": lost.messages,
            "offsets": lost.offsets,
        })).collect::<Vec<_>>(),
        "memory": { "rss": resident },
        "vm_memory_high_watermark_limit": limit,
        "file_descriptors": {
            "total_used": files::used(),
            "total_limit": files::limit(),
        },
        "disk_free": free,
        "disk_free_limit": disk_limit,
        "totals": {
            "connection_count": ctx.connections().len(),
            "queue_count": queues,
            "virtual_host_count": vhosts.len(),
        },
        "listeners": listeners.iter().map(|(address, protocol, purpose)| json!({
            "interface": address.ip().to_string(),
            "port": address.port(),
            "protocol": protocol,
            "purpose": purpose,
        })).collect::<Vec<_>>(),
    });
    let text = report(&json, &listeners, &alarms, &damage);
    Ok(Reply::Report { text, json })
}

/// Address, protocol and purpose.
type Listener = (std::net::SocketAddr, &'static str, &'static str);

/// The lost messages of a queue: they are on disk, and cannot be read.
struct Lost {
    vhost: String,
    queue: String,
    messages: u64,
    /// First and last offset of each range.
    offsets: Vec<String>,
}

/// The queues with lost messages.
fn damage(vhosts: &[Arc<Vhost>]) -> Vec<Lost> {
    let mut damage = Vec::new();
    for vhost in vhosts {
        let queues = vhost.queues().into_iter();
        for queue in queues.filter(|queue| queue.counts().damaged > 0) {
            let ranges = queue.lost().into_iter().flat_map(|(log, ranges)| {
                let kind = if log.is_delayed() { " (delayed)" } else { "" };
                let shown = move |range: Range<u64>| {
                    format!("{}-{}{kind}", range.start, range.end.saturating_sub(1))
                };
                ranges.into_iter().map(shown)
            });
            damage.push(Lost {
                vhost: vhost.name().to_string(),
                queue: queue.name().to_string(),
                messages: queue.counts().damaged,
                offsets: ranges.take(LOST_RANGES_MAX).collect(),
            });
        }
    }
    damage
}

/// The report for people, with rabbitmqctl's headings and lines.
fn report(
    json: &serde_json::Value,
    listeners: &[Listener],
    alarms: &[&str],
    damage: &[Lost],
) -> String {
    let field = |path: &str| match json.pointer(path) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Null) | None => "unknown".to_owned(),
        Some(other) => other.to_string(),
    };
    let mut text = sections(
        &field,
        &[
            (
                "Runtime",
                &[
                    ("OS PID", "/pid"),
                    ("OS", "/os"),
                    ("Uptime (seconds)", "/uptime"),
                    ("Leveret version", "/leveret_version"),
                    ("Node name", "/node"),
                ],
            ),
            (
                "Data directory",
                &[("Node data directory", "/data_directory")],
            ),
            (
                "Memory",
                &[
                    ("Resident memory (bytes)", "/memory/rss"),
                    (
                        "Memory high watermark (bytes)",
                        "/vm_memory_high_watermark_limit",
                    ),
                ],
            ),
        ],
    );
    let (used, limit) = (
        field("/file_descriptors/total_used"),
        field("/file_descriptors/total_limit"),
    );
    writeln!(text, "File Descriptors\n\nTotal: {used}, limit: {limit}\n").unwrap_or_default();
    text += &sections(
        &field,
        &[
            (
                "Free Disk Space",
                &[
                    ("Low free disk space watermark (bytes)", "/disk_free_limit"),
                    ("Free disk space (bytes)", "/disk_free"),
                ],
            ),
            (
                "Totals",
                &[
                    ("Connection count", "/totals/connection_count"),
                    ("Queue count", "/totals/queue_count"),
                    ("Virtual host count", "/totals/virtual_host_count"),
                ],
            ),
        ],
    );
    if !damage.is_empty() {
        writeln!(text, "Damage\n").unwrap_or_default();
    }
    for lost in damage {
        writeln!(
            text,
            "Queue {} in virtual host {}: {} messages cannot be read, offsets {}",
            lost.queue,
            lost.vhost,
            lost.messages,
            lost.offsets.join(", ")
        )
        .unwrap_or_default();
    }
    if !damage.is_empty() {
        text.push('\n');
    }
    let alarms = if alarms.is_empty() {
        "(none)".to_owned()
    } else {
        alarms.join("\n")
    };
    writeln!(text, "Alarms\n\n{alarms}\n\nListeners\n").unwrap_or_default();
    for (address, protocol, purpose) in listeners {
        let (ip, port) = (address.ip(), address.port());
        writeln!(
            text,
            "Interface: {ip}, port: {port}, protocol: {protocol}, purpose: {purpose}"
        )
        .unwrap_or_default();
    }
    text.trim_end().to_owned()
}

/// Headings with their lines: the label of a field, and its JSON pointer.
fn sections(field: &impl Fn(&str) -> String, sections: &[(&str, &[(&str, &str)])]) -> String {
    let mut text = String::new();
    for (heading, lines) in sections {
        // Writing to a String does not fail.
        writeln!(text, "{heading}\n").unwrap_or_default();
        for (label, path) in *lines {
            writeln!(text, "{label}: {}", field(path)).unwrap_or_default();
        }
        text.push('\n');
    }
    text
}
