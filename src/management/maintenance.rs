//! Small services for operators: hashing a password, the configuration that holds, forgetting statistics.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;
use super::caller::Administrator;
use super::error::{ApiError, Refusal};
use super::json::{Answer, Json};
use super::path::Path;
use crate::broker::password::PasswordHash;
use crate::node;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(hash_password))
        .routes(routes!(effective_config))
        .routes(routes!(rebalance))
        .routes(routes!(reset))
        .routes(routes!(reset_node))
}

/// A hashed password.
#[derive(Serialize, ToSchema)]
struct HashJson {
    /// The hash, as `password_hash` of a user takes it.
    ok: String,
}

/// Hashes a password as RabbitMQ does.
#[utoipa::path(
    get, path = "/api/auth/hash_password/{password}", tag = "users", params(("password" = String, Path)),
    responses((status = 200, body = HashJson), (status = 401, body = Refusal))
)]
async fn hash_password(_: Administrator, Path(password): Path<String>) -> Answer<HashJson> {
    let hash = PasswordHash::rabbit_sha256(password.as_bytes());
    Ok(Json(HashJson {
        ok: hash.text().to_owned(),
    }))
}

/// The configuration that holds, as a file with the source of each option. Secrets are not shown.
#[utoipa::path(
    get, path = "/api/config/effective", tag = "node",
    responses((status = 200, content_type = "text/plain", body = String), (status = 401, body = Refusal))
)]
async fn effective_config(
    State(api): State<Shared>,
    _: Administrator,
) -> ([(HeaderName, HeaderValue); 1], String) {
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    (
        [(CONTENT_TYPE, content_type)],
        api.views.configuration().to_string(),
    )
}

/// Spreads the leaders of queues over the nodes. A single node has them all.
#[utoipa::path(
    post, path = "/api/rebalance/queues", tag = "node",
    responses((status = 204), (status = 401, body = Refusal))
)]
async fn rebalance(_: Administrator) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Forgets the samples from which rates follow. Counters stay as they are.
#[utoipa::path(
    delete, path = "/api/reset", tag = "node", responses((status = 204), (status = 401, body = Refusal))
)]
async fn reset(State(api): State<Shared>, _: Administrator) -> StatusCode {
    api.views.forget_samples();
    StatusCode::NO_CONTENT
}

/// Forgets the samples of a node.
#[utoipa::path(
    delete, path = "/api/reset/{node}", tag = "node", params(("node" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn reset_node(
    State(api): State<Shared>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    if name != node::name() {
        return Err(ApiError::NotFound);
    }
    api.views.forget_samples();
    Ok(StatusCode::NO_CONTENT)
}
