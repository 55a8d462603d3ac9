//! The report on the broker: `status`.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use serde_json::json;

use super::listeners::line;
use crate::broker::vhost::Vhost;
use crate::ctl::context::Context;
use crate::ctl::outcome::{Outcome, Reply};
use crate::views::ListenerView;

/// Maximum number of ranges of lost messages that are listed per queue.
const LOST_RANGES_MAX: usize = 100;

pub(super) fn status(ctx: &Context) -> Outcome {
    let node = ctx.views.node();
    let totals = ctx.views.overview(|_| true).objects;
    let alarms: Vec<&str> = [("memory", node.alarms.memory), ("disk", node.alarms.disk)]
        .iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| *name)
        .collect();
    let damage = damage(&ctx.broker.vhost_list());
    let kept = ctx.broker.committer().store().damage();
    let json = json!({
        "pid": node.os_pid,
        "os": std::env::consts::OS,
        "uptime": node.uptime.as_secs(),
        "leveret_version": node.version,
        "node": node.name,
        "is_under_maintenance": node.is_under_maintenance,
        "data_directory": node.data_dir.display().to_string(),
        "alarms": alarms,
        "damage": damage.iter().map(|lost| json!({
            "vhost": lost.vhost,
            "queue": lost.queue,
            "messages": lost.messages,
            "offsets": lost.offsets,
        })).collect::<Vec<_>>(),
        "damage_at_starts": kept,
        "memory": { "rss": node.mem_used },
        "vm_memory_high_watermark_limit": node.mem_limit,
        "file_descriptors": {
            "total_used": node.fd_used,
            "total_limit": node.fd_limit,
        },
        "disk_free": node.disk_free,
        "disk_free_limit": node.disk_free_limit,
        "totals": {
            "connection_count": totals.connections,
            "queue_count": totals.queues,
            "virtual_host_count": totals.vhosts,
        },
        "listeners": node.listeners.iter().map(|listener| json!({
            "interface": listener.address.ip().to_string(),
            "port": listener.address.port(),
            "protocol": listener.protocol_name(),
            "purpose": listener.purpose(),
        })).collect::<Vec<_>>(),
    });
    let text = report(&json, &node.listeners, &alarms, &damage, &kept);
    Ok(Reply::Report { text, json })
}

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
    listeners: &[ListenerView],
    alarms: &[&str],
    damage: &[Lost],
    kept: &[String],
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
                    ("Is under maintenance?", "/is_under_maintenance"),
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
    let is_damaged = !damage.is_empty() || !kept.is_empty();
    if is_damaged {
        writeln!(text, "Damage\n").unwrap_or_default();
    }
    for line in kept {
        writeln!(text, "{line}").unwrap_or_default();
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
    if is_damaged {
        text.push('\n');
    }
    let alarms = if alarms.is_empty() {
        "(none)".to_owned()
    } else {
        alarms.join("\n")
    };
    writeln!(text, "Alarms\n\n{alarms}\n\nListeners\n").unwrap_or_default();
    for listener in listeners {
        writeln!(text, "{}", line(listener)).unwrap_or_default();
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
