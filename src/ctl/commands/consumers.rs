//! Consumers of a virtual host: list.

use super::amqp_values;
use super::lookup::{sorted, vhost};
use crate::broker::queue::{ConsumerInfo, Queue};
use crate::ctl::context::Context;
use crate::ctl::outcome::{Outcome, listing};
use crate::ctl::protocol::{Cell, Request};

pub(super) fn list(ctx: &Context, request: &Request) -> Outcome {
    let queues = sorted(vhost(ctx, request).map(|vhost| vhost.queues()), |queue| {
        queue.name().clone()
    });
    let consumers = queues.iter().flat_map(|queue| {
        queue
            .consumers()
            .into_iter()
            .map(move |consumer| (queue, consumer))
    });
    listing(request, consumers, |(queue, consumer), column| {
        consumer_cell(ctx, queue, consumer, column)
    })
}

fn consumer_cell(ctx: &Context, queue: &Queue, consumer: &ConsumerInfo, column: &str) -> Cell {
    match column {
        "queue_name" => (**queue.name()).into(),
        "channel_pid" => channel_pid(ctx, consumer),
        "consumer_tag" => (*consumer.tag).into(),
        "ack_required" => consumer.ack_required.into(),
        "prefetch_count" => consumer.prefetch_count.into(),
        "active" => consumer.active.into(),
        "activity_status" => match (
            queue.spec().arguments.single_active_consumer,
            consumer.active,
        ) {
            (false, _) => "up".into(),
            (true, true) => "single_active".into(),
            (true, false) => "waiting".into(),
        },
        "arguments" => amqp_values::table(&consumer.arguments),
        _ => Cell::Nothing,
    }
}

pub(super) fn channel_pid(ctx: &Context, consumer: &ConsumerInfo) -> Cell {
    let all = ctx.connections().list();
    let own = all
        .iter()
        .find(|connection| connection.info.id == consumer.connection);
    own.map_or(Cell::Nothing, |connection| {
        connection.info.channel_pid(consumer.channel).into()
    })
}
