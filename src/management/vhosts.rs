//! Virtual hosts: listing, setting, protecting and deleting them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::{Administrator, Caller};
use super::error::{ApiError, Refusal};
use super::json::{Flag, Json};
use super::listing::{self, ListQuery, Row};
use super::path::Path;
use super::ranges::{RangeQuery, Ranges};
use super::stats_json::{self, Look};
use super::words::Words;
use crate::broker::vhost::{Vhost, VhostMetadata};
use crate::broker::vhosts::VhostError;
use crate::model::arguments::QueueKind;
use crate::node;
use crate::views::{Depth, Subject};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put, delete))
        .routes(routes!(protect, unprotect))
        .routes(routes!(start))
}

/// How some clients say that a virtual host has no type of its own.
const UNDEFINED: &str = "undefined";

/// A virtual host.
#[derive(Serialize, ToSchema)]
struct VhostJson {
    name: String,
    description: String,
    tags: Vec<String>,
    /// The type of queues whose declaration names none.
    default_queue_type: &'static str,
    protected_from_deletion: bool,
    metadata: MetadataJson,
    /// Whether publishes and deliveries are copied to the exchange `amq.rabbitmq.trace`.
    tracing: bool,
    /// The state on each node.
    cluster_state: BTreeMap<String, &'static str>,
    /// Ready and unacked messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_details: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_ready: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_ready_details: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_unacknowledged: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_unacknowledged_details: Option<Value>,
    /// Bytes that AMQP clients have sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    recv_oct: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recv_oct_details: Option<Value>,
    /// Bytes that AMQP clients have been sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    send_oct: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_oct_details: Option<Value>,
    /// Counters and their rates; absent before the first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Map<String, Value>>,
}

/// The metadata of a virtual host once more, as definitions have it.
#[derive(Serialize, ToSchema)]
struct MetadataJson {
    description: String,
    tags: Vec<String>,
    default_queue_type: &'static str,
}

struct VhostRow {
    api: Shared,
    vhost: Arc<Vhost>,
    /// `None` leaves out statistics.
    stats: Option<(Depth, Ranges)>,
}

impl VhostRow {
    fn with_stats(&self, json: VhostJson) -> VhostJson {
        let views = &self.api.views;
        let (Some((depth, ranges)), Some(view)) = (self.stats, views.vhost(self.vhost.name()))
        else {
            return json;
        };
        let look = Look::at(views, &Subject::Vhost(view.name.clone()), depth, ranges);
        let totals = &view.queue_totals;
        VhostJson {
            messages: Some(totals.messages()),
            messages_details: Some(look.length(|values| values.ready + values.unacked)),
            messages_ready: Some(totals.ready),
            messages_ready_details: Some(look.length(|values| values.ready)),
            messages_unacknowledged: Some(totals.unacked),
            messages_unacknowledged_details: Some(look.length(|values| values.unacked)),
            recv_oct: Some(view.received_bytes),
            recv_oct_details: Some(look.bytes(|values| values.received_bytes)),
            send_oct: Some(view.sent_bytes),
            send_oct_details: Some(look.bytes(|values| values.sent_bytes)),
            message_stats: look.message_stats(stats_json::TOTALS, &view.message_stats),
            ..json
        }
    }
}

impl Row for VhostRow {
    type Json = VhostJson;

    fn json(&self) -> VhostJson {
        let metadata = self.vhost.metadata();
        let tags: Vec<_> = metadata.tags.iter().map(ToString::to_string).collect();
        let kind = metadata.default_queue_kind.unwrap_or(QueueKind::Classic);
        let declared = VhostJson {
            name: self.vhost.name().to_string(),
            description: metadata.description.clone(),
            tags: tags.clone(),
            default_queue_type: kind.as_str(),
            protected_from_deletion: metadata.protected_from_deletion,
            metadata: MetadataJson {
                description: metadata.description,
                tags,
                default_queue_type: kind.as_str(),
            },
            tracing: self.vhost.is_traced(),
            cluster_state: BTreeMap::from([(self.api.node.clone(), "running")]),
            messages: None,
            messages_details: None,
            messages_ready: None,
            messages_ready_details: None,
            messages_unacknowledged: None,
            messages_unacknowledged_details: None,
            recv_oct: None,
            recv_oct_details: None,
            send_oct: None,
            send_oct_details: None,
            message_stats: None,
        };
        self.with_stats(declared)
    }

    fn vhost(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        self.vhost.name()
    }
}

