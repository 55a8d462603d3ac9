//! Virtual hosts: add, delete, list.

use std::sync::Arc;

use super::lookup::no_such_vhost;
use super::users::words;
use crate::broker::vhost::{Vhost, VhostMetadata};
use crate::broker::vhosts::VhostError;
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_SOFTWARE, EX_USAGE};
use crate::ctl::outcome::{Failure, Outcome, Reply, listing};
use crate::ctl::protocol::{Cell, Request};
use crate::model::Name;
use crate::model::arguments::QueueKind;
use crate::node;
use crate::views::VhostView;

/// Adds a virtual host. If it exists, sets only what the options name; that is no error, as in RabbitMQ.
pub(super) async fn add(ctx: &Context, request: &Request) -> Outcome {
    let name = request.arg(0);
    let existing = ctx.broker.vhost(name).map(|vhost| vhost.metadata());
    let mut metadata = existing.clone().unwrap_or_default();
    set_options(&mut metadata, request)?;
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

/// Sets what the options name.
fn set_options(metadata: &mut VhostMetadata, request: &Request) -> Result<(), Failure> {
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
    if let Some(word) = request.options.get("protected-from-deletion") {
        metadata.protected_from_deletion = match word.as_str() {
            "true" => true,
            "false" => false,
            other => {
                return Err(Failure::error(
                    EX_USAGE,
                    format!("protected-from-deletion is true or false. Was: {other}"),
                ));
            }
        };
    }
    Ok(())
}

/// Changes metadata as the options say.
pub(super) async fn update_metadata(ctx: &Context, request: &Request) -> Outcome {
    let mut metadata = metadata(ctx, request)?;
    set_options(&mut metadata, request)?;
    update(ctx, request, metadata).await
}

pub(super) async fn set_tags(ctx: &Context, request: &Request) -> Outcome {
    let name = request.arg(0);
    let Some(vhost) = ctx.broker.vhost(name) else {
        let text = format!("Virtual host \"{name}\" does not exist");
        return Err(Failure::error(EX_DATAERR, text));
    };
    let tags = request.args.iter().skip(1);
    let metadata = VhostMetadata {
        tags: tags.map(|tag| tag.as_str().into()).collect(),
        ..vhost.metadata()
    };
    update(ctx, request, metadata).await
}

pub(super) async fn protect(ctx: &Context, request: &Request) -> Outcome {
    let metadata = VhostMetadata {
        protected_from_deletion: true,
        ..metadata(ctx, request)?
    };
    update(ctx, request, metadata).await
}

pub(super) async fn unprotect(ctx: &Context, request: &Request) -> Outcome {
    let metadata = VhostMetadata {
        protected_from_deletion: false,
        ..metadata(ctx, request)?
    };
    update(ctx, request, metadata).await
}

fn metadata(ctx: &Context, request: &Request) -> Result<VhostMetadata, Failure> {
    let vhost = ctx.broker.vhost(request.arg(0));
    let vhost = vhost.ok_or_else(|| no_such_vhost(request.arg(0)))?;
    Ok(vhost.metadata())
}

async fn update(ctx: &Context, request: &Request, metadata: VhostMetadata) -> Outcome {
    let updated = ctx.broker.update_vhost(request.arg(0), metadata).await;
    updated.map_err(failure)?;
    Ok(Reply::Done)
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
        VhostError::Protected(_) => Failure::error(
            EX_DATAERR,
            "Cannot delete this virtual host: it is protected from deletion. To lift the protection, inspect and update \
             its metadata",
        ),
        VhostError::AlreadyExists(_) | VhostError::NameTooLong => Failure::error(EX_DATAERR, error),
    }
}

/// A virtual host runs as long as the broker does.
pub(super) fn restart(ctx: &Context, request: &Request) -> Outcome {
    let (vhost, node) = (request.vhost(), node::name());
    match ctx.has_vhost(vhost) {
        true => Ok(Reply::Message(format!(
            "Vhost '{vhost}' is already running on node '{node}'"
        ))),
        false => Err(Failure::error(
            EX_SOFTWARE,
            format!(
                "Failed to start vhost '{vhost}' on node '{node}'Reason: {{:no_such_vhost, \"{vhost}\"}}"
            ),
        )),
    }
}

pub(super) fn trace_on(ctx: &Context, request: &Request) -> Outcome {
    traced(ctx, request)?.set_traced(true);
    Ok(Reply::tracing("enabled", request.vhost()))
}

pub(super) fn trace_off(ctx: &Context, request: &Request) -> Outcome {
    traced(ctx, request)?.set_traced(false);
    Ok(Reply::tracing("disabled", request.vhost()))
}

/// RabbitMQ takes any name here, so a wrong one goes unnoticed.
fn traced(ctx: &Context, request: &Request) -> Result<Arc<Vhost>, Failure> {
    let vhost = ctx.broker.vhost(request.vhost());
    vhost.ok_or_else(|| no_such_vhost(request.vhost()))
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
        "tracing" => vhost.is_traced.into(),
        _ => Cell::Nothing,
    }
}
