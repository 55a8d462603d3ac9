//! Connections.

use std::sync::Arc;

use crate::metrics::exposition::{Exposition, Labels};
use crate::metrics::family::{Family, Prefix, families};
use crate::metrics::pieces::{Object, PerObject, Pieces};
use crate::metrics::query::Query;
use crate::model::Name;
use crate::views::{ConnectionView, Views};

#[derive(Clone, Copy, Default)]
pub(super) struct Numbers {
    received_bytes: u64,
    sent_bytes: u64,
    reads: u64,
    writes: u64,
    pending_bytes: u64,
    channels: u64,
}

impl Numbers {
    fn of(connection: &ConnectionView) -> Numbers {
        let status = &connection.status;
        Numbers {
            received_bytes: status.received_bytes,
            sent_bytes: status.sent_bytes,
            reads: status.reads,
            writes: status.writes,
            pending_bytes: status.pending_bytes,
            channels: status.channels.len() as u64,
        }
    }
}

families! {
    COARSE: Numbers, RabbitMq;
    Counter "connection_incoming_bytes_total", "Bytes received", |n| n.received_bytes;
    Counter "connection_outgoing_bytes_total", "Bytes sent", |n| n.sent_bytes;
}

families! {
    PACKETS: Numbers, RabbitMq;
    Counter "connection_incoming_packets_total", "Reads from the socket", |n| n.reads;
    Counter "connection_outgoing_packets_total", "Writes to the socket", |n| n.writes;
}

families! {
    GAUGES: Numbers, RabbitMq;
    Gauge "connection_channels", "Open channels", |n| n.channels;
}

families! {
    OWN: Numbers, Leveret;
    Gauge "connection_pending_bytes", "Bytes that wait for the socket", |n| n.pending_bytes;
}

static GROUPS: [(&str, &[Family<Numbers>]); 4] = [
    ("connection_coarse_metrics", COARSE),
    ("connection_metrics", PACKETS),
    ("connection_metrics", GAUGES),
    ("connection_metrics", OWN),
];

struct ConnectionObject {
    pid: String,
    vhost: Name,
    numbers: Numbers,
}

impl Object for ConnectionObject {
    type Numbers = Numbers;

    fn numbers(&self) -> Numbers {
        self.numbers
    }

    fn with_labels<R>(&self, use_labels: impl FnOnce(Labels<'_>) -> R) -> R {
        // RabbitMQ names a connection by this label, too.
        use_labels(&[("channel", &self.pid), ("vhost", &self.vhost)])
    }
}

/// Bytes of all connections, closed ones included, and sums of gauges. Reads and writes are per connection only.
pub(super) fn aggregated(views: &Views, out: &mut Exposition) {
    let totals = views.broker().stats().totals();
    let mut sums = Numbers {
        received_bytes: totals.received_bytes,
        sent_bytes: totals.sent_bytes,
        ..Numbers::default()
    };
    for numbers in views.connections().iter().map(Numbers::of) {
        sums.pending_bytes += numbers.pending_bytes;
        sums.channels += numbers.channels;
    }
    for family in COARSE.iter().chain(GAUGES).chain(OWN) {
        let name = family.full_name(Prefix::Plain);

        out.single(&name, family.kind, family.help, (family.value)(&sums));
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
    let connections = views.connections().into_iter();
    let objects: Arc<[ConnectionObject]> = connections
        .filter(|view| query.shows(&view.info.vhost))
        .map(|view| ConnectionObject {
            pid: view.info.pid(),
            vhost: view.info.vhost.clone(),
            numbers: Numbers::of(&view),
        })
        .collect();
    Some(Box::new(PerObject::new(objects, families, prefix)))
}
