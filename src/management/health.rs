//! Health checks: `{"status": "ok"}`, or 503 with the reason.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::Caller;
use super::error::{ApiError, Refusal};
use super::json::Json;
use super::limits::ALIVENESS_TIMEOUT;
use super::path::Path;
use crate::http::Peer;
use crate::node;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(alarms))
        .routes(routes!(local_alarms))
        .routes(routes!(metadata_store_initialized))
        .routes(routes!(metadata_store_with_data))
        .routes(routes!(port_listener))
        .routes(routes!(protocol_listener))
        .routes(routes!(virtual_hosts))
        .routes(routes!(all_leaders_elected))
        .routes(routes!(matching_leaders_elected))
        .routes(routes!(vhost_leaders_elected))
        .routes(routes!(matching_vhost_leaders_elected))
        .routes(routes!(node_is_quorum_critical))
        .routes(routes!(is_leader))
        .routes(routes!(is_in_service))
        .routes(routes!(below_node_connection_limit))
        .routes(routes!(ready_to_serve_clients))
        .routes(routes!(reached_target_cluster_size))
        .routes(routes!(aliveness))
        .routes(routes!(node_health))
        .routes(routes!(named_node_health))
}

/// The result of a check. Which fields a failure has depends on the check.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Health {
    /// `ok` or `failed`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The node that leads the set.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
    /// Alarms that are on.
    #[serde(skip_serializing_if = "Option::is_none")]
    alarms: Option<Vec<AlarmJson>>,
    /// The port that was asked for, if something listens there.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Missing>,
    /// Ports on which something listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<u16>>,
    /// Protocols that something listens for.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocols: Option<Vec<&'static str>>,
    /// Maximum number of open connections of AMQP clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    /// Open connections of AMQP clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<usize>,
}

/// What nothing listens for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Missing {
    Port(u64),
    Protocols(Vec<String>),
}

/// An alarm that is on.
#[derive(Debug, Serialize, ToSchema)]
struct AlarmJson {
    /// `memory` or `disk`.
    resource: &'static str,
    node: String,
}

impl Health {
    fn ok() -> Health {
        Health {
            status: "ok",
            ..Health::default()
        }
    }

    fn failed(reason: &'static str) -> Health {
        Health {
            status: "failed",
            reason: Some(reason),
            ..Health::default()
        }
    }
}

impl IntoResponse for Health {
    fn into_response(self) -> Response {
        let status = match self.status {
            "ok" => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self)).into_response()
    }
}

/// No alarm is on, on any node.
#[utoipa::path(
    get, path = "/api/health/checks/alarms", tag = "health",
    responses((status = 200, body = Health), (status = 401, body = Refusal), (status = 503, body = Health))
)]
async fn alarms(State(api): State<Shared>, _: Caller) -> Health {
    alarms_because(&api, "There are alarms in effect in the cluster")
}

/// No alarm is on, on this node.
#[utoipa::path(
    get, path = "/api/health/checks/local-alarms", tag = "health",
    responses((status = 200, body = Health), (status = 401, body = Refusal), (status = 503, body = Health))
)]
async fn local_alarms(State(api): State<Shared>, _: Caller) -> Health {
    alarms_because(&api, "There are alarms in effect on the node")
}

fn alarms_because(api: &Api, reason: &'static str) -> Health {
    let raised = api.views.node().alarms;
    let all = [("disk", raised.disk), ("memory", raised.memory)];
    let on = all.into_iter().filter(|(_, is_on)| *is_on);
    let on: Vec<_> = on
        .map(|(resource, _)| AlarmJson {
            resource,
            node: node::name(),
        })
        .collect();
    match on.is_empty() {
        true => Health::ok(),
        false => Health {
            alarms: Some(on),
            ..Health::failed(reason)
        },
    }
}

/// The definitions can be read. They are before the API answers.
#[utoipa::path(
    get, path = "/api/health/checks/metadata-store/initialized", tag = "health",
    responses((status = 200, body = Health), (status = 401, body = Refusal))
)]
async fn metadata_store_initialized(_: Caller) -> Health {
    Health::ok()
}

/// The definitions can be read, and there are some.
#[utoipa::path(
    get, path = "/api/health/checks/metadata-store/initialized/with-data", tag = "health",
    responses((status = 200, body = Health), (status = 401, body = Refusal), (status = 503, body = Health))
)]
async fn metadata_store_with_data(State(api): State<Shared>, _: Caller) -> Health {
    let has_data = !api.broker.vhost_list().is_empty() && !api.broker.users().list().is_empty();
    match has_data {
        true => Health::ok(),
        false => Health::failed("Metadata store has no virtual hosts or users"),
    }
}

