//! Feature flags and deprecated features of RabbitMQ: which of them this broker has.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;
use super::caller::{Administrator, Caller};
use super::error::{ApiError, Refusal};
use super::listing::{self, ListQuery, Row};
use super::path::Path;
use crate::views::{DeprecatedFeature, FEATURE_FLAGS};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(flags))
        .routes(routes!(enable))
        .routes(routes!(deprecated))
        .routes(routes!(deprecated_used))
}

/// A feature flag.
#[derive(Serialize, ToSchema)]
struct FlagJson {
    name: &'static str,
    desc: &'static str,
    doc_url: &'static str,
    /// Always `enabled`.
    state: &'static str,
    stability: &'static str,
    require_level: &'static str,
    experiment_level: &'static str,
    callbacks: Vec<String>,
    provided_by: &'static str,
}

struct Flag(&'static str, &'static str);

impl Row for Flag {
    type Json = FlagJson;

    fn json(&self) -> FlagJson {
        FlagJson {
            name: self.0,
            desc: self.1,
            doc_url: "",
            state: "enabled",
            stability: "required",
            require_level: "hard",
            experiment_level: "supported",
            callbacks: Vec::new(),
            provided_by: "leveret",
        }
    }

    fn vhost(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        self.0
    }
}

/// RabbitMQ's feature flags that this broker has. All are enabled.
#[utoipa::path(
    get, path = "/api/feature-flags", tag = "features", params(ListQuery),
    responses((status = 200, body = Vec<FlagJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn flags(_: Caller, query: ListQuery) -> Result<Response, ApiError> {
    let rows = FEATURE_FLAGS.iter().map(|(name, desc)| Flag(name, desc));
    listing::list(&query, rows.collect()).await
}

/// Enables a feature flag. All that there are, are enabled already.
#[utoipa::path(
    put, path = "/api/feature-flags/{name}/enable", tag = "features", params(("name" = String, Path)),
    responses((status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn enable(_: Administrator, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    match FEATURE_FLAGS.iter().any(|(known, _)| *known == name) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::BadRequest("unsupported".to_owned())),
    }
}

/// A feature that RabbitMQ deprecates.
#[derive(Serialize, ToSchema)]
pub(super) struct DeprecatedJson {
    name: &'static str,
    /// `permitted` if this broker has it, or else `denied`.
    state: &'static str,
    desc: &'static str,
    deprecation_phase: &'static str,
    doc_url: &'static str,
    provided_by: &'static str,
}

impl Row for DeprecatedFeature {
    type Json = DeprecatedJson;

    fn json(&self) -> DeprecatedJson {
        DeprecatedJson {
            name: self.as_str(),
            state: self.state(),
            desc: "",
            deprecation_phase: self.phase(),
            doc_url: "",
            provided_by: "leveret",
        }
    }

    fn vhost(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        self.as_str()
    }
}

/// Features that RabbitMQ deprecates, and whether this broker has them.
#[utoipa::path(
    get, path = "/api/deprecated-features", tag = "features", params(ListQuery),
    responses((status = 200, body = Vec<DeprecatedJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn deprecated(_: Caller, query: ListQuery) -> Result<Response, ApiError> {
    listing::list(&query, DeprecatedFeature::ALL.to_vec()).await
}

/// Deprecated features that something uses now.
#[utoipa::path(
    get, path = "/api/deprecated-features/used", tag = "features", params(ListQuery),
    responses((status = 200, body = Vec<DeprecatedJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn deprecated_used(
    State(api): State<Shared>,
    _: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let used = DeprecatedFeature::ALL
        .into_iter()
        .filter(|feature| feature.is_used(&api.broker));
    listing::list(&query, used.collect()).await
}
