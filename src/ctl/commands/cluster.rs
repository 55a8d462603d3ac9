//! The cluster, which is this node, and replicas of queues, which are on it. What RabbitMQ does on a single node.

use serde_json::json;

use super::{cluster_status, lookup};
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_SOFTWARE, EX_UNAVAILABLE, EX_USAGE};
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::{Cell, Request};
use crate::model::arguments::QueueKind;
use crate::node;
use crate::views::QueueView;

const LEADERS_OF_QUORUM: (QueueKind, &str) = (QueueKind::Quorum, "Number of quorum queues");
const LEADERS_OF_STREAMS: (QueueKind, &str) = (QueueKind::Stream, "Number of streams");

pub(super) fn await_online_nodes(request: &Request) -> Outcome {
    match request.arg(0).parse::<u32>() {
        Ok(0 | 1) => Ok(Reply::Done),
        // Further nodes never come, so there is nothing to wait for.
        Ok(_) => {
            let node = node::name();
            let text = format!(
                "Error: timed out while waiting. Not enough nodes joined {node}'s cluster. Leveret runs as one node."
            );
            Err(Failure::error(EX_SOFTWARE, text))
        }
        Err(_) => Err(Failure::error(EX_DATAERR, "Bad argument: not a number")),
    }
}

pub(super) fn status(ctx: &Context) -> Outcome {
    Ok(cluster_status::report(ctx.views.node(), None))
}

pub(super) fn discover_peers() -> Outcome {
    let node = node::name();
    let json = json!([node]);
    Ok(Reply::Report {
        text: format!("[:{node}]"),
        json,
    })
}

pub(super) fn await_quorum_plus_one() -> Outcome {
    Ok(Reply::Message(
        "Target node seems to be the only one in a single node cluster, the command does not apply"
            .to_owned(),
    ))
}

pub(super) fn reached_target_size() -> Outcome {
    Ok(Reply::Message(format!(
        "Target cluster size has been reached on node {}",
        node::name()
    )))
}

/// Refuses nodes other than this one.
fn this_node(name: &str) -> Result<(), Failure> {
    match name == node::name() {
        true => Ok(()),
        false => Err(Failure::plain(
            EX_USAGE,
            format!("Error: node {name} is not a member of the cluster"),
        )),
    }
}

/// The queues of all virtual hosts.
fn all_queues(ctx: &Context) -> Vec<QueueView> {
    let vhosts = ctx.vhost_names().into_iter();
    vhosts.flat_map(|vhost| ctx.views.queues(&vhost)).collect()
}

pub(super) fn grow(request: &Request) -> Outcome {
    this_node(request.arg(0))?;
    if !matches!(request.arg(1), "all" | "even") {
        return Err(Failure::error(
            EX_DATAERR,
            format!(
                "Bad argument: strategy '{}' is not recognised.",
                request.arg(1)
            ),
        ));
    }
    Ok(Reply::Done)
}

/// Lists the quorum queues: none loses its only replica.
pub(super) fn shrink(ctx: &Context, request: &Request) -> Outcome {
    let name = request.arg(0);
    if name != node::name() {
        let text = format!("{{:node_not_running, :{name}}}");
        return Err(Failure::error(EX_UNAVAILABLE, text));
    }
    let quorum = all_queues(ctx)
        .into_iter()
        .filter(|queue| queue.spec.arguments.kind == QueueKind::Quorum);
    let row = |queue: QueueView| {
        vec![
            Cell::from(&*queue.vhost),
            (*queue.spec.name).into(),
            1_u16.into(),
            "error: the last node cannot be removed".into(),
        ]
    };
    rows(
        &["vhost", "name", "size", "result"],
        quorum.map(row).collect(),
    )
}

/// Shows how many queues of each type this node leads.
pub(super) fn rebalance(ctx: &Context, request: &Request) -> Outcome {
    let chosen: &[(QueueKind, &str)] = match request.arg(0) {
        "all" => &[LEADERS_OF_QUORUM, LEADERS_OF_STREAMS],
        "quorum" => &[LEADERS_OF_QUORUM],
        "stream" => &[LEADERS_OF_STREAMS],
        "classic" => &[],
        other => {
            let text = format!("Bad argument: type {other} is not supported.");
            return Err(Failure::error(EX_DATAERR, text));
        }
    };
    let queues = all_queues(ctx);
    let mut columns = vec!["Node name"];
    let mut row = vec![Cell::from(node::name())];
    for (kind, column) in chosen {
        columns.push(*column);
        let led = queues
            .iter()
            .filter(|queue| queue.spec.arguments.kind == *kind);
        row.push(led.count().into());
    }
    rows(&columns, vec![row])
}

