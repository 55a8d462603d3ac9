//! Messages by protocol and queue type.

use crate::broker::stats::{Deaths, HandedOut, Protocol, Published, SIZE_BOUNDS, Totals};
use crate::metrics::exposition::{Exposition, Kind};
use crate::metrics::family::{Family, Prefix, families};
use crate::model::arguments::QueueKind;
use crate::views::Views;

families! {
    PUBLISHED: Published, RabbitMq;
    Counter "global_messages_received_total", "Messages received from publishers", |n| n.received;
    Counter "global_messages_received_confirm_total", "Messages received from publishers that get confirms",
        |n| n.received_confirm;
    Counter "global_messages_routed_total", "Copies of messages passed to queues", |n| n.routed;
    Counter "global_messages_unroutable_dropped_total", "Messages without a queue that were dropped",
        |n| n.unroutable_dropped;
    Counter "global_messages_unroutable_returned_total", "Messages without a queue that were returned",
        |n| n.unroutable_returned;
    Counter "global_messages_confirmed_total", "Messages confirmed to publishers", |n| n.confirmed;
}

families! {
    HANDED_OUT: HandedOut, RabbitMq;
    Counter "global_messages_delivered_total", "Messages handed out",
        |n| n.deliver + n.deliver_no_ack + n.get + n.get_no_ack;
    Counter "global_messages_delivered_consume_manual_ack_total", "Messages delivered to consumers that acknowledge",
        |n| n.deliver;
    Counter "global_messages_delivered_consume_auto_ack_total",
        "Messages delivered to consumers that do not acknowledge", |n| n.deliver_no_ack;
    Counter "global_messages_delivered_get_manual_ack_total", "Messages fetched, to be acknowledged", |n| n.get;
    Counter "global_messages_delivered_get_auto_ack_total", "Messages fetched without acknowledgement",
        |n| n.get_no_ack;
    Counter "global_messages_get_empty_total", "Attempts to fetch from an empty queue", |n| n.get_empty;
    Counter "global_messages_redelivered_total", "Messages handed out again", |n| n.redeliver;
    Counter "global_messages_acknowledged_total", "Messages acknowledged", |n| n.ack;
}

families! {
    DEATHS: Deaths, RabbitMq;
    Counter "global_messages_dead_lettered_maxlen_total", "Messages that left a queue that was too long", |n| n.maxlen;
    Counter "global_messages_dead_lettered_expired_total", "Messages whose time to live passed", |n| n.expired;
    Counter "global_messages_dead_lettered_rejected_total", "Messages that consumers rejected", |n| n.rejected;
    Counter "global_messages_dead_lettered_delivery_limit_total", "Messages that came back too often",
        |n| n.delivery_limit;
}

pub(super) fn write(views: &Views, out: &mut Exposition) {
    let totals = views.broker().stats().totals();
    for family in PUBLISHED {
        begin(out, family);
        let name = family.full_name(Prefix::Plain);
        for protocol in Protocol::ALL {
            let value = (family.value)(totals.published.of(protocol));
            out.sample(&name, &[("protocol", protocol.as_str())], value);
        }
    }
    for family in HANDED_OUT {
        begin(out, family);
        let name = family.full_name(Prefix::Plain);
        for protocol in Protocol::ALL {
            for kind in QueueKind::ALL {
                let value = (family.value)(totals.handed_out.of(protocol).of(kind));
                let labels = [
                    ("protocol", protocol.as_str()),
                    ("queue_type", kind.long_name()),
                ];
                out.sample(&name, &labels, value);
            }
        }
    }
    deaths(&totals, out);
    clients(views, out);
    sizes(&totals, out);
}

fn begin<T>(out: &mut Exposition, family: &Family<T>) {
    out.family(&family.full_name(Prefix::Plain), family.kind, family.help);
}

/// Deaths by queue type, with a dead letter exchange (RabbitMQ's strategy `at_most_once`) and without (`disabled`).
fn deaths(totals: &Totals, out: &mut Exposition) {
    for family in DEATHS {
        begin(out, family);
        let name = family.full_name(Prefix::Plain);
        for kind in [QueueKind::Classic, QueueKind::Quorum] {
            for (strategy, deaths) in [
                ("at_most_once", totals.dead_lettered.of(kind)),
                ("disabled", totals.dropped.of(kind)),
            ] {
                let labels = [
                    ("queue_type", kind.long_name()),
                    ("dead_letter_strategy", strategy),
                ];
                out.sample(&name, &labels, (family.value)(deaths));
            }
        }
    }
}

/// Channels that have published, and consumers. CMQ's clients are neither: they have no channels.
fn clients(views: &Views, out: &mut Exposition) {
    let channels = views.channels();
    let has_published = channels
        .iter()
        .filter(|channel| channel.status.message_stats.publish > 0);
    let consumers: usize = channels
        .iter()
        .map(|channel| channel.status.consumers)
        .sum();
    let amqp = [("protocol", Protocol::Amqp.as_str())];
    let name = "rabbitmq_global_publishers";
    out.family(name, Kind::Gauge, "Channels that have published");
    out.sample(name, &amqp, has_published.count());
    let name = "rabbitmq_global_consumers";
    out.family(name, Kind::Gauge, "Consumers");
    out.sample(name, &amqp, consumers);
}

fn sizes(totals: &Totals, out: &mut Exposition) {
    let name = "rabbitmq_message_size_bytes";
    out.family(
        name,
        Kind::Histogram,
        "Sizes of messages received from publishers",
    );
    let bounds = SIZE_BOUNDS.map(|bound| bound.to_string());
    for protocol in Protocol::ALL {
        let sizes = totals.sizes.of(protocol);
        let bounds = bounds.iter().map(|bound| Some(bound.as_str()));
        let buckets = bounds.chain([None]).zip(sizes.buckets);
        out.histogram(name, &[("protocol", protocol.as_str())], buckets, sizes.sum);
    }
}