/// Something listens on a port.
#[utoipa::path(
    get, path = "/api/health/checks/port-listener/{port}", tag = "health", params(("port" = u64, Path)),
    responses(
        (status = 200, body = Health), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 503, body = Health)
    )
)]
async fn port_listener(
    State(api): State<Shared>,
    _: Caller,
    Path(port): Path<String>,
) -> Result<Health, ApiError> {
    let port: u64 = port
        .parse()
        .map_err(|_| ApiError::BadRequest("Invalid port".to_owned()))?;
    let listeners = api.views.node().listeners;
    let ports = listeners.iter().map(|listener| listener.address.port());
    let ports: BTreeSet<u16> = ports.collect();
    match ports.iter().any(|own| u64::from(*own) == port) {
        true => Ok(Health {
            port: Some(port),
            ..Health::ok()
        }),
        false => Ok(Health {
            missing: Some(Missing::Port(port)),
            ports: Some(ports.into_iter().collect()),
            ..Health::failed("No active listener")
        }),
    }
}

/// Something listens for each of the protocols, which are separated by commas.
#[utoipa::path(
    get, path = "/api/health/checks/protocol-listener/{protocols}", tag = "health",
    params(("protocols" = String, Path)),
    responses((status = 200, body = Health), (status = 401, body = Refusal), (status = 503, body = Health))
)]
async fn protocol_listener(
    State(api): State<Shared>,
    _: Caller,
    Path(protocols): Path<String>,
) -> Health {
    let listeners = api.views.node().listeners;
    let active = listeners.iter().map(|listener| listener.protocol_name());
    let active: BTreeSet<&str> = active.collect();
    let wanted = protocols.split(',').map(protocol_name);
    let missing: Vec<String> = wanted
        .filter(|wanted| !active.contains(wanted.as_str()))
        .collect();
    let protocols = Some(active.into_iter().collect());
    match missing.is_empty() {
        true => Health {
            protocols,
            ..Health::ok()
        },
        false => Health {
            missing: Some(Missing::Protocols(missing)),
            protocols,
            ..Health::failed("No active listener")
        },
    }
}

/// The name of a protocol for one of the names that RabbitMQ takes.
fn protocol_name(alias: &str) -> String {
    let alias = alias.trim().to_lowercase();
    let name = match alias.as_str() {
        "amqp091" | "amqp0.9.1" | "amqp-0-9-1" | "amqp0-9-1" => "amqp",
        "amqps" | "amqp/tls" => "amqp/ssl",
        "prometheus" => "http/prometheus",
        other => other,
    };
    name.to_owned()
}

/// All virtual hosts run.
#[utoipa::path(
    get, path = "/api/health/checks/virtual-hosts", tag = "health",
    responses((status = 200, body = Health), (status = 401, body = Refusal))
)]
async fn virtual_hosts(_: Caller) -> Health {
    Health::ok()
}

/// Each quorum queue has a leader: this node.
#[utoipa::path(
    get, path = "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts", tag = "health",
    responses((status = 200, body = Health), (status = 401, body = Refusal))
)]
async fn all_leaders_elected(_: Caller) -> Health {
    Health::ok()
}

/// Each quorum queue whose name matches has a leader.
#[utoipa::path(
    get, path = "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
    tag = "health", params(("pattern" = String, Path)),
    responses((status = 200, body = Health), (status = 401, body = Refusal))
)]
async fn matching_leaders_elected(_: Caller, _: Path<String>) -> Health {
    Health::ok()
}

/// Each quorum queue of a virtual host has a leader.
#[utoipa::path(
    get, path = "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}", tag = "health",
    params(("vhost" = String, Path)),
    responses((status = 200, body = Health), (status = 401, body = Refusal))
)]
async fn vhost_leaders_elected(_: Caller, _: Path<String>) -> Health {
    Health::ok()
}

/// Each quorum queue of a virtual host whose name matches has a leader.
#[utoipa::path(
    get, path = "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
    tag = "health", params(("vhost" = String, Path), ("pattern" = String, Path)),
    responses((status = 200, body = Health), (status = 401, body = Refusal))
)]
async fn matching_vhost_leaders_elected(_: Caller, _: Path<(String, String)>) -> Health {
    Health::ok()
}

