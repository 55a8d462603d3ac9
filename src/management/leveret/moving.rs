//! Moves messages from queue to queue.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::management::api::Shared;
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::json::{Json, required};
use crate::management::path::Path;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(move_messages))
}

/// Where to move messages to.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"to": "other"}))]
struct MoveBody {
    /// A queue of the same virtual host.
    #[schema(value_type = String, required = true)]
    to: Option<String>,
}

/// What a move has done.
#[derive(Serialize, ToSchema)]
struct MovedJson {
    /// Messages that are in the other queue now.
    moved: u64,
    /// The other queue is full and took no more.
    is_full: bool,
}

/// Moves the ready messages of a queue to another one, in their order, with all their properties. After a crash each is in
/// exactly one of the queues. Takes read permission on the queue and write permission on the default exchange.
#[utoipa::path(
    post, path = "/api/leveret/queues/{vhost}/{queue}/move", tag = "leveret",
    params(("vhost" = String, Path), ("queue" = String, Path)), request_body = MoveBody,
    responses(
        (status = 200, body = MovedJson), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn move_messages(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, queue)): Path<(String, String)>,
    Json(body): Json<MoveBody>,
) -> Result<Json<MovedJson>, ApiError> {
    let to = required(body.to, "to")?;
    let vhost = caller.vhost_to_change(&api, &vhost)?;
    let session = caller.session(&api, vhost);
    let moved = session.move_messages(&queue, &to).await;
    let moved = moved.map_err(ApiError::of_method)?;
    Ok(Json(MovedJson {
        moved: moved.messages,
        is_full: moved.is_full,
    }))
}
