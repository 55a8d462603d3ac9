//! Rewinds queues.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::broker::queue::RewindTo;
use crate::management::api::Shared;
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::json::{Answer, Json, required};
use crate::management::path::Path;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(rewind))
}

/// Where to rewind to.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"to": "2026-01-31T12:00:00Z"}))]
struct RewindBody {
    /// As `leveret ctl rewind` takes it: an offset (digits), or a time (digits and `s` or `ms` since 1970, or RFC 3339).
    #[schema(value_type = String, required = true)]
    to: Option<Value>,
}

/// What a rewind has done.
#[derive(Serialize, ToSchema)]
struct RewoundJson {
    /// Messages that are ready again.
    rewound: u64,
    /// The first offset that came back, if the queue has one log.
    from_offset: Option<u64>,
}

/// Makes acked messages of a queue ready again, from a time or offset on. Takes read permission on the queue.
#[utoipa::path(
    post, path = "/api/leveret/queues/{vhost}/{queue}/rewind", tag = "leveret",
    params(("vhost" = String, Path), ("queue" = String, Path)), request_body = RewindBody,
    responses(
        (status = 200, body = RewoundJson), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn rewind(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, queue)): Path<(String, String)>,
    Json(body): Json<RewindBody>,
) -> Answer<RewoundJson> {
    let to = position(&required(body.to, "to")?)?;
    let vhost = caller.vhost(&api, &vhost)?;
    let rewound = caller.session(&api, vhost).rewind_queue(&queue, to).await?;
    Ok(Json(RewoundJson {
        rewound: rewound.messages,
        from_offset: rewound.from_offset,
    }))
}

fn position(to: &Value) -> Result<RewindTo, ApiError> {
    let text = match to {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let position = text.parse::<RewindTo>();
    position.map_err(|invalid| ApiError::BadRequest(format!("to: {invalid}")))
}
