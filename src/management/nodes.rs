//! The nodes, and the memory of the one that answers.

use std::sync::Arc;

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
use crate::views::{Depth, MemberView, MemoryView, NodeView, Subject, Values};

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
    /// Always empty: a set serves where a majority of its nodes is.
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

/// A member of the set that does not run.
#[derive(Serialize, ToSchema)]
// A node that runs has these fields too, and must not count as both in the API's description.
#[serde(deny_unknown_fields)]
struct DownJson {
    name: String,
    r#type: &'static str,
    running: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum NodeEntry {
    Running(Box<NodeJson>),
    Down(DownJson),
}

/// Which node a row shows.
enum Which {
    /// The one that answers, with its rates.
    This,
    /// Another member of the set, by what it has said of itself.
    Other(Box<NodeView>),
    Down(String),
}

struct NodeRow {
    api: Shared,
    ranges: Ranges,
    which: Which,
}

/// The nodes in the order of their names.
fn rows(api: &Shared, ranges: Ranges) -> Vec<NodeRow> {
    let row = |which| NodeRow {
        api: Arc::clone(api),
        ranges,
        which,
    };
    let members = api.views.set().map(|set| set.members).unwrap_or_default();
    if members.is_empty() {
        return vec![row(Which::This)];
    }
    let which = |member: MemberView| match member.node {
        _ if member.is_this => Which::This,
        Some(node) if member.is_running => Which::Other(Box::new(node)),
        Some(_) | None => Which::Down(member.name),
    };
    members.into_iter().map(which).map(row).collect()
}

impl Row for NodeRow {
    type Json = NodeEntry;

    fn json(&self) -> NodeEntry {
        let api = &self.api;
        match &self.which {
            Which::This => {
                let look = Look::at(&api.views, &Subject::Node, Depth::History, self.ranges);
                let now = Values {
                    churn: api.broker.stats().churn(),
                    ..Values::default()
                };
                let node = api.views.node();
                let mut json = NodeJson::of(&node);
                json.mem_used_details = look.node(|values| values.mem_used);
                json.disk_free_details = look.node(|values| values.disk_free);
                json.fd_used_details = look.node(|values| values.fd_used);
                json.sockets_used_details = look.node(|values| values.connections);
                json.churn = overview::churn(&look, &now);
                NodeEntry::Running(Box::new(json))
            }
            Which::Other(node) => NodeEntry::Running(Box::new(NodeJson::of(node))),
            Which::Down(name) => NodeEntry::Down(DownJson {
                name: name.clone(),
                r#type: "disc",
                running: false,
            }),
        }
    }

    fn vhost(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        match &self.which {
            Which::This => &self.api.node,
            Which::Other(node) => &node.name,
            Which::Down(name) => name,
        }
    }
}

impl NodeJson {
    /// What a node says of itself, without rates.
    fn of(node: &NodeView) -> NodeJson {
        let mechanism = |name: &str| json!({"name": name, "description": format!("SASL {name}"), "enabled": true});
        let no_rate = || json!({"rate": 0.0});
        let sockets = u64::try_from(node.connections).unwrap_or(u64::MAX);
        let descriptors = node.fd_limit.unwrap_or(u64::MAX);
        NodeJson {
            name: node.name.clone(),
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
            mem_used_details: no_rate(),
            mem_limit: node.mem_limit,
            mem_alarm: node.alarms.memory,
            mem_calculation_strategy: "rss",
            disk_free: node.disk_free.unwrap_or(0),
            disk_free_details: no_rate(),
            disk_free_limit: node.disk_free_limit,
            disk_free_alarm: node.alarms.disk,
            fd_used: node.fd_used.unwrap_or(0),
            fd_used_details: no_rate(),
            fd_total: descriptors,
            sockets_used: sockets,
            sockets_used_details: no_rate(),
            sockets_total: descriptors,
            proc_used: 0,
            proc_used_details: no_rate(),
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
            contexts: overview::contexts(&node.name, &node.listeners),
            net_ticktime: 60,
            churn: Map::new(),
        }
    }
}

/// The nodes.
#[utoipa::path(
    get, path = "/api/nodes", tag = "nodes", params(ListQuery, RangeQuery),
    responses((status = 200, body = Listing<NodeEntry>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    _: Monitor,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    listing::list(&query, rows(&api, ranges)).await
}

/// One node.
#[utoipa::path(
    get, path = "/api/nodes/{name}", tag = "nodes",
    params(
        ("name" = String, Path), ("columns" = Option<String>, Query), ("memory" = Option<String>, Query), RangeQuery
    ),
    responses(
        (status = 200, body = NodeEntry), (status = 400, body = Refusal), (status = 401, body = Refusal),
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
    let mut rows = rows(&api, ranges).into_iter();
    let row = rows
        .find(|row| *row.name() == *name)
        .ok_or(ApiError::NotFound)?;
    listing::object(&query, &row.json())
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
