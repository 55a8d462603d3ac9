//! The inventory of a data directory: one line for each definition and message.

use std::sync::Arc;

use leveret::broker::broker::Broker;
use leveret::broker::queue::{Queue, RewindTo};
use leveret::broker::vhost::Vhost;
use leveret::model::arguments::QueueKind;

use super::queue;
use crate::support::eventually_eq;

/// Lists everything that a broker has. It takes the messages, but acks none.
pub(super) async fn inventory(broker: &Arc<Broker>) -> String {
    // One of its delayed messages was due long ago.
    let waiting = queue(broker, "waiting");
    eventually_eq("a delayed message is due", 2, || waiting.counts().ready).await;
    let mut lines = Vec::new();
    for user in broker.users().list() {
        lines.push(format!(
            "user {} {:?} {:?}",
            user.name, user.tags, user.limits
        ));
    }
    broker.users().with_permissions(|table| {
        for (user, vhost, grant) in table.grants() {
            let (configure, write, read) = (
                grant.configure.text(),
                grant.write.text(),
                grant.read.text(),
            );
            lines.push(format!(
                "permission {user} {vhost} '{configure}' '{write}' '{read}'"
            ));
        }
        for (user, vhost, exchange, topic) in table.topics() {
            let (write, read) = (topic.write(), topic.read());
            lines.push(format!(
                "topic permission {user} {vhost} {exchange} {write} {read}"
            ));
        }
    });
    for vhost in broker.vhost_list() {
        definitions(&vhost, &mut lines);
    }
    lines.sort();
    for vhost in broker.vhost_list() {
        let mut queues = vhost.queues();
        queues.sort_by(|a, b| a.name().cmp(b.name()));
        for queue in queues {
            messages(&queue, &mut lines).await;
        }
    }
    lines.join("\n") + "\n"
}

fn definitions(vhost: &Vhost, lines: &mut Vec<String>) {
    let name = vhost.name();
    let metadata = vhost.metadata();
    lines.push(format!(
        "vhost {name} {:?} {:?} {:?}",
        metadata.description, metadata.tags, metadata.default_queue_kind
    ));
    for e in vhost.exchanges() {
        lines.push(format!(
            "exchange {name} '{}' {:?} durable {} auto-delete {} internal {} {:?}",
            e.name, e.kind, e.durable, e.auto_delete, e.internal, e.arguments
        ));
    }
    for b in vhost.bindings() {
        lines.push(format!(
            "binding {name} '{}' {:?} '{}' {:?}",
            b.source, b.destination, b.routing_key, b.arguments
        ));
    }
    for queue in vhost.queues() {
        let spec = queue.spec();
        if !queue.overrides().is_empty() {
            let overrides = serde_json::to_string(&queue.overrides()).unwrap();
            lines.push(format!("overrides {name} {} {overrides}", spec.name));
        }
        let arguments = &spec.arguments.raw;
        lines.push(format!(
            "queue {name} {} durable {} auto-delete {} {arguments:?}",
            spec.name, spec.durable, spec.auto_delete
        ));
    }
}

async fn messages(queue: &Queue, lines: &mut Vec<String>) {
    let counts = queue.counts();
    let (name, ready, delayed) = (queue.name(), counts.ready, counts.delayed);
    lines.push(format!("in {name}: {ready} ready, {delayed} delayed"));
    if queue.arguments().kind == QueueKind::Stream {
        return; // `basic.get` takes nothing from a stream
    }
    if queue.arguments().rewind_ms.is_some() {
        let rewound = queue.rewind(RewindTo::Offset(5)).await.unwrap();
        lines.push(format!("in {name}: {} rewound", rewound.messages));
    }
    if counts.unacked > 0 {
        lines.push(format!("in {name}: {} received", counts.unacked));
    }
    while let Some(got) = queue.get(false).await.unwrap() {
        let body = got.message.body.slices().concat();
        let start = String::from_utf8_lossy(body.get(..16).unwrap_or(&body)).into_owned();
        let origin = &got.message.origin;
        lines.push(format!(
            "in {name}: {start} {} bytes {:016x} from '{}' '{}' priority {} expiration {:?} properties {:02x?} \
             persistent {} redelivered {} count {}",
            body.len(),
            xxhash_rust::xxh3::xxh3_64(&body),
            origin.exchange,
            origin.routing_key,
            got.message.priority,
            got.message.expiration_ms,
            &got.message.properties[..],
            got.message.persistent,
            got.redelivered,
            got.counts.acquired,
        ));
    }
}