/// The set keeps its majority if this node stops. A node by itself is not asked that.
#[utoipa::path(
    get, path = "/api/health/checks/node-is-quorum-critical", tag = "health",
    responses((status = 200, body = Health), (status = 401, body = Refusal), (status = 503, body = Health))
)]
async fn node_is_quorum_critical(State(api): State<Shared>, _: Caller) -> Health {
    match api.views.set() {
        Some(set) if set.members.len() > 1 => match set.is_critical {
            true => Health::failed("the set loses its majority without this node"),
            false => Health::ok(),
        },
        Some(_) | None => Health {
            reason: Some("single node cluster"),
            ..Health::ok()
        },
    }
}

/// This node leads its set: clients that connect to it are not passed on to another node. Needs no login.
#[utoipa::path(
    get, path = "/api/health/checks/is-leader", tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health))
)]
async fn is_leader(State(api): State<Shared>, Extension(peer): Extension<Arc<Peer>>) -> Health {
    let Some(set) = api.views.set() else {
        return Health::ok();
    };
    let health = match set.leads() && !peer.is_passed() {
        true => Health::ok(),
        false => Health::failed("another node leads the set"),
    };
    Health {
        leader: set.leader,
        ..health
    }
}

/// The node serves clients. Needs no login, as in RabbitMQ.
#[utoipa::path(
    get, path = "/api/health/checks/is-in-service", tag = "health", security(()),
    responses((status = 200, body = Health))
)]
async fn is_in_service() -> Health {
    Health::ok()
}

/// Fewer connections of AMQP clients are open than may be. Needs no login, as in RabbitMQ.
#[utoipa::path(
    get, path = "/api/health/checks/below-node-connection-limit", tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health))
)]
async fn below_node_connection_limit(State(api): State<Shared>) -> Health {
    connection_limit(&api)
}

/// The node serves clients and takes further connections. Needs no login, as in RabbitMQ.
#[utoipa::path(
    get, path = "/api/health/checks/ready-to-serve-clients", tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health))
)]
async fn ready_to_serve_clients(State(api): State<Shared>) -> Health {
    connection_limit(&api)
}

fn connection_limit(api: &Api) -> Health {
    let connections = api.broker.connections().len();
    let limit = api.views.amqp_limits().connections_max;
    match connections < limit {
        true => Health::ok(),
        false => Health {
            limit: Some(limit),
            connections: Some(connections),
            ..Health::failed("node connection limit is reached")
        },
    }
}

/// The cluster has as many nodes as it should: one. Needs no login, as in RabbitMQ.
#[utoipa::path(
    get, path = "/api/health/checks/reached-target-cluster-size", tag = "health", security(()),
    responses((status = 200, body = Health))
)]
async fn reached_target_cluster_size() -> Health {
    Health::ok()
}

/// The virtual host is there, and the store makes things durable: waits for a commit.
#[utoipa::path(
    get, path = "/api/aliveness-test/{vhost}", tag = "health", params(("vhost" = String, Path)),
    responses(
        (status = 200, body = Health), (status = 401, body = Refusal), (status = 404, body = Refusal),
        (status = 503, body = Health)
    )
)]
async fn aliveness(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
) -> Result<Health, ApiError> {
    caller.vhost(&api, &vhost)?;
    let committer = api.broker.committer();
    let committed = committer.wait(committer.append(Vec::new()));
    match timeout(ALIVENESS_TIMEOUT, committed).await {
        Ok(Ok(())) => Ok(Health::ok()),
        Ok(Err(_)) => Ok(Health::failed("the store is closed")),
        Err(_) => Ok(Health::failed("the store does not make changes durable")),
    }
}

/// The node runs and no alarm is on: an old check that some exporters use.
#[utoipa::path(
    get, path = "/api/healthchecks/node", tag = "health",
    responses((status = 200, body = Health), (status = 401, body = Refusal), (status = 503, body = Health))
)]
async fn node_health(State(api): State<Shared>, _: Caller) -> Health {
    alarms_because(&api, "There are alarms in effect on the node")
}

/// A node runs and no alarm is on.
#[utoipa::path(
    get, path = "/api/healthchecks/node/{node}", tag = "health", params(("node" = String, Path)),
    responses(
        (status = 200, body = Health), (status = 401, body = Refusal), (status = 404, body = Refusal),
        (status = 503, body = Health)
    )
)]
async fn named_node_health(
    State(api): State<Shared>,
    _: Caller,
    Path(name): Path<String>,
) -> Result<Health, ApiError> {
    match name == node::name() {
        true => Ok(alarms_because(
            &api,
            "There are alarms in effect on the node",
        )),
        false => Err(ApiError::NotFound),
    }
}
