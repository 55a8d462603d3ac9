//! Consumers of a virtual host: list.

use super::amqp_values;
use crate::ctl::context::Context;
use crate::ctl::outcome::{Outcome, listing};
use crate::ctl::protocol::{Cell, Request};
use crate::views::ConsumerView;

pub(super) fn list(ctx: &Context, request: &Request) -> Outcome {
    listing(request, ctx.views.consumers(request.vhost()), consumer_cell)
}

fn consumer_cell(consumer: &ConsumerView, column: &str) -> Cell {
    let info = &consumer.info;
    match column {
        "queue_name" => (*consumer.queue).into(),
        "channel_pid" => channel_pid(consumer),
        "consumer_tag" => (*info.tag).into(),
        "ack_required" => info.ack_required.into(),
        "prefetch_count" => info.prefetch_count.into(),
        "active" => info.active.into(),
        "activity_status" => consumer.activity.as_str().into(),
        "arguments" => amqp_values::table(&info.arguments),
        _ => Cell::Nothing,
    }
}

pub(super) fn channel_pid(consumer: &ConsumerView) -> Cell {
    let channel = consumer.channel.as_ref();
    channel.map_or(Cell::Nothing, |channel| channel.pid().into())
}
