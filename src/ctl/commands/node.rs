//! The process as a whole: stop and start serving, thresholds.

use std::num::NonZeroU16;

use tokio::sync::oneshot;

use crate::broker::alarms::Resource;

use crate::config::{MemoryWatermark, parse_bytes, parse_fraction};
use crate::ctl::context::{Context, Node, NodeCommand};
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE};
use crate::ctl::outcome::{Failure, Outcome, Reply};
use crate::ctl::protocol::Request;

fn shutting_down() -> Failure {
    Failure::error(EX_UNAVAILABLE, "the broker is shutting down")
}

/// The socket exists only while the broker is up, so only `stop_app` can be in the way.
pub(super) fn await_startup(node: &Node) -> Outcome {
    if node.is_running() {
        Ok(Reply::Done)
    } else {
        Err(Failure::error(EX_UNAVAILABLE, "rabbit_is_not_running"))
    }
}

pub(super) async fn stop_app(node: &Node) -> Outcome {
    let (done, stopped) = oneshot::channel();
    node.commands
        .send(NodeCommand::StopApp(done))
        .await
        .map_err(|_| shutting_down())?;
    stopped.await.map_err(|_| shutting_down())?;
    Ok(Reply::Done)
}

/// Has the server carry out a command that can fail.
pub(super) async fn whole(
    node: &Node,
    command: impl FnOnce(oneshot::Sender<Result<(), String>>) -> NodeCommand,
) -> Outcome {
    let (done, carried_out) = oneshot::channel();
    let sent = node.commands.send(command(done)).await;
    sent.map_err(|_| shutting_down())?;
    let carried_out = carried_out.await.map_err(|_| shutting_down())?;
    carried_out.map_err(|error| Failure::error(EX_UNAVAILABLE, error))?;
    Ok(Reply::Done)
}

pub(super) async fn stop(node: &Node) -> Outcome {
    node.commands
        .send(NodeCommand::Stop)
        .await
        .map_err(|_| shutting_down())?;
    Ok(Reply::Done)
}

pub(super) fn set_alarm(ctx: &Context, request: &Request, on: bool) -> Outcome {
    let resource = match request.arg(0) {
        "memory" => Resource::Memory,
        "disk" => Resource::Disk,
        _ => return Err(Failure::error(EX_DATAERR, "Bad argument.")),
    };
    ctx.views.alarms().set_by_operator(resource, on);
    Ok(Reply::Done)
}

pub(super) async fn set_channel_max(ctx: &Context, request: &Request) -> Outcome {
    let count = request.arg(0).parse::<u16>();
    let count = count.map_err(|_| Failure::error(EX_DATAERR, "Bad argument."))?;
    let channel_max = NonZeroU16::new(count).unwrap_or(NonZeroU16::MAX);
    let (done, set) = oneshot::channel();
    ctx.node
        .commands
        .send(NodeCommand::SetChannelMax(channel_max, done))
        .await
        .map_err(|_| shutting_down())?;
    set.await.map_err(|_| shutting_down())?;
    Ok(Reply::Done)
}

pub(super) fn ping() -> Outcome {
    Ok(Reply::Message("Ping succeeded".to_owned()))
}

pub(super) fn set_memory_watermark(ctx: &Context, request: &Request) -> Outcome {
    let bad = || Failure::error(EX_DATAERR, "Bad argument.");
    let watermark = match request.arg(0) {
        "absolute" => MemoryWatermark::Bytes(parse_bytes(request.arg(1)).ok_or_else(bad)?),
        fraction => MemoryWatermark::Fraction(parse_fraction(fraction).ok_or_else(bad)?),
    };
    ctx.memory.set_watermark(watermark);
    Ok(Reply::Done)
}

pub(super) fn set_disk_free_limit(ctx: &Context, request: &Request) -> Outcome {
    let bad = || Failure::error(EX_DATAERR, "Bad argument.");
    let limit = match request.arg(0) {
        "mem_relative" => scaled(ctx.memory.total_bytes(), request.arg(1)).ok_or_else(bad)?,
        bytes => parse_bytes(bytes).ok_or_else(bad)?,
    };
    ctx.broker.committer().set_disk_free_min(limit);
    Ok(Reply::Done)
}

/// `total` times a factor such as `1.5`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a threshold needs no exact byte, and the conversion saturates"
)]
fn scaled(total: u64, factor: &str) -> Option<u64> {
    let factor = factor
        .parse::<f64>()
        .ok()
        .filter(|factor| factor.is_finite() && *factor >= 0.0)?;
    Some((total as f64 * factor) as u64)
}
