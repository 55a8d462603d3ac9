//! The node and its memory.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;
use super::caller::Monitor;
use super::error::{ApiError, Refusal};
use super::exchange_types::{ExchangeType, exchange_types};
use super::json::{Answer, Json};
use super::listing::{self, ListQuery, Listing, Row};
use super::overview::{self, ContextJson};
use super::path::Path;
use super::ranges::{RangeQuery, Ranges};
use super::stats_json::Look;
use crate::model::COMPATIBLE_VERSION;
use crate::views::{Depth, MemoryView, Subject, Values};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(memory))
        .routes(routes!(memory_relative))
}

/// The process.
#[derive(Serialize, ToSchema)]
struct NodeJson {
    name: String,
    r#type: &'static str,
    running: bool,
    being_drained: bool,
    rabbitmq_version: &'static str,
    os_pid: String,
    /// Milliseconds since the start.
    uptime: u64,
    processors: usize,
    /// Always 0: there is no Erlang.
    run_queue: u64,
    rates_mode: &'static str,
    mem_used: u64,
    mem_used_details: Value,
    mem_limit: u64,
    mem_alarm: bool,
    mem_calculation_strategy: &'static str,
    disk_free: u64,
    disk_free_details: Value,
    disk_free_limit: u64,
    disk_free_alarm: bool,
    fd_used: u64,
    fd_used_details: Value,
    fd_total: u64,
    sockets_used: u64,
    sockets_used_details: Value,
    sockets_total: u64,
    /// Always 0: there are no Erlang processes.
    proc_used: u64,
    proc_used_details: Value,
    proc_total: u64,
    /// Always empty: there is one node.
    partitions: Vec<String>,
    cluster_links: Vec<Value>,
    db_dir: String,
    config_files: Vec<String>,
    log_files: Vec<String>,
    enabled_plugins: Vec<String>,
    applications: Vec<Value>,
    exchange_types: Vec<ExchangeType>,
    auth_mechanisms: Vec<Value>,
    contexts: Vec<ContextJson>,
    net_ticktime: u64,
    #[serde(flatten)]
    churn: Map<String, Value>,
}

struct NodeRow {
    api: Shared,
    ranges: Ranges,
}

impl Row for NodeRow {
    type Json = NodeJson;

    fn json(&self) -> NodeJson {
        let api = &self.api;
        let node = api.views.node();
        let look = Look::at(&api.views, &Subject::Node, Depth::History, self.ranges);
        let now = Values {
            churn: api.broker.stats().churn(),
            ..Values::default()
        };
        let mechanism = |name: &str| json!({"name": name, "description": format!("SASL {name}"), "enabled": true});
        let sockets = u64::try_from(node.connections).unwrap_or(u64::MAX);
        let descriptors = node.fd_limit.unwrap_or(u64::MAX);
        NodeJson {
            name: api.node.clone(),
            r#type: "disc",
            running: true,
            being_drained: node.is_under_maintenance,
            rabbitmq_version: COMPATIBLE_VERSION,
            os_pid: node.os_pid.to_string(),
            uptime: u64::try_from(node.uptime.as_millis()).unwrap_or(u64::MAX),
            processors: node.processors,
            run_queue: 0,
            rates_mode: "basic",
            mem_used: node.mem_used,
            mem_used_details: look.node(|values| values.mem_used),
            mem_limit: node.mem_limit,
            mem_alarm: node.alarms.memory,
            mem_calculation_strategy: "rss",
            disk_free: node.disk_free.unwrap_or(0),
            disk_free_details: look.node(|values| values.disk_free),
            disk_free_limit: node.disk_free_limit,
            disk_free_alarm: node.alarms.disk,
            fd_used: node.fd_used.unwrap_or(0),
            fd_used_details: look.node(|values| values.fd_used),
            fd_total: descriptors,
            sockets_used: sockets,
            sockets_used_details: look.node(|values| values.connections),
            sockets_total: descriptors,
            proc_used: 0,
            proc_used_details: json!({"rate": 0.0}),
            proc_total: 0,
            partitions: Vec::new(),
            cluster_links: Vec::new(),
            db_dir: node.data_dir.display().to_string(),
            config_files: Vec::new(),
            log_files: vec!["<stderr>".to_owned()],
            enabled_plugins: Vec::new(),
            applications: vec![json!({
                "name": "leveret", "description": "Leveret", "version": node.version,
            })],
            exchange_types: exchange_types(),
            auth_mechanisms: ["PLAIN", "AMQPLAIN", "ANONYMOUS"].map(mechanism).into(),
            contexts: overview::contexts(api, &node.listeners),
            net_ticktime: 60,
            churn: overview::churn(&look, &now),
        }
    }

