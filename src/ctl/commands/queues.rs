//! Queues of a virtual host: list, purge, rewind, delete.

use serde_json::Value;

use super::amqp_values;
use super::consumers::channel_pid;
use super::lookup::vhost;
use crate::broker::queue::{Counts, RewindTo};
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE, EX_USAGE};
use crate::ctl::outcome::{Failure, Outcome, Reply, listing, rows};
use crate::ctl::protocol::{Cell, Request};
use crate::model::arguments::QueueKind;
use crate::model::policy::Applied;
use crate::model::{Name, json_term};
use crate::node;
use crate::views::QueueView;

pub(super) fn list(ctx: &Context, request: &Request) -> Outcome {
    // The only node is up: every queue is online and local.
    let queues = match request.has("offline") {
        true => Vec::new(),
        false => ctx.views.queues(request.vhost()),
    };
    listing(request, queues, |queue, column| {
        queue_cell(ctx, queue, column)
    })
}

fn queue_cell(ctx: &Context, queue: &QueueView, column: &str) -> Cell {
    let (spec, counts) = (&queue.spec, &queue.counts);
    match column {
        "name" => (*spec.name).into(),
        "durable" => spec.durable.into(),
        "auto_delete" => spec.auto_delete.into(),
        "arguments" => amqp_values::table(&spec.arguments.raw),
        "policy" => name(queue.policies().policy_name()),
        "operator_policy" => name(queue.policies().operator_policy_name()),
        "effective_policy_definition" => definition(queue.policies()),
        "pid" => queue.pid().into(),
        "owner_pid" => queue
            .owner
            .as_ref()
            .map_or(Cell::Nothing, |owner| owner.pid().into()),
        "exclusive_consumer_tag" => {
            let consumer = ctx.views.exclusive_consumer(queue);
            consumer.map_or(Cell::Nothing, |consumer| (*consumer.info.tag).into())
        }
        "exclusive_consumer_pid" => {
            let consumer = ctx.views.exclusive_consumer(queue);
            consumer.map_or(Cell::Nothing, |consumer| channel_pid(&consumer))
        }
        "exclusive" => spec.exclusive_owner.is_some().into(),
        "messages_ready" => counts.ready.into(),
        "messages_unacknowledged" => counts.unacked.into(),
        "messages" => queue.messages().into(),
        "message_bytes" => queue.message_bytes().into(),
        "message_bytes_ready" => counts.ready_bytes.into(),
        "message_bytes_unacknowledged" => counts.unacked_bytes.into(),
        "messages_delayed" => counts.delayed.into(),
        "messages_rewindable" => counts.rewindable.into(),
        "message_bytes_rewindable" => counts.rewindable_bytes.into(),
        "messages_damaged" => counts.damaged.into(),
        "memory" => counts.resident_bytes.into(),
        "consumers" => counts.consumers.into(),
        "state" => queue.state.as_str().into(),
        "type" => spec.arguments.kind.as_str().into(),
        "leader" => node::name().into(),
        "members" => Cell::Words(vec![node::name()]),
        "online" if spec.arguments.kind != QueueKind::Classic => Cell::Words(vec![node::name()]),
        _ => Cell::Nothing,
    }
}

/// The keys that the policies set together.
fn definition(applied: &Applied) -> Cell {
    let pair = |(key, value): (String, Value)| {
        let value = match value {
            Value::String(text) => Cell::Text(text),
            Value::Number(number) if number.is_i64() || number.is_u64() => {
                Cell::Integer(number.as_i64().unwrap_or(i64::MAX))
            }
            other => Cell::Text(json_term(&other)),
        };
        (key, value)
    };
    applied.definition().map_or(Cell::Nothing, |definition| {
        Cell::Pairs(definition.into_iter().map(pair).collect())
    })
}

fn name(name: Option<&Name>) -> Cell {
    name.map_or(Cell::Nothing, |name| (**name).into())
}

/// A queue is locked for microseconds at a time and always answers.
pub(super) fn list_unresponsive(ctx: &Context, request: &Request) -> Outcome {
    super::lookup::vhost_exists(ctx, request.vhost())?;
    rows(&["name"], Vec::new())
}

pub(super) async fn purge(ctx: &Context, request: &Request) -> Outcome {
    let queue = vhost(ctx, request).and_then(|vhost| vhost.queue(request.arg(0)));
    let Some(queue) = queue else {
        return Err(Failure::plain(
            EX_DATAERR,
            "Object (queue, stream, exchange, etc) was not found",
        ));
    };
    if queue.spec().arguments.kind == QueueKind::Stream {
        return Err(Failure::error(EX_UNAVAILABLE, "not_supported"));
    }
    if let (_, Some(ticket)) = queue.purge() {
        ctx.broker.committer().wait(ticket).await?;
    }
    Ok(Reply::Done)
}

pub(super) async fn rewind(ctx: &Context, request: &Request) -> Outcome {
    let to = request.options.get("to").map_or("", String::as_str);
    let to: RewindTo = to
        .parse()
        .map_err(|error| Failure::error(EX_USAGE, format!("--to: {error}")))?;
    let queue = vhost(ctx, request).and_then(|vhost| vhost.queue(request.arg(0)));
    let queue = queue.ok_or_else(|| Failure::error(EX_DATAERR, "Queue not found"))?;
    let rewound = queue
        .rewind(to)
        .await
        .map_err(|error| Failure::error(EX_UNAVAILABLE, error))?;
    if let Some(ticket) = rewound.ticket {
        ctx.broker.committer().wait(ticket).await?;
    }
    let from = rewound.from_offset.map_or(String::new(), |offset| {
        format!(", the first with offset {offset}")
    });
    Ok(Reply::Message(format!(
        "Messages that are ready again: {}{from}",
        rewound.messages
    )))
}

pub(super) async fn delete(ctx: &Context, request: &Request) -> Outcome {
    let not_found = || Failure::error(EX_USAGE, "Queue not found");
    let vhost = vhost(ctx, request).ok_or_else(not_found)?;
    let queue = vhost.queue(request.arg(0)).ok_or_else(not_found)?;
    // Both conditions do not apply to streams, and RabbitMQ reports no messages for them.
    let is_stream = queue.spec().arguments.kind == QueueKind::Stream;
    let mut refused = None;
    queue.letters_published().await;
    let only_if = |counts: &Counts| {
        if is_stream {
            return true;
        }
        if request.has("if-empty") && !counts.is_empty() {
            refused = Some("not empty");
        } else if request.has("if-unused") && counts.consumers > 0 {
            refused = Some("in use");
        }
        refused.is_none()
    };
    let deleted = vhost.delete_queue(&queue, only_if).await?;
    if let Some(reason) = refused {
        let resource = format!(
            "queue '{}' in vhost '{}' {reason}",
            request.arg(0),
            request.vhost()
        );
        let text = format!("{{:amqp_error, :precondition_failed, ~c\"{resource}\", :none}}");
        return Err(Failure::error(EX_UNAVAILABLE, text));
    }
    let counts = deleted.ok_or_else(not_found)?;
    Ok(Reply::Message(format!(
        "Queue was successfully deleted with {} ready messages",
        if is_stream { 0 } else { counts.ready }
    )))
}
