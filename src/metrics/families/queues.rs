//! Queues.

use std::sync::Arc;

use crate::broker::queue::{Counts, Queue};
use crate::broker::stats::{Protocol, QueueStats, Totals};
use crate::metrics::exposition::{Exposition, Kind, Labels};
use crate::metrics::family::{Family, Prefix, families};
use crate::metrics::pieces::{Object, PerObject, Pieces};
use crate::metrics::query::Query;
use crate::model::Name;
use crate::model::arguments::QueueKind;
use crate::views::Views;

#[derive(Clone, Copy, Default)]
pub(super) struct Numbers {
    counts: Counts,
    stats: QueueStats,
}

families! {
    COARSE: Numbers, RabbitMq;
    Gauge "queue_messages_ready", "Messages that wait for a consumer", |n| n.counts.ready;
    Gauge "queue_messages_unacked", "Messages that are handed out and not acknowledged", |n| n.counts.unacked;
    Gauge "queue_messages", "Ready and unacknowledged messages", |n| n.counts.ready + n.counts.unacked;
}

families! {
    CONSUMERS: Numbers, RabbitMq;
    Gauge "queue_consumers", "Consumers", |n| n.counts.consumers;
}

families! {
    METRICS: Numbers, RabbitMq;
    Gauge "queue_process_memory_bytes", "Memory that the messages of a queue take", |n| n.counts.resident_bytes;
    Gauge "queue_messages_bytes", "Bytes of the bodies of ready and unacknowledged messages",
        |n| n.counts.ready_bytes + n.counts.unacked_bytes;
    Gauge "queue_messages_ready_bytes", "Bytes of the bodies of ready messages", |n| n.counts.ready_bytes;
    Gauge "queue_messages_unacked_bytes", "Bytes of the bodies of unacknowledged messages",
        |n| n.counts.unacked_bytes;
    Counter "queue_disk_reads_total", "Messages read from disk", |n| n.stats.disk_reads;
    Counter "queue_disk_writes_total", "Messages written to disk", |n| n.stats.disk_writes;
}

families! {
    DELIVERY: Numbers, RabbitMq;
    Counter "queue_get_ack_total", "Messages fetched or received, to be acknowledged", |n| n.stats.handed_out.get;
    Counter "queue_get_total", "Messages fetched without acknowledgement", |n| n.stats.handed_out.get_no_ack;
    Counter "queue_messages_delivered_ack_total", "Messages delivered to consumers that acknowledge",
        |n| n.stats.handed_out.deliver;
    Counter "queue_messages_delivered_total", "Messages delivered to consumers that do not acknowledge",
        |n| n.stats.handed_out.deliver_no_ack;
    Counter "queue_messages_redelivered_total", "Messages handed out again", |n| n.stats.handed_out.redeliver;
    Counter "queue_messages_acked_total", "Messages acknowledged or deleted", |n| n.stats.handed_out.ack;
    Counter "queue_get_empty_total", "Attempts to fetch from an empty queue", |n| n.stats.handed_out.get_empty;
}

families! {
    PUBLISHED: Numbers, RabbitMq;
    Counter "queue_messages_published_total", "Messages enqueued", |n| n.stats.publish;
}

families! {
    OWN: Numbers, Leveret;
    Gauge "queue_messages_delayed", "Messages that wait for their time", |n| n.counts.delayed;
    Gauge "queue_messages_rewindable", "Acknowledged messages that a rewind can bring back", |n| n.counts.rewindable;
    Gauge "queue_messages_rewindable_bytes", "Bytes of their bodies", |n| n.counts.rewindable_bytes;
    Gauge "queue_messages_damaged", "Messages on disk that cannot be read", |n| n.counts.damaged;
}

/// The families by the names that detailed requests give them.
static GROUPS: [(&str, &[Family<Numbers>]); 6] = [
    ("queue_coarse_metrics", COARSE),
    ("queue_consumer_count", CONSUMERS),
    ("queue_metrics", METRICS),
    ("queue_delivery_metrics", DELIVERY),
    ("queue_exchange_metrics", PUBLISHED),
    ("leveret_queue_metrics", OWN),
];

struct QueueObject {
    vhost: Name,
    queue: Arc<Queue>,
}

impl Object for QueueObject {
    type Numbers = Numbers;

    fn numbers(&self) -> Numbers {
        let (counts, stats) = self.queue.numbers();
        Numbers { counts, stats }
    }

    fn with_labels<R>(&self, use_labels: impl FnOnce(Labels<'_>) -> R) -> R {
        use_labels(&[("vhost", &self.vhost), ("queue", self.queue.name())])
    }
}

/// One sum for each gauge. Counters come from the totals, which do not fall when a queue is deleted.
pub(super) fn aggregated(views: &Views, out: &mut Exposition) {
    let families: Vec<&Family<Numbers>> = GROUPS.iter().flat_map(|(_, group)| *group).collect();
    let counted = of_totals(&views.broker().stats().totals());
    let mut sums = vec![0_u64; families.len()];
    for vhost in views.broker().vhost_list() {
        for queue in vhost.unordered_queues() {
            let (counts, stats) = queue.numbers();
            let numbers = Numbers { counts, stats };
            for (sum, family) in sums.iter_mut().zip(&families) {
                *sum = sum.saturating_add((family.value)(&numbers));
            }
        }
    }
    for (family, sum) in families.iter().zip(sums) {
        let value = match family.kind {
            Kind::Counter => (family.value)(&counted),
            Kind::Gauge | Kind::Histogram | Kind::Untyped => sum,
        };
        let name = family.full_name(Prefix::Plain);
        out.single(&name, family.kind, family.help, value);
    }
}

fn of_totals(totals: &Totals) -> Numbers {
    let mut stats = QueueStats {
        disk_reads: totals.disk_reads,
        disk_writes: totals.disk_writes,
        ..QueueStats::default()
    };
    for protocol in Protocol::ALL {
        stats.publish += totals.published.of(protocol).routed;
        for kind in QueueKind::ALL {
            stats.handed_out += *totals.handed_out.of(protocol).of(kind);
        }
    }
    Numbers {
        counts: Counts::default(),
        stats,
    }
}

pub(super) fn parts(
    views: &Views,
    query: &Query,
    prefix: Prefix,
    is_wanted: impl Fn(&str) -> bool,
) -> Option<Box<dyn Pieces>> {
    let wanted = GROUPS.iter().filter(|(group, _)| is_wanted(group));
    let families: Vec<&Family<Numbers>> = wanted.flat_map(|(_, group)| *group).collect();
    if families.is_empty() {
        return None;
    }
    let vhosts = views.broker().vhost_list().into_iter();
    let objects: Arc<[QueueObject]> = vhosts
        .filter(|vhost| query.shows(vhost.name()))
        .flat_map(|vhost| {
            let name = vhost.name().clone();
            let queues = vhost.unordered_queues().into_iter();
            queues.map(move |queue| QueueObject {
                vhost: name.clone(),
                queue,
            })
        })
        .collect();
    Some(Box::new(PerObject::new(objects, families, prefix)))
}
