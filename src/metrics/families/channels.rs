//! Channels.

use std::sync::Arc;

use crate::broker::connections::ChannelStatus;
use crate::broker::stats::{MessageStats, Protocol, Totals};
use crate::metrics::exposition::{Exposition, Kind, Labels};
use crate::metrics::family::{Family, Prefix, families};
use crate::metrics::pieces::{Object, PerObject, Pieces};
use crate::metrics::query::Query;
use crate::model::arguments::QueueKind;
use crate::views::{ChannelView, Views};

families! {
    METRICS: ChannelStatus, RabbitMq;
    Gauge "channel_consumers", "Consumers", |n| n.consumers as u64;
    Gauge "channel_messages_unacked", "Deliveries without an acknowledgement", |n| n.unacknowledged as u64;
    Gauge "channel_messages_unconfirmed", "Publishes without a confirm", |n| n.unconfirmed as u64;
    Gauge "channel_messages_uncommitted", "Publishes and acknowledgements of an open transaction",
        |n| n.uncommitted as u64;
    Gauge "consumer_prefetch", "Prefetch of each consumer; 0 is no limit", |n| n.prefetch.into();
    Gauge "channel_prefetch", "Prefetch of a whole channel; 0 is no limit", |n| n.global_prefetch.into();
}

families! {
    PUBLISHED: ChannelStatus, RabbitMq;
    Counter "channel_messages_published_total", "Messages published", |n| n.message_stats.publish;
    Counter "channel_messages_confirmed_total", "Messages confirmed", |n| n.message_stats.confirm;
    Counter "channel_messages_unroutable_returned_total", "Mandatory messages returned without a queue",
        |n| n.message_stats.return_unroutable;
    Counter "channel_messages_unroutable_dropped_total", "Other messages without a queue",
        |n| n.message_stats.drop_unroutable;
}

families! {
    DELIVERED: ChannelStatus, RabbitMq;
    Counter "channel_get_ack_total", "Messages fetched, to be acknowledged", |n| n.message_stats.get;
    Counter "channel_get_total", "Messages fetched without acknowledgement", |n| n.message_stats.get_no_ack;
    Counter "channel_messages_delivered_ack_total", "Messages delivered, to be acknowledged",
        |n| n.message_stats.deliver;
    Counter "channel_messages_delivered_total", "Messages delivered without acknowledgement",
        |n| n.message_stats.deliver_no_ack;
    Counter "channel_messages_redelivered_total", "Messages delivered again", |n| n.message_stats.redeliver;
    Counter "channel_messages_acked_total", "Messages acknowledged", |n| n.message_stats.ack;
    Counter "channel_get_empty_total", "Attempts to fetch from an empty queue", |n| n.message_stats.get_empty;
}

static GROUPS: [(&str, &[Family<ChannelStatus>]); 3] = [
    ("channel_metrics", METRICS),
    ("channel_exchange_metrics", PUBLISHED),
    ("channel_queue_metrics", DELIVERED),
];

struct ChannelObject {
    pid: String,
    view: ChannelView,
}

impl Object for ChannelObject {
    type Numbers = ChannelStatus;

    fn numbers(&self) -> ChannelStatus {
        self.view.status.clone()
    }

    fn with_labels<R>(&self, use_labels: impl FnOnce(Labels<'_>) -> R) -> R {
        use_labels(&[
            ("channel", &self.pid),
            ("vhost", &self.view.connection.vhost),
        ])
    }
}

/// One sum for each gauge. Counters come from the totals, which do not fall when a channel is closed.
pub(super) fn aggregated(views: &Views, out: &mut Exposition) {
    let counted = ChannelStatus {
        message_stats: of_totals(&views.broker().stats().totals()),
        ..ChannelStatus::default()
    };
    let channels = views.channels();
    for family in GROUPS.iter().flat_map(|(_, group)| *group) {
        let value = match family.kind {
            Kind::Counter => (family.value)(&counted),
            Kind::Gauge | Kind::Histogram | Kind::Untyped => {
                let values = channels
                    .iter()
                    .map(|channel| (family.value)(&channel.status));
                values.fold(0, u64::saturating_add)
            }
        };
        let name = family.full_name(Prefix::Plain);
        out.single(&name, family.kind, family.help, value);
    }
}

fn of_totals(totals: &Totals) -> MessageStats {
    let mut stats = MessageStats::default();
    stats.add_published(totals.published.of(Protocol::Amqp));
    for kind in QueueKind::ALL {
        stats.add_handed_out(totals.handed_out.of(Protocol::Amqp).of(kind));
    }
    stats
}

pub(super) fn parts(
    views: &Views,
    query: &Query,
    prefix: Prefix,
    is_wanted: impl Fn(&str) -> bool,
) -> Option<Box<dyn Pieces>> {
    let wanted = GROUPS.iter().filter(|(group, _)| is_wanted(group));
    let families: Vec<&Family<ChannelStatus>> = wanted.flat_map(|(_, group)| *group).collect();
    if families.is_empty() {
        return None;
    }
    let channels = views.channels().into_iter();
    let objects: Arc<[ChannelObject]> = channels
        .filter(|view| query.shows(&view.connection.vhost))
        .map(|view| ChannelObject {
            pid: view.pid(),
            view,
        })
        .collect();
    Some(Box::new(PerObject::new(objects, families, prefix)))
}