/// The queue that a request names, which must have replicas of this kind.
fn replicated(ctx: &Context, request: &Request, kind: QueueKind) -> Result<QueueView, Failure> {
    let queue = ctx.views.queue(request.vhost(), request.arg(0));
    let queue = queue.ok_or_else(|| {
        let (name, vhost) = (request.arg(0), request.vhost());
        match kind {
            QueueKind::Stream => Failure::plain(
                EX_DATAERR,
                "Object (queue, stream, exchange, etc) was not found",
            ),
            QueueKind::Classic | QueueKind::Quorum => Failure::plain(
                EX_DATAERR,
                format!("queue '{name}' was not found in virtual host '{vhost}'"),
            ),
        }
    })?;
    match queue.spec.arguments.kind {
        found if found == kind => Ok(queue),
        found => Err(match kind {
            QueueKind::Stream => Failure::error(
                EX_UNAVAILABLE,
                format!("Cannot get stream status of a {} queue", found.as_str()),
            ),
            QueueKind::Classic | QueueKind::Quorum => Failure::error(
                EX_UNAVAILABLE,
                format!("{{:unsupported, :rabbit_{}_queue}}", found.as_str()),
            ),
        }),
    }
}

/// There is no garbage to collect.
pub(super) fn reclaim_memory(ctx: &Context, request: &Request) -> Outcome {
    replicated(ctx, request, QueueKind::Quorum)?;
    Ok(Reply::Done)
}

pub(super) fn add_member(ctx: &Context, request: &Request) -> Outcome {
    this_node(request.arg(1))?;
    replicated(ctx, request, QueueKind::Quorum)?;
    Ok(Reply::Done)
}

pub(super) fn delete_member(ctx: &Context, request: &Request) -> Outcome {
    replicated(ctx, request, QueueKind::Quorum)?;
    match request.arg(1) == node::name() {
        // A node that has no replica has lost it already.
        false => Ok(Reply::Done),
        true => Err(Failure::error(
            EX_UNAVAILABLE,
            "Cannot delete the last member of a quorum queue",
        )),
    }
}

pub(super) fn transfer_leadership(ctx: &Context, request: &Request) -> Outcome {
    this_node(request.arg(1))?;
    lookup::vhost_exists(ctx, request.vhost())?;
    match ctx.views.queue(request.vhost(), request.arg(0)) {
        Some(_) => Ok(Reply::Done),
        None => Err(Failure::plain(
            EX_DATAERR,
            "Object (queue, stream, exchange, etc) was not found",
        )),
    }
}

pub(super) fn add_replica(ctx: &Context, request: &Request) -> Outcome {
    replicated(ctx, request, QueueKind::Stream)?;
    match request.arg(1) == node::name() {
        true => Ok(Reply::Done),
        false => Err(Failure::error(EX_UNAVAILABLE, "node_not_running")),
    }
}

pub(super) fn delete_replica(ctx: &Context, request: &Request) -> Outcome {
    replicated(ctx, request, QueueKind::Stream)?;
    Err(Failure::error(
        EX_UNAVAILABLE,
        "Cannot delete the last member of a stream",
    ))
}

pub(super) fn restart_stream(ctx: &Context, request: &Request) -> Outcome {
    replicated(ctx, request, QueueKind::Stream)?;
    Ok(Reply::Message(node::name()))
}

/// The one replica of a quorum queue. It has no log of Raft, so its places in that log are those of the queue's messages.
pub(super) fn quorum_status(ctx: &Context, request: &Request) -> Outcome {
    replicated(ctx, request, QueueKind::Quorum)?;
    let columns = ["Node Name", "Raft State", "Membership", "Term"];
    let row = vec![
        Cell::from(node::name()),
        "leader".into(),
        "voter".into(),
        1_u16.into(),
    ];
    rows(&columns, vec![row])
}

pub(super) fn stream_status(ctx: &Context, request: &Request) -> Outcome {
    let view = replicated(ctx, request, QueueKind::Stream)?;
    if request.has("tracking") {
        // Only clients of the stream protocol store offsets, and it is not spoken.
        return Ok(Reply::Report {
            text: String::new(),
            json: json!([]),
        });
    }
    let queue = lookup::vhost(ctx, request).and_then(|vhost| vhost.queue(request.arg(0)));
    let extent = queue.and_then(|queue| queue.stream_extent());
    let extent = extent.unwrap_or_default();
    // The offset of the last message; -1 if there never was one.
    let last = i64::try_from(extent.next).map_or(i64::MAX, |next| next - 1);
    let columns = [
        "role",
        "node",
        "epoch",
        "offset",
        "committed_offset",
        "first_offset",
        "readers",
        "segments",
    ];
    let row = vec![
        Cell::from("writer"),
        node::name().into(),
        1_u16.into(),
        Cell::Integer(last),
        Cell::Integer(last),
        extent.first.into(),
        view.counts.consumers.into(),
        extent.segments.into(),
    ];
    rows(&columns, vec![row])
}