/// The virtual hosts that the caller may see.
#[utoipa::path(
    get, path = "/api/vhosts", tag = "vhosts", params(ListQuery, RangeQuery),
    responses(
        (status = 200, body = Vec<VhostJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let visible = caller.visible_vhosts(&api, None)?.into_iter();
    let stats = query.shows_stats().then_some((Depth::Rate, ranges));
    let row = |vhost| VhostRow {
        api: Arc::clone(&api),
        vhost,
        stats,
    };
    listing::list(&query, visible.map(row).collect()).await
}

/// One virtual host.
#[utoipa::path(
    get, path = "/api/vhosts/{vhost}", tag = "vhosts",
    params(("vhost" = String, Path), ListQuery, RangeQuery),
    responses(
        (status = 200, body = VhostJson), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn get(
    State(api): State<Shared>,
    _: Administrator,
    Path(vhost): Path<String>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let row = VhostRow {
        vhost: known(&api, &vhost)?,
        stats: query.shows_stats().then_some((Depth::History, ranges)),
        api,
    };
    listing::object(&query, &row.json())
}

fn known(api: &Api, name: &str) -> Result<Arc<Vhost>, ApiError> {
    api.broker.vhost(name).ok_or(ApiError::NotFound)
}

/// A virtual host to set. What it does not name gets its default.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"description": "The shop", "tags": ["production"], "default_queue_type": "quorum"}))]
struct VhostBody {
    description: Option<String>,
    tags: Option<Words>,
    /// `classic`, `quorum` or `stream`.
    #[serde(alias = "defaultqueuetype")]
    default_queue_type: Option<String>,
    /// Whether publishes and deliveries are copied to the exchange `amq.rabbitmq.trace`, until the broker stops. Without it,
    /// that stays as it is.
    tracing: Option<Flag>,
}

/// Creates a virtual host, or replaces its metadata. Only the paths of the protection change that.
#[utoipa::path(
    put, path = "/api/vhosts/{vhost}", tag = "vhosts", params(("vhost" = String, Path)), request_body = VhostBody,
    responses(
        (status = 201, description = "The virtual host is new."), (status = 204, description = "It is changed."),
        (status = 400, body = Refusal), (status = 401, body = Refusal)
    )
)]
async fn put(
    State(api): State<Shared>,
    caller: Administrator,
    Path(name): Path<String>,
    Json(body): Json<VhostBody>,
) -> Result<StatusCode, ApiError> {
    let tracing = body.tracing.map(Flag::read).transpose()?;
    let metadata = VhostMetadata {
        description: body.description.unwrap_or_default(),
        tags: body.tags.unwrap_or_default().0,
        default_queue_kind: queue_kind(body.default_queue_type.as_deref())?,
        protected_from_deletion: false,
    };
    let status = match api.broker.add_vhost(&name, metadata.clone()).await {
        Ok(()) => {
            enter(&api, &caller, &name).await?;
            StatusCode::CREATED
        }
        Err(VhostError::AlreadyExists(_)) => {
            let change = |known: &VhostMetadata| VhostMetadata {
                protected_from_deletion: known.protected_from_deletion,
                ..metadata
            };
            api.broker.change_vhost(&name, change).await?;
            StatusCode::NO_CONTENT
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(tracing) = tracing {
        known(&api, &name)?.set_traced(tracing);
    }
    Ok(status)
}

/// Gives the creator all permissions in a new virtual host, as RabbitMQ does.
async fn enter(api: &Api, creator: &Administrator, vhost: &str) -> Result<(), ApiError> {
    let everything = [".*", ".*", ".*"];
    let users = api.broker.users();
    let user = &creator.0.user.name;
    Ok(users.set_permissions(user, vhost, everything).await?)
}

fn queue_kind(name: Option<&str>) -> Result<Option<QueueKind>, ApiError> {
    let Some(name) = name.filter(|name| *name != UNDEFINED) else {
        return Ok(None);
    };
    let kind = QueueKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == name);
    let invalid = || ApiError::BadRequest(format!("{name} is not a valid queue type"));
    kind.map(Some).ok_or_else(invalid)
}

/// Deletes a virtual host with everything in it.
#[utoipa::path(
    delete, path = "/api/vhosts/{vhost}", tag = "vhosts", params(("vhost" = String, Path)),
    responses(
        (status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal),
        (status = 412, description = "It is protected.", body = Refusal)
    )
)]
async fn delete(
    State(api): State<Shared>,
    _: Administrator,
    Path(vhost): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.broker.delete_vhost(&vhost).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Protects a virtual host from deletion.
#[utoipa::path(
    post, path = "/api/vhosts/{vhost}/deletion/protection", tag = "vhosts", params(("vhost" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn protect(
    State(api): State<Shared>,
    _: Administrator,
    Path(vhost): Path<String>,
) -> Result<StatusCode, ApiError> {
    set_protection(&api, &vhost, true).await
}

/// Lifts the protection of a virtual host from deletion.
#[utoipa::path(
    delete, path = "/api/vhosts/{vhost}/deletion/protection", tag = "vhosts", params(("vhost" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn unprotect(
    State(api): State<Shared>,
    _: Administrator,
    Path(vhost): Path<String>,
) -> Result<StatusCode, ApiError> {
    set_protection(&api, &vhost, false).await
}

async fn set_protection(
    api: &Api,
    vhost: &str,
    protected_from_deletion: bool,
) -> Result<StatusCode, ApiError> {
    let change = |known: &VhostMetadata| VhostMetadata {
        protected_from_deletion,
        ..known.clone()
    };
    api.broker.change_vhost(vhost, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts a virtual host on a node. It runs already.
#[utoipa::path(
    post, path = "/api/vhosts/{vhost}/start/{node}", tag = "vhosts",
    params(("vhost" = String, Path), ("node" = String, Path)),
    responses((status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn start(
    State(api): State<Shared>,
    _: Administrator,
    Path((vhost, node)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    if node != node::name() {
        return Err(ApiError::BadRequest(format!("Unknown node: {node}")));
    }
    known(&api, &vhost)?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<VhostError> for ApiError {
    fn from(error: VhostError) -> ApiError {
        match error {
            VhostError::NotFound(_) => ApiError::NotFound,
            VhostError::Protected(name) => ApiError::PreconditionFailed(format!(
                "Refusing to delete virtual host '{name}' because it is protected from deletion"
            )),
            VhostError::AlreadyExists(_) | VhostError::NameTooLong => {
                ApiError::BadRequest(error.to_string())
            }
            VhostError::Store(failed) => failed.into(),
        }
    }
}
