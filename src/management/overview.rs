//! The broker as a whole: overview, name, version, extensions.

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::{Administrator, Caller};
use super::error::{ApiError, Refusal};
use super::exchange_types::{ExchangeType, exchange_types};
use super::json::{Answer, Json, required};
use super::listing::{self, ListQuery};
use super::ranges::{RangeQuery, Ranges};
use super::stats_json::{self, Look};
use crate::broker::parameters::CLUSTER_NAME;
use crate::model::COMPATIBLE_VERSION;
use crate::views::{Depth, ListenerView, Protocol, Security, Subject, Values};

/// Names of numbers, and how to read them.
type Number = (&'static str, fn(&Values) -> u64);

const CHURN: &[Number] = &[
    ("connection_created", |values| {
        values.churn.connection_created
    }),
    ("connection_closed", |values| values.churn.connection_closed),
    ("channel_created", |values| values.churn.channel_created),
    ("channel_closed", |values| values.churn.channel_closed),
    ("queue_declared", |values| values.churn.queue_declared),
    ("queue_created", |values| values.churn.queue_created),
    ("queue_deleted", |values| values.churn.queue_deleted),
];

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(get))
        .routes(routes!(cluster_name, set_cluster_name))
        .routes(routes!(version))
        .routes(routes!(extensions))
}

/// The broker as a whole.
#[derive(Serialize, ToSchema)]
struct Overview {
    product_name: &'static str,
    product_version: &'static str,
    /// The RabbitMQ release that clients may take this broker for.
    rabbitmq_version: &'static str,
    management_version: &'static str,
    /// Empty: there is no Erlang.
    erlang_version: &'static str,
    erlang_full_version: &'static str,
    rates_mode: &'static str,
    #[schema(value_type = Object)]
    sample_retention_policies: Value,
    exchange_types: Vec<ExchangeType>,
    cluster_name: String,
    #[schema(value_type = Object)]
    cluster_tags: Value,
    #[schema(value_type = Object)]
    node_tags: Value,
    default_queue_type: &'static str,
    is_op_policy_updating_enabled: bool,
    disable_stats: bool,
    enable_queue_totals: bool,
    message_stats: Map<String, Value>,
    churn_rates: Map<String, Value>,
    queue_totals: QueueTotalsJson,
    object_totals: ObjectTotalsJson,
    /// Always 0: statistics have no queue.
    statistics_db_event_queue: u64,
    /// For monitors.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listeners: Option<Vec<ListenerJson>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contexts: Option<Vec<ContextJson>>,
}

#[derive(Serialize, ToSchema)]
struct QueueTotalsJson {
    messages: u64,
    messages_details: Value,
    messages_ready: u64,
    messages_ready_details: Value,
    messages_unacknowledged: u64,
    messages_unacknowledged_details: Value,
}

#[derive(Serialize, ToSchema)]
struct ObjectTotalsJson {
    connections: usize,
    channels: usize,
    exchanges: usize,
    queues: usize,
    consumers: u64,
}

/// An address that clients can connect to.
#[derive(Serialize, ToSchema)]
struct ListenerJson {
    node: String,
    protocol: &'static str,
    ip_address: String,
    port: u16,
    tls: bool,
    #[schema(value_type = Object)]
    socket_opts: Value,
}

/// An HTTP listener.
#[derive(Serialize, ToSchema)]
pub(super) struct ContextJson {
    node: String,
    description: &'static str,
    path: &'static str,
    ip: String,
    port: String,
    ssl_opts: Vec<Value>,
}

impl ListenerJson {
    fn of(api: &Api, listener: &ListenerView) -> ListenerJson {
        ListenerJson {
            node: api.node.clone(),
            protocol: listener.protocol_name(),
            ip_address: listener.address.ip().to_string(),
            port: listener.address.port(),
            tls: listener.security == Security::Tls,
            socket_opts: json!({}),
        }
    }
}

/// The listeners of the management API.
pub(super) fn contexts(node: &str, listeners: &[ListenerView]) -> Vec<ContextJson> {
    let is_management = |listener: &&ListenerView| listener.protocol == Protocol::Management;
    let context = |address: SocketAddr| ContextJson {
        node: node.to_owned(),
        description: "Management",
        path: "/",
        ip: address.ip().to_string(),
        port: address.port().to_string(),
        ssl_opts: Vec::new(),
    };
    let listeners = listeners.iter().filter(is_management);
    listeners
        .map(|listener| context(listener.address))
        .collect()
}

/// Numbers that come and go, with their rates.
pub(super) fn churn(look: &Look, now: &Values) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, read) in CHURN {
        object.insert((*name).to_owned(), read(now).into());
        object.insert(format!("{name}_details"), look.counted(read));
    }
    object
}

