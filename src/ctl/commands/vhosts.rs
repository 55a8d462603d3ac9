//! Virtual hosts: add, delete, list.

use super::lookup::no_such_vhost;
use super::users::words;
use crate::broker::vhosts::VhostError;
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_USAGE};
use crate::ctl::outcome::{Failure, Outcome, Reply, listing};
use crate::ctl::protocol::{Cell, Request};
use crate::model::Name;
use crate::model::arguments::QueueKind;
use crate::views::VhostView;

/// Adds a virtual host. If it exists, sets only what the options name; that is no error, as in RabbitMQ.
pub(super) async fn add(ctx: &Context, request: &Request) -> Outcome {
    let name = request.arg(0);
    let existing = ctx.broker.vhost(name).map(|vhost| vhost.metadata());
    let mut metadata = existing.clone().unwrap_or_default();
    if let Some(description) = request.options.get("description") {
        metadata.description.clone_from(description);
    }
    if let Some(tags) = request.options.get("tags") {
        metadata.tags = tags
            .split(',')
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .map(Name::from)
            .collect();
    }
    if let Some(kind) = request.options.get("default-queue-type") {
        metadata.default_queue_kind = Some(queue_kind(kind)?);
    }
    let done = match existing {
        Some(unchanged) if unchanged == metadata => Ok(()),
        Some(_) => ctx.broker.update_vhost(name, metadata).await,
        None => ctx.broker.add_vhost(name, metadata).await,
    };
    match done {
        // Another operator added it meanwhile.
        Ok(()) | Err(VhostError::AlreadyExists(_)) => Ok(Reply::Done),
        Err(error) => Err(failure(error)),
    }
}

fn queue_kind(name: &str) -> Result<QueueKind, Failure> {
    QueueKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .ok_or_else(|| {
            Failure::error(
                EX_USAGE,
                format!("Default queue type must be one of: classic, quorum, stream. Was: {name}"),
            )
        })
}

fn failure(error: VhostError) -> Failure {
    match error {
        VhostError::NotFound(name) => no_such_vhost(&name),
        VhostError::Store(error) => error.into(),
        VhostError::AlreadyExists(_) | VhostError::NameTooLong => Failure::error(EX_DATAERR, error),
    }
}

pub(super) async fn delete(ctx: &Context, request: &Request) -> Outcome {
    ctx.broker
        .delete_vhost(request.arg(0))
        .await
        .map_err(failure)?;
    Ok(Reply::Done)
}

pub(super) fn list(ctx: &Context, request: &Request) -> Outcome {
    listing(request, ctx.views.vhosts(), cell)
}

fn cell(vhost: &VhostView, column: &str) -> Cell {
    let metadata = &vhost.metadata;
    match column {
        "name" => (*vhost.name).into(),
        "description" => metadata.description.clone().into(),
        "tags" => words(&metadata.tags),
        "default_queue_type" => metadata
            .default_queue_kind
            .unwrap_or(QueueKind::Classic)
            .as_str()
            .into(),
        // There is no firehose that could be on.
        "tracing" => false.into(),
        _ => Cell::Nothing,
    }
}
