//! Topics, subscriptions and queues of CMQ's API.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cmq::{ServedQueueView, SubscriptionView, TopicView};
use crate::management::api::{Api, Shared};
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::listing::{self, ListQuery, Row};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(topics))
        .routes(routes!(subscriptions))
        .routes(routes!(queues))
}

/// A topic. Times are seconds since 1970.
#[derive(Serialize, ToSchema)]
pub(in crate::management) struct TopicJson {
    name: String,
    vhost: String,
    id: u64,
    /// 1: by tags; 2: by binding keys.
    filter_type: u64,
    max_message_size: u64,
    /// The user that created it.
    owner: String,
    created: u64,
    modified: u64,
    /// How many it has.
    subscriptions: usize,
}

impl Row for TopicView {
    type Json = TopicJson;

    fn json(&self) -> TopicJson {
        TopicJson {
            name: self.name.to_string(),
            vhost: self.vhost.to_string(),
            id: self.id,
            filter_type: self.filter_type,
            max_message_size: self.message_bytes,
            owner: self.owner.to_string(),
            created: self.created_secs,
            modified: self.modified_secs,
            subscriptions: self.subscriptions,
        }
    }

    fn vhost(&self) -> &str {
        &self.vhost
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// A subscription. Times are seconds since 1970.
#[derive(Serialize, ToSchema)]
pub(in crate::management) struct SubscriptionJson {
    name: String,
    topic: String,
    vhost: String,
    id: u64,
    /// `queue` or `http`.
    protocol: &'static str,
    /// The name of a queue or a URL.
    endpoint: String,
    notify_strategy: &'static str,
    content_format: &'static str,
    binding_keys: Vec<String>,
    filter_tags: Vec<String>,
    /// Messages that wait until the endpoint takes them.
    messages: u64,
    created: u64,
    modified: u64,
}

impl Row for SubscriptionView {
    type Json = SubscriptionJson;

    fn json(&self) -> SubscriptionJson {
        SubscriptionJson {
            name: self.name.to_string(),
            topic: self.topic.to_string(),
            vhost: self.vhost.to_string(),
            id: self.id,
            protocol: self.protocol,
            endpoint: self.endpoint.clone(),
            notify_strategy: self.notify_strategy,
            content_format: self.notify_content_format,
            binding_keys: self.binding_keys.clone(),
            filter_tags: self.filter_tags.clone(),
            messages: self.waiting,
            created: self.created_secs,
            modified: self.modified_secs,
        }
    }

    fn vhost(&self) -> &str {
        &self.vhost
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// A queue that CMQ's API serves, with its attributes. Times are seconds since 1970.
#[derive(Serialize, ToSchema)]
pub(in crate::management) struct ServedQueueJson {
    name: String,
    vhost: String,
    /// Maximum number of ready messages.
    max_messages: u64,
    polling_wait_seconds: u64,
    visibility_timeout: u64,
    max_message_size: u64,
    retention_seconds: u64,
    rewind_seconds: u64,
    dead_letter_queue: Option<String>,
    /// 0 if it is unknown.
    created: u64,
    modified: u64,
    /// Messages that can be received.
    active: u64,
    /// Messages that are received and not deleted.
    inactive: u64,
    delayed: u64,
    rewindable: u64,
}

impl Row for ServedQueueView {
    type Json = ServedQueueJson;

    fn json(&self) -> ServedQueueJson {
        ServedQueueJson {
            name: self.name.to_string(),
            vhost: self.vhost.to_string(),
            max_messages: self.heap,
            polling_wait_seconds: self.polling_wait_secs,
            visibility_timeout: self.visibility_timeout_secs,
            max_message_size: self.message_bytes,
            retention_seconds: self.retention_secs,
            rewind_seconds: self.rewind_secs,
            dead_letter_queue: self.dead_letter_queue.clone(),
            created: self.created_secs,
            modified: self.modified_secs,
            active: self.counts.ready,
            inactive: self.counts.unacked,
            delayed: self.counts.delayed,
            rewindable: self.counts.rewindable,
        }
    }

    fn vhost(&self) -> &str {
        &self.vhost
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Those rows that lie in virtual hosts that the caller may see.
fn visible<R: Row>(api: &Api, caller: &Caller, mut rows: Vec<R>) -> Result<Vec<R>, ApiError> {
    let vhosts = caller.visible_vhosts(api, None)?;
    rows.retain(|row| vhosts.iter().any(|vhost| **vhost.name() == *row.vhost()));
    Ok(rows)
}

/// The topics of CMQ's API.
#[utoipa::path(
    get, path = "/api/leveret/cmq/topics", tag = "leveret", params(ListQuery),
    responses(
        (status = 200, body = Vec<TopicJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn topics(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listing::list(&query, visible(&api, &caller, api.cmq.topics())?).await
}

/// The subscriptions of CMQ's API.
#[utoipa::path(
    get, path = "/api/leveret/cmq/subscriptions", tag = "leveret", params(ListQuery),
    responses(
        (status = 200, body = Vec<SubscriptionJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn subscriptions(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listing::list(&query, visible(&api, &caller, api.cmq.subscriptions())?).await
}

/// The queues that CMQ's API serves, with their attributes.
#[utoipa::path(
    get, path = "/api/leveret/cmq/queues", tag = "leveret", params(ListQuery),
    responses(
        (status = 200, body = Vec<ServedQueueJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn queues(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, None)?;
    let rows = vhosts.iter().flat_map(|vhost| api.cmq.queues(vhost.name()));
    listing::list(&query, rows.collect()).await
}