/// The broker as a whole. A user who is no monitor gets the numbers of its virtual hosts.
#[utoipa::path(
    get, path = "/api/overview", tag = "overview",
    params(("columns" = Option<String>, Query), ("disable_stats" = Option<String>, Query), RangeQuery),
    responses((status = 200, body = Overview), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn get(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, None)?;
    let overview = api
        .views
        .overview(|name| vhosts.iter().any(|vhost| **vhost.name() == *name));
    let node = api.views.node();
    let look = Look::at(&api.views, &Subject::Node, Depth::History, ranges);
    let now = Values {
        churn: api.broker.stats().churn(),
        ..Values::default()
    };
    let (totals, objects) = (&overview.queue_totals, &overview.objects);
    let is_monitor = caller.is_monitor();
    let listeners = node.listeners.iter();
    let json = Overview {
        product_name: "Leveret",
        product_version: env!("CARGO_PKG_VERSION"),
        rabbitmq_version: COMPATIBLE_VERSION,
        management_version: COMPATIBLE_VERSION,
        erlang_version: "",
        erlang_full_version: "",
        rates_mode: "basic",
        sample_retention_policies: json!({"global": [600, 86400], "basic": [600, 86400], "detailed": [600]}),
        exchange_types: exchange_types(),
        cluster_name: api.broker.cluster_name(),
        cluster_tags: json!({}),
        node_tags: json!({}),
        default_queue_type: api.broker.default_queue_kind().as_str(),
        is_op_policy_updating_enabled: true,
        disable_stats: !query.shows_stats(),
        enable_queue_totals: false,
        message_stats: look.all_message_stats(stats_json::TOTALS, &overview.message_stats),
        churn_rates: churn(&look, &now),
        queue_totals: QueueTotalsJson {
            messages: totals.messages(),
            messages_details: look.length(|values| values.ready + values.unacked),
            messages_ready: totals.ready,
            messages_ready_details: look.length(|values| values.ready),
            messages_unacknowledged: totals.unacked,
            messages_unacknowledged_details: look.length(|values| values.unacked),
        },
        object_totals: ObjectTotalsJson {
            connections: objects.connections,
            channels: objects.channels,
            exchanges: objects.exchanges,
            queues: objects.queues,
            consumers: objects.consumers,
        },
        statistics_db_event_queue: 0,
        node: is_monitor.then(|| api.node.clone()),
        listeners: is_monitor.then(|| listeners.map(|of| ListenerJson::of(&api, of)).collect()),
        contexts: is_monitor.then(|| contexts(&api.node, &node.listeners)),
    };
    listing::object(&query, &json)
}

/// The name of the whole broker.
#[derive(Serialize, ToSchema)]
struct ClusterName {
    name: String,
}

#[derive(Debug, Deserialize, ToSchema)]
struct NewClusterName {
    name: Option<String>,
}

/// The name of the whole broker.
#[utoipa::path(
    get, path = "/api/cluster-name", tag = "overview",
    responses((status = 200, body = ClusterName), (status = 401, body = Refusal))
)]
async fn cluster_name(State(api): State<Shared>, _: Caller) -> Answer<ClusterName> {
    let name = api.broker.cluster_name();
    Ok(Json(ClusterName { name }))
}

/// Renames the whole broker.
#[utoipa::path(
    put, path = "/api/cluster-name", tag = "overview", request_body = NewClusterName,
    responses((status = 204, description = "Renamed."), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn set_cluster_name(
    State(api): State<Shared>,
    _: Administrator,
    Json(body): Json<NewClusterName>,
) -> Result<StatusCode, ApiError> {
    let name = required(body.name, "name")?;
    let set = api
        .broker
        .global_parameters()
        .set(CLUSTER_NAME, name.into());
    set.await
        .map_err(|error| ApiError::BadRequest(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The RabbitMQ release that clients may take this broker for.
#[utoipa::path(
    get, path = "/api/version", tag = "overview",
    responses((status = 200, body = String, content_type = "application/json"), (status = 401, body = Refusal))
)]
async fn version(_: Caller) -> Answer<&'static str> {
    Ok(Json(COMPATIBLE_VERSION))
}

/// Extensions of RabbitMQ's management page: none.
#[utoipa::path(
    get, path = "/api/extensions", tag = "overview",
    responses((status = 200, body = Vec<Object>), (status = 401, body = Refusal))
)]
async fn extensions(_: Caller) -> Answer<Vec<Value>> {
    Ok(Json(Vec::new()))
}
