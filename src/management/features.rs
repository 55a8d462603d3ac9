//! Feature flags and deprecated features of RabbitMQ: which of them this broker has.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::{Administrator, Caller};
use super::error::{ApiError, Refusal};
use super::listing::{self, ListQuery, Row};
use super::path::Path;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(flags))
        .routes(routes!(enable))
        .routes(routes!(deprecated))
        .routes(routes!(deprecated_used))
}

/// RabbitMQ's flags for what this broker does, with what that is.
const FLAGS: &[(&str, &str)] = &[
    (
        "detailed_queues_endpoint",
        "The path of the API for queues in detail",
    ),
    (
        "drop_unroutable_metric",
        "Counts messages that no queue takes",
    ),
    ("empty_basic_get_metric", "Counts fetches from empty queues"),
    (
        "implicit_default_bindings",
        "Bindings of the default exchange follow from the queues",
    ),
    ("quorum_queue", "Queues of type quorum"),
    ("stream_filtering", "Consumers that filter streams"),
    ("stream_queue", "Queues of type stream"),
    (
        "user_limits",
        "Limits of the connections and channels of a user",
    ),
    (
        "virtual_host_metadata",
        "Descriptions, tags and default types of virtual hosts",
    ),
];

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
    let rows = FLAGS.iter().map(|(name, desc)| Flag(name, desc));
    listing::list(&query, rows.collect()).await
}

/// Enables a feature flag. All that there are, are enabled already.
#[utoipa::path(
    put, path = "/api/feature-flags/{name}/enable", tag = "features", params(("name" = String, Path)),
    responses((status = 204), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn enable(_: Administrator, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    match FLAGS.iter().any(|(known, _)| *known == name) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::BadRequest("unsupported".to_owned())),
    }
}

/// What RabbitMQ means to remove, or has removed.
#[derive(Clone, Copy)]
enum Deprecated {
    GlobalQos,
    TransientQueues,
    Mirroring,
    RamNodes,
}

impl Deprecated {
    const ALL: [Deprecated; 4] = [
        Deprecated::GlobalQos,
        Deprecated::TransientQueues,
        Deprecated::Mirroring,
        Deprecated::RamNodes,
    ];

    /// RabbitMQ's name.
    fn feature(self) -> &'static str {
        match self {
            Deprecated::GlobalQos => "global_qos",
            Deprecated::TransientQueues => "transient_nonexcl_queues",
            Deprecated::Mirroring => "classic_queue_mirroring",
            Deprecated::RamNodes => "ram_node_type",
        }
    }

    /// Whether something uses it now.
    fn is_used(self, api: &Api) -> bool {
        match self {
            Deprecated::TransientQueues => {
                let vhosts = api.broker.vhost_list();
                vhosts.iter().any(|vhost| {
                    let queues = vhost.queues();
                    queues.iter().any(|queue| {
                        let spec = queue.spec();
                        !spec.durable && spec.exclusive_owner.is_none()
                    })
                })
            }
            // Whether a channel uses a prefetch for all its consumers, RabbitMQ does not tell either.
            Deprecated::GlobalQos | Deprecated::Mirroring | Deprecated::RamNodes => false,
        }
    }
}

/// A feature that RabbitMQ deprecates.
#[derive(Serialize, ToSchema)]
struct DeprecatedJson {
    name: &'static str,
    /// `permitted` if this broker has it, or else `denied`.
    state: &'static str,
    desc: &'static str,
    deprecation_phase: &'static str,
    doc_url: &'static str,
    provided_by: &'static str,
}

impl Row for Deprecated {
    type Json = DeprecatedJson;

    fn json(&self) -> DeprecatedJson {
        let (state, deprecation_phase) = match self {
            Deprecated::GlobalQos | Deprecated::TransientQueues => {
                ("permitted", "permitted_by_default")
            }
            Deprecated::Mirroring | Deprecated::RamNodes => ("denied", "removed"),
        };
        DeprecatedJson {
            name: self.feature(),
            state,
            desc: "",
            deprecation_phase,
            doc_url: "",
            provided_by: "leveret",
        }
    }

    fn vhost(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        self.feature()
    }
}

/// Features that RabbitMQ deprecates, and whether this broker has them.
#[utoipa::path(
    get, path = "/api/deprecated-features", tag = "features", params(ListQuery),
    responses((status = 200, body = Vec<DeprecatedJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn deprecated(_: Caller, query: ListQuery) -> Result<Response, ApiError> {
    listing::list(&query, Deprecated::ALL.to_vec()).await
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
    let used = Deprecated::ALL
        .into_iter()
        .filter(|feature| feature.is_used(&api));
    listing::list(&query, used.collect()).await
}
