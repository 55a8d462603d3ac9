//! Limits of virtual hosts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::{Administrator, Caller};
use super::error::{ApiError, Refusal};
use super::json::{Json, required};
use super::listing::{self, ListQuery, Row};
use super::path::Path;
use super::user_limits::LimitBody;
use crate::broker::error::BrokerError;
use crate::broker::limits::VhostLimits;
use crate::broker::parameters::ParameterError;
use crate::model::Name;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
        .routes(routes!(put, delete))
}

/// A virtual host with its limits.
#[derive(Clone, Serialize, ToSchema)]
struct VhostLimitsJson {
    #[schema(value_type = String)]
    vhost: Name,
    value: Map<String, Value>,
}

impl Row for VhostLimitsJson {
    type Json = VhostLimitsJson;

    fn json(&self) -> VhostLimitsJson {
        self.clone()
    }

    fn vhost(&self) -> &str {
        &self.vhost
    }

    fn name(&self) -> &str {
        &self.vhost
    }
}

fn rows(api: &Api, is_shown: impl Fn(&str) -> bool) -> Vec<VhostLimitsJson> {
    let limited = api.broker.limits().list().into_iter();
    let shown =
        limited.filter(|(vhost, limits)| is_shown(vhost) && *limits != VhostLimits::default());
    shown
        .map(|(vhost, limits)| VhostLimitsJson {
            vhost,
            value: limits.to_json(),
        })
        .collect()
}

/// The virtual hosts that have limits.
#[utoipa::path(
    get, path = "/api/vhost-limits", tag = "limits", params(ListQuery),
    responses(
        (status = 200, body = Vec<VhostLimitsJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let visible = caller.visible_vhosts(&api, None)?;
    let is_shown = |name: &str| visible.iter().any(|vhost| **vhost.name() == *name);
    listing::list(&query, rows(&api, is_shown)).await
}

/// The limits of a virtual host, in a list.
#[utoipa::path(
    get, path = "/api/vhost-limits/{vhost}", tag = "limits", params(("vhost" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<VhostLimitsJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    caller.visible_vhost(&api, &vhost)?;
    listing::list(&query, rows(&api, |of| of == vhost)).await
}

/// Sets a limit of a virtual host: `max-connections` or `max-queues`.
#[utoipa::path(
    put, path = "/api/vhost-limits/{vhost}/{limit}", tag = "limits",
    params(("vhost" = String, Path), ("limit" = String, Path)), request_body = LimitBody,
    responses(
        (status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal)
    )
)]
async fn put(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, limit)): Path<(String, String)>,
    Json(body): Json<LimitBody>,
) -> Result<StatusCode, ApiError> {
    let value = required(body.value, "value")?;
    known(&api, &vhost)?;
    let set = VhostLimits::from_json(&Map::from_iter([(limit, value)]));
    let set = set.map_err(|invalid| {
        ApiError::BadRequest(ParameterError::Invalid(invalid.to_string()).to_string())
    })?;
    let merge = |limits: &mut VhostLimits| {
        limits.max_connections = set.max_connections.or(limits.max_connections);
        limits.max_queues = set.max_queues.or(limits.max_queues);
    };
    api.broker.limits().change(&vhost, merge).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lifts a limit of a virtual host.
#[utoipa::path(
    delete, path = "/api/vhost-limits/{vhost}/{limit}", tag = "limits",
    params(("vhost" = String, Path), ("limit" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, limit)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    known(&api, &vhost)?;
    let clear = |limits: &mut VhostLimits| match limit.as_str() {
        "max-connections" => limits.max_connections = None,
        "max-queues" => limits.max_queues = None,
        // A limit that does not exist is lifted already, as in RabbitMQ.
        _ => {}
    };
    api.broker.limits().change(&vhost, clear).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn known(api: &Api, vhost: &str) -> Result<(), ApiError> {
    match api.broker.vhost(vhost) {
        Some(_) => Ok(()),
        None => Err(BrokerError::VhostNotFound(vhost.into()).into()),
    }
}
