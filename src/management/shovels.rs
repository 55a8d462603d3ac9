//! Dynamic shovels: their state, deleting and restarting them. They are set as parameters.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::{Caller, Policymaker};
use super::error::{ApiError, Refusal};
use super::listing::{self, ListQuery, Row};
use super::path::Path;
use crate::broker::parameters::runtime::SHOVEL;
use crate::model::shovel::redacted;
use crate::views::{Force, ShovelState, ShovelStatus};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
        .routes(routes!(get, delete))
        .routes(routes!(restart))
}

/// The state of a shovel. More fields name queue or exchange and routing key of both ends, or tell why it is broken.
#[derive(Serialize, ToSchema)]
struct ShovelJson {
    node: String,
    /// When the state last changed.
    timestamp: String,
    name: String,
    vhost: String,
    r#type: &'static str,
    /// `starting`, `running`, `blocked` or `terminated`.
    state: &'static str,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    more: Map<String, Value>,
}

struct ShovelRow {
    node: String,
    status: ShovelStatus,
}

impl Row for ShovelRow {
    type Json = ShovelJson;

    fn json(&self) -> ShovelJson {
        let status = &self.status;
        ShovelJson {
            node: self.node.clone(),
            timestamp: timestamp(status.changed_ms),
            name: status.name.to_string(),
            vhost: status.vhost.to_string(),
            r#type: "dynamic",
            state: status.state_name(),
            more: more(status),
        }
    }

    fn vhost(&self) -> &str {
        &self.status.vhost
    }

    fn name(&self) -> &str {
        &self.status.name
    }
}

/// A time as RabbitMQ shows it here.
fn timestamp(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(ms).unwrap_or_default();
    time.strftime("%Y-%m-%d %-H:%M:%S").to_string()
}

fn more(status: &ShovelStatus) -> Map<String, Value> {
    let mut more = Map::new();
    let mut put = |key: &str, value: Value| more.insert(key.to_owned(), value);
    let numbers = &status.numbers;
    match &status.state {
        ShovelState::Starting => {}
        ShovelState::Terminated { reason } => {
            put("reason", reason.as_str().into());
        }
        ShovelState::Running(ends) => {
            put("src_uri", ends.source_uri.as_str().into());
            put("src_protocol", "amqp091".into());
            put("dest_protocol", "amqp091".into());
            put("dest_uri", ends.destination_uri.as_str().into());
            for (key, name) in ends.names() {
                put(&key, name.into());
            }
            put("blocked_status", status.state_name().into());
            let or_unlimited = |left: Option<u64>| left.map_or("unlimited".into(), Value::from);
            let unpublished = |left: u64| left.saturating_sub(numbers.unconfirmed);
            put("remaining", or_unlimited(numbers.remaining));
            put(
                "remaining_unacked",
                or_unlimited(numbers.remaining.map(unpublished)),
            );
            put("pending", numbers.unconfirmed.into());
        }
    }
    put("forwarded", numbers.forwarded.into());
    more
}

fn rows(api: &Api, caller: &Caller, vhost: Option<&str>) -> Result<Vec<ShovelRow>, ApiError> {
    let vhosts = caller.visible_vhosts(api, vhost)?;
    let all = api.views.shovels().list().into_iter();
    let shown = all.filter(|shovel| vhosts.iter().any(|vhost| *vhost.name() == shovel.vhost));
    Ok(shown
        .map(|status| ShovelRow {
            node: api.node.clone(),
            status,
        })
        .collect())
}

/// All shovels.
#[utoipa::path(
    get, path = "/api/shovels", tag = "shovels", params(ListQuery),
    responses(
        (status = 200, body = Vec<ShovelJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    check_monitor(&caller)?;
    listing::list(&query, rows(&api, &caller, None)?).await
}

/// The shovels of a virtual host.
#[utoipa::path(
    get, path = "/api/shovels/{vhost}", tag = "shovels", params(("vhost" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<ShovelJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    check_monitor(&caller)?;
    listing::list(&query, rows(&api, &caller, Some(&vhost))?).await
}

/// The definition of a shovel.
#[derive(Serialize, ToSchema)]
struct ShovelDefinitionJson {
    /// Without the credentials of its URIs.
    value: Value,
    vhost: String,
    component: &'static str,
    name: String,
}

/// The definition of a shovel, without the credentials of its URIs.
#[utoipa::path(
    get, path = "/api/shovels/vhost/{vhost}/{name}", tag = "shovels",
    params(("vhost" = String, Path), ("name" = String, Path), ("columns" = Option<String>, Query)),
    responses(
        (status = 200, body = ShovelDefinitionJson), (status = 401, body = Refusal), (status = 404, body = Refusal)
    )
)]
async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    check_monitor(&caller)?;
    caller.visible_vhost(&api, &vhost)?;
    let value = api.broker.shovels().get(&vhost, &name);
    let value = value.ok_or(ApiError::NotFound)?;
    let value = redacted(&value);
    let component = SHOVEL;
    let json = ShovelDefinitionJson {
        value,
        vhost,
        component,
        name,
    };
    listing::object(&query, &json)
}

/// Deletes a shovel.
#[utoipa::path(
    delete, path = "/api/shovels/vhost/{vhost}/{name}", tag = "shovels",
    params(("vhost" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete(
    State(api): State<Shared>,
    Policymaker(caller): Policymaker,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.vhost(&api, &vhost)?;
    // Deleting is idempotent, as in RabbitMQ.
    api.views.shovels().delete(&vhost, &name, Force::No).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Closes the connections of a shovel and starts it anew.
#[utoipa::path(
    delete, path = "/api/shovels/vhost/{vhost}/{name}/restart", tag = "shovels",
    params(("vhost" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn restart(
    State(api): State<Shared>,
    Policymaker(caller): Policymaker,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.vhost(&api, &vhost)?;
    match api.views.shovels().restart(&vhost, &name).await {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NotFound),
    }
}

/// As in RabbitMQ, shovels are seen by those who see the connections of all users.
fn check_monitor(caller: &Caller) -> Result<(), ApiError> {
    match caller.is_monitor() {
        true => Ok(()),
        false => Err(ApiError::NotAuthorised("Not monitor user".into())),
    }
}
