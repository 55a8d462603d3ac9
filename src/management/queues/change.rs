//! Declares, deletes and purges queues.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::broker::session::DeclareQueue;
use crate::management::api::Shared;
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::json::{Flag, Json, required, table};
use crate::management::path::{Path, Query};

/// How to declare a queue.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct QueueDeclaration {
    /// False unless given.
    durable: Option<Flag>,
    /// False unless given.
    auto_delete: Option<Flag>,
    #[schema(value_type = Option<Object>)]
    arguments: Option<Value>,
    /// The node for the queue: this one, if any is given.
    node: Option<String>,
}

/// Declares a queue, or checks that an equal one exists.
#[utoipa::path(
    put, path = "/api/queues/{vhost}/{name}", tag = "queues",
    params(("vhost" = String, Path), ("name" = String, Path)), request_body = QueueDeclaration,
    responses(
        (status = 201, description = "Declared."), (status = 204, description = "An equal queue exists."),
        (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal)
    )
)]
pub(super) async fn declare(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    Json(body): Json<QueueDeclaration>,
) -> Result<StatusCode, ApiError> {
    let vhost = caller.vhost_to_change(&api, &vhost)?;
    if let Some(node) = body.node.filter(|node| *node != api.node) {
        let reason = format!("Node {node} is not a cluster member");
        return Err(ApiError::BadRequest(reason));
    }
    let exists = vhost.queue(&name).is_some();
    let session = caller.session(&api, vhost);
    let declare = DeclareQueue {
        name: &name,
        passive: false,
        durable: Flag::or(body.durable, false)?,
        exclusive: false,
        auto_delete: Flag::or(body.auto_delete, false)?,
        arguments: table(body.arguments.as_ref())?,
    };
    session.declare_queue(declare).await?;
    Ok(match exists {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::CREATED,
    })
}

/// Conditions of a deletion.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::management) struct DeleteQuery {
    /// `true` refuses to delete it while it is in use.
    #[serde(rename = "if-unused")]
    if_unused: Option<String>,
    /// `true` refuses to delete a queue that has messages.
    #[serde(rename = "if-empty")]
    if_empty: Option<String>,
}

/// Deletes a queue with its messages.
#[utoipa::path(
    delete, path = "/api/queues/{vhost}/{name}", tag = "queues",
    params(("vhost" = String, Path), ("name" = String, Path), DeleteQuery),
    responses(
        (status = 204, description = "Deleted."), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
pub(super) async fn delete(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, ApiError> {
    let vhost = caller.vhost(&api, &vhost)?;
    vhost.queue(&name).ok_or(ApiError::NotFound)?;
    let is_true = |text: Option<String>| text.as_deref() == Some("true");
    let (if_unused, if_empty) = (is_true(query.if_unused), is_true(query.if_empty));
    let session = caller.session(&api, vhost);
    session.delete_queue(&name, if_unused, if_empty).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Drops all ready messages of a queue.
#[utoipa::path(
    delete, path = "/api/queues/{vhost}/{name}/contents", tag = "queues",
    params(("vhost" = String, Path), ("name" = String, Path)),
    responses(
        (status = 204, description = "Purged."), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
pub(super) async fn purge(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let vhost = caller.vhost(&api, &vhost)?;
    vhost.queue(&name).ok_or(ApiError::NotFound)?;
    caller.session(&api, vhost).purge_queue(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An action of RabbitMQ's mirrored queues.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Action {
    action: Option<String>,
}

/// Acts on a queue. RabbitMQ's actions were for mirrored queues: there are none, and each is refused.
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{name}/actions", tag = "queues",
    params(("vhost" = String, Path), ("name" = String, Path)), request_body = Action,
    responses((status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
pub(super) async fn act(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    Json(body): Json<Action>,
) -> Result<StatusCode, ApiError> {
    let vhost = caller.vhost(&api, &vhost)?;
    vhost.queue(&name).ok_or(ApiError::NotFound)?;
    let action = required(body.action, "action")?;
    Err(ApiError::BadValue("unknown", action.into()))
}
