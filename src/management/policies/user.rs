//! Paths of policies, which users with the tag policymaker set.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::policy_json::{self, PolicyBody, PolicyJson};
use crate::management::api::Shared;
use crate::management::caller::{Caller, Policymaker};
use crate::management::error::{ApiError, Refusal};
use crate::management::json::Json;
use crate::management::listing::ListQuery;
use crate::management::path::Path;
use crate::model::policy::PolicyKind;

const KIND: PolicyKind = PolicyKind::User;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
        .routes(routes!(get, put, delete))
}

/// All policies.
#[utoipa::path(
    get, path = "/api/policies", tag = "policies", params(ListQuery),
    responses(
        (status = 200, body = Vec<PolicyJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = caller.vhosts(&api, None)?;
    policy_json::list(KIND, vhosts, &query).await
}

/// The policies of a virtual host.
#[utoipa::path(
    get, path = "/api/policies/{vhost}", tag = "policies", params(("vhost" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<PolicyJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = caller.vhosts(&api, Some(&vhost))?;
    policy_json::list(KIND, vhosts, &query).await
}

/// One policy.
#[utoipa::path(
    get, path = "/api/policies/{vhost}/{policy}", tag = "policies",
    params(("vhost" = String, Path), ("policy" = String, Path), ("columns" = Option<String>, Query)),
    responses((status = 200, body = PolicyJson), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, policy)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = caller.vhost(&api, &vhost)?;
    policy_json::get(KIND, &vhost, &policy, &query)
}

/// Sets a policy. It applies to all queues and exchanges before the answer.
#[utoipa::path(
    put, path = "/api/policies/{vhost}/{policy}", tag = "policies",
    params(("vhost" = String, Path), ("policy" = String, Path)), request_body = PolicyBody,
    responses(
        (status = 201, description = "It is new."), (status = 204, description = "It is replaced."),
        (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal)
    )
)]
async fn put(
    State(api): State<Shared>,
    Policymaker(caller): Policymaker,
    Path(names): Path<(String, String)>,
    Json(body): Json<PolicyBody>,
) -> Result<StatusCode, ApiError> {
    policy_json::put(KIND, &api, &caller, names, body).await
}

/// Clears a policy.
#[utoipa::path(
    delete, path = "/api/policies/{vhost}/{policy}", tag = "policies",
    params(("vhost" = String, Path), ("policy" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete(
    State(api): State<Shared>,
    Policymaker(caller): Policymaker,
    Path(names): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    policy_json::delete(KIND, &api, &caller, names).await
}
