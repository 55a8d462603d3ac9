//! A queue beyond what RabbitMQ tells: the sources of its settings, its leases, delayed, rewindable and lost messages.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::management::api::Shared;
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::listing::{self, ListQuery};
use crate::management::path::Path;
use crate::model::effective::{Setting, SettingSource};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(get))
}

/// A queue in detail.
#[derive(Serialize, ToSchema)]
pub(super) struct QueueDetailJson {
    name: String,
    vhost: String,
    r#type: &'static str,
    /// Every value that holds for the queue, with its source.
    effective_arguments: Vec<SettingJson>,
    messages_ready: u64,
    /// Messages that consumers have and have not acked.
    leases: u64,
    /// Messages that wait for their time.
    delayed: u64,
    /// Acked messages that a rewind can bring back.
    rewindable: u64,
    /// Bytes of their bodies.
    rewindable_bytes: u64,
    /// Messages that are on disk and cannot be read.
    lost: u64,
    /// When the oldest message that is ready or leased was enqueued, in milliseconds since 1970.
    oldest_message_timestamp: Option<u64>,
}

/// A setting of a queue.
#[derive(Serialize, ToSchema)]
struct SettingJson {
    /// As policies spell it.
    name: &'static str,
    value: Value,
    /// `argument`, `policy`, `operator policy` or `override`.
    source: &'static str,
    /// The name of the policy or operator policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

impl SettingJson {
    fn of(setting: Setting) -> SettingJson {
        let (source, policy) = match setting.source {
            SettingSource::Argument => ("argument", None),
            SettingSource::Policy(name) => ("policy", Some(name.to_string())),
            SettingSource::OperatorPolicy(name) => ("operator policy", Some(name.to_string())),
            SettingSource::Override => ("override", None),
        };
        SettingJson {
            name: setting.key,
            value: setting.value,
            source,
            policy,
        }
    }
}

/// A queue or stream in detail.
#[utoipa::path(
    get, path = "/api/leveret/queues/{vhost}/{queue}", tag = "leveret",
    params(("vhost" = String, Path), ("queue" = String, Path), ("columns" = Option<String>, Query)),
    responses((status = 200, body = QueueDetailJson), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    let queue = vhost.queue(&name).ok_or(ApiError::NotFound)?;
    let view = api.views.queue(vhost.name(), &name);
    let view = view.ok_or(ApiError::NotFound)?;
    let oldest = queue.oldest().await.map_err(|error| {
        ApiError::Unavailable(format!("the oldest message cannot be read: {error}"))
    })?;
    let settings = view.settings().into_iter();
    let detail = QueueDetailJson {
        name,
        vhost: view.vhost.to_string(),
        r#type: view.spec.arguments.kind.as_str(),
        effective_arguments: settings.map(SettingJson::of).collect(),
        messages_ready: view.counts.ready,
        leases: view.counts.unacked,
        delayed: view.counts.delayed,
        rewindable: view.counts.rewindable,
        rewindable_bytes: view.counts.rewindable_bytes,
        lost: view.counts.damaged,
        oldest_message_timestamp: oldest.map(|oldest| api.broker.clock().wall_ms_at(oldest)),
    };
    listing::object(&query, &detail)
}
