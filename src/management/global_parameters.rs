//! Global parameters: listing, setting and clearing them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;
use super::caller::Policymaker;
use super::error::{ApiError, Refusal};
use super::json::{Json, required};
use super::listing::{self, ListQuery, Row};
use super::parameters::some;
use super::path::Path;
use crate::model::Name;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put, delete))
}

/// A parameter of the whole broker.
#[derive(Serialize, ToSchema)]
struct GlobalParameterJson {
    #[schema(value_type = Value)]
    value: Arc<Value>,
    name: String,
}

/// The new value of a global parameter.
#[derive(Deserialize, ToSchema)]
struct GlobalParameterBody {
    /// Any JSON.
    #[serde(default, deserialize_with = "some")]
    value: Option<Value>,
}

struct GlobalParameterRow {
    name: Name,
    value: Arc<Value>,
}

impl Row for GlobalParameterRow {
    type Json = GlobalParameterJson;

    fn json(&self) -> GlobalParameterJson {
        GlobalParameterJson {
            value: Arc::clone(&self.value),
            name: self.name.to_string(),
        }
    }

    fn vhost(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// All global parameters.
#[utoipa::path(
    get, path = "/api/global-parameters", tag = "parameters", params(ListQuery),
    responses(
        (status = 200, body = Vec<GlobalParameterJson>), (status = 400, body = Refusal), (status = 401, body = Refusal)
    )
)]
async fn list(
    State(api): State<Shared>,
    _: Policymaker,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let all = api.broker.global_parameters().list().into_iter();
    let rows = all.map(|(name, value)| GlobalParameterRow { name, value });
    listing::list(&query, rows.collect()).await
}

/// One global parameter.
#[utoipa::path(
    get, path = "/api/global-parameters/{name}", tag = "parameters",
    params(("name" = String, Path), ("columns" = Option<String>, Query)),
    responses((status = 200, body = GlobalParameterJson), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn get(
    State(api): State<Shared>,
    _: Policymaker,
    Path(name): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let value = api.broker.global_parameters().get(&name);
    let value = value.ok_or(ApiError::NotFound)?;
    listing::object(&query, &GlobalParameterJson { value, name })
}

/// Sets a global parameter.
#[utoipa::path(
    put, path = "/api/global-parameters/{name}", tag = "parameters", params(("name" = String, Path)),
    request_body = GlobalParameterBody,
    responses(
        (status = 201, description = "Set for the first time."), (status = 204, description = "Replaced."),
        (status = 400, body = Refusal), (status = 401, body = Refusal)
    )
)]
async fn put(
    State(api): State<Shared>,
    _: Policymaker,
    Path(name): Path<String>,
    Json(body): Json<GlobalParameterBody>,
) -> Result<StatusCode, ApiError> {
    let value = required(body.value, "value")?;
    let parameters = api.broker.global_parameters();
    let is_new = parameters.get(&name).is_none();
    parameters.set(&name, value).await?;
    Ok(match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::NO_CONTENT,
    })
}

/// Clears a global parameter.
#[utoipa::path(
    delete, path = "/api/global-parameters/{name}", tag = "parameters", params(("name" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete(
    State(api): State<Shared>,
    _: Policymaker,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.broker.global_parameters().clear(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