    fn vhost(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        &self.api.node
    }
}

/// The nodes: this one.
#[utoipa::path(
    get, path = "/api/nodes", tag = "nodes", params(ListQuery, RangeQuery),
    responses((status = 200, body = Listing<NodeJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    _: Monitor,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    listing::list(&query, vec![NodeRow { api, ranges }]).await
}

/// One node.
#[utoipa::path(
    get, path = "/api/nodes/{name}", tag = "nodes",
    params(
        ("name" = String, Path), ("columns" = Option<String>, Query), ("memory" = Option<String>, Query), RangeQuery
    ),
    responses(
        (status = 200, body = NodeJson), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn get(
    State(api): State<Shared>,
    _: Monitor,
    Path(name): Path<String>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    check_name(&api, &name)?;
    listing::object(&query, &NodeRow { api, ranges }.json())
}

fn check_name(api: &Shared, name: &str) -> Result<(), ApiError> {
    match *name == *api.node {
        true => Ok(()),
        false => Err(ApiError::NotFound),
    }
}

/// What the memory of the process is used for, in bytes: messages, and all else. RabbitMQ's other kinds are 0.
#[derive(Serialize, ToSchema)]
struct MemoryReply {
    #[schema(value_type = Object)]
    memory: Map<String, Value>,
}

/// What the memory of the process is used for.
#[utoipa::path(
    get, path = "/api/nodes/{name}/memory", tag = "nodes", params(("name" = String, Path)),
    responses((status = 200, body = MemoryReply), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn memory(
    State(api): State<Shared>,
    _: Monitor,
    Path(name): Path<String>,
) -> Answer<MemoryReply> {
    check_name(&api, &name)?;
    let now = api.views.memory();
    let rss = now.resident;
    let mut memory = kinds(now, |bytes| bytes);
    memory.insert("strategy".to_owned(), "rss".into());
    let total = json!({"rss": rss, "allocated": rss, "erlang": 0});
    memory.insert("total".to_owned(), total);
    Ok(Json(MemoryReply { memory }))
}

/// What the memory of the process is used for, in percent.
#[utoipa::path(
    get, path = "/api/nodes/{name}/memory/relative", tag = "nodes", params(("name" = String, Path)),
    responses((status = 200, body = MemoryReply), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn memory_relative(
    State(api): State<Shared>,
    _: Monitor,
    Path(name): Path<String>,
) -> Answer<MemoryReply> {
    check_name(&api, &name)?;
    let now = api.views.memory();
    let resident = now.resident.max(1);
    let mut memory = kinds(now, |bytes| bytes.saturating_mul(100) / resident);
    memory.insert("total".to_owned(), 100.into());
    Ok(Json(MemoryReply { memory }))
}

/// Each kind of memory with what `number` makes of its bytes.
fn kinds(memory: MemoryView, number: impl Fn(u64) -> u64) -> Map<String, Value> {
    let kinds = memory.kinds.into_iter();
    kinds
        .map(|(kind, bytes)| (kind.to_owned(), number(bytes).into()))
        .collect()
}
