//! Lists and shows queues.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::queue_json::{QueueJson, QueueRow, Shape};
use crate::broker::vhost::Vhost;
use crate::management::api::Shared;
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::listing::{self, ListQuery, Listing, Row};
use crate::management::path::Path;
use crate::management::ranges::{RangeQuery, Ranges};
use crate::model::arguments::QueueKind;

fn rows(api: &Shared, vhosts: &[Arc<Vhost>], shape: Shape, ranges: Ranges) -> Vec<QueueRow> {
    let of_vhost = |vhost: &Arc<Vhost>| {
        let (api, vhost) = (Arc::clone(api), Arc::clone(vhost));
        let queues = vhost.queues().into_iter();
        queues.map(move |queue| QueueRow {
            api: Arc::clone(&api),
            vhost: Arc::clone(&vhost),
            queue,
            shape,
            ranges,
        })
    };
    vhosts.iter().flat_map(of_vhost).collect()
}

/// All queues.
#[utoipa::path(
    get, path = "/api/queues", tag = "queues", params(ListQuery, RangeQuery),
    responses((status = 200, body = Listing<QueueJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
pub(super) async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, None)?;
    let rows = rows(&api, &vhosts, Shape::of_list(&query), ranges);
    listing::list(&query, rows).await
}

/// All queues with their consumers.
#[utoipa::path(
    get, path = "/api/queues/detailed", tag = "queues", params(ListQuery, RangeQuery),
    responses((status = 200, body = Listing<QueueJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
pub(super) async fn list_detailed(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, None)?;
    listing::list(&query, rows(&api, &vhosts, Shape::WithConsumers, ranges)).await
}

/// The queues of a virtual host.
#[utoipa::path(
    get, path = "/api/queues/{vhost}", tag = "queues", params(("vhost" = String, Path), ListQuery, RangeQuery),
    responses(
        (status = 200, body = Listing<QueueJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
pub(super) async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, Some(&vhost))?;
    let rows = rows(&api, &vhosts, Shape::of_list(&query), ranges);
    listing::list(&query, rows).await
}

/// One queue.
#[utoipa::path(
    get, path = "/api/queues/{vhost}/{name}", tag = "queues",
    params(("vhost" = String, Path), ("name" = String, Path), ListQuery, RangeQuery),
    responses((status = 200, body = QueueJson), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
pub(super) async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    let queue = vhost.queue(&name).ok_or(ApiError::NotFound)?;
    let row = QueueRow {
        api,
        vhost,
        queue,
        shape: match Shape::of_list(&query) {
            Shape::Full => Shape::Alone,
            less => less,
        },
        ranges,
    };
    listing::object(&query, &row.json())
}

/// The state of a replica of a quorum queue.
#[derive(Serialize, ToSchema)]
struct ReplicaStatus {
    #[serde(rename = "Node Name")]
    node: String,
    #[serde(rename = "Raft State")]
    raft_state: &'static str,
    #[serde(rename = "Membership")]
    membership: &'static str,
}

/// The replicas of a quorum queue: this node.
#[utoipa::path(
    get, path = "/api/queues/quorum/{vhost}/{name}/status", tag = "queues",
    params(("vhost" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, body = Vec<ReplicaStatus>), (status = 401, body = Refusal), (status = 404, body = Refusal),
        (status = 503, description = "The queue is no quorum queue.", body = Object)
    )
)]
pub(super) async fn quorum_status(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    let queue = vhost.queue(&name).ok_or(ApiError::NotFound)?;
    let kind = queue.spec().arguments.kind;
    if kind != QueueKind::Quorum {
        let reason = format!("{}_queue_not_supported", kind.as_str());
        let failed: Value = json!({"status": "failed", "reason": reason});
        return Ok((StatusCode::SERVICE_UNAVAILABLE, axum::Json(failed)).into_response());
    }
    let replica = ReplicaStatus {
        node: api.node.clone(),
        raft_state: "leader",
        membership: "voter",
    };
    Ok(axum::Json([replica]).into_response())
}
