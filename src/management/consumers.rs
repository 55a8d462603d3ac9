//! Consumers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::Caller;
use super::error::{ApiError, Refusal};
use super::listing::{self, ListQuery, Listing, Row};
use super::path::Path;
use crate::broker::vhost::Vhost;
use crate::model::arguments::consumer_timeout_ms;
use crate::views::{Activity, ConsumerView};
use crate::wire::table_to_json;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
}

/// A consumer.
#[derive(Serialize, ToSchema)]
pub(super) struct ConsumerJson {
    queue: QueueName,
    consumer_tag: String,
    /// Whether it gets deliveries: false while it waits behind a single active consumer.
    active: bool,
    activity_status: &'static str,
    ack_required: bool,
    exclusive: bool,
    /// 0 is no limit.
    prefetch_count: u16,
    /// Milliseconds that it may take to acknowledge a delivery; 0 is no limit.
    consumer_timeout: u64,
    arguments: Map<String, Value>,
    #[schema(inline)]
    channel_details: ChannelDetails,
}

/// The queue of a consumer.
#[derive(Serialize, ToSchema)]
struct QueueName {
    name: String,
    vhost: String,
}

/// The channel of a consumer; empty if its connection has just ended.
#[derive(Default, Serialize, ToSchema)]
struct ChannelDetails {
    #[serde(flatten)]
    known: Option<KnownChannel>,
}

#[derive(Serialize, ToSchema)]
struct KnownChannel {
    name: String,
    number: u16,
    node: String,
    user: String,
    connection_name: String,
    peer_host: String,
    peer_port: u16,
}

impl ConsumerJson {
    pub(super) fn of(api: &Api, view: &ConsumerView) -> ConsumerJson {
        let known = view.channel.as_ref().map(|channel| KnownChannel {
            name: channel.name(),
            number: channel.number,
            node: api.node.clone(),
            user: channel.connection.user.to_string(),
            connection_name: channel.connection.name(),
            peer_host: channel.connection.peer.ip().to_string(),
            peer_port: channel.connection.peer.port(),
        });
        ConsumerJson {
            queue: QueueName {
                name: view.queue.to_string(),
                vhost: view.vhost.to_string(),
            },
            consumer_tag: view.info.tag.to_string(),
            active: view.activity != Activity::Waiting,
            activity_status: view.activity.as_str(),
            ack_required: view.info.ack_required,
            exclusive: view.info.exclusive,
            prefetch_count: view.info.prefetch_count,
            consumer_timeout: consumer_timeout(api, view),
            arguments: table_to_json(&view.info.arguments),
            channel_details: ChannelDetails { known },
        }
    }
}

/// The consumer's own timeout, that of its queue, or that of the broker.
fn consumer_timeout(api: &Api, view: &ConsumerView) -> u64 {
    let own = consumer_timeout_ms(&view.info.arguments).ok().flatten();
    let of_queue = || {
        let queue = api.broker.vhost(&view.vhost)?.queue(&view.queue)?;
        queue.arguments().consumer_timeout_ms
    };
    own.or_else(of_queue)
        .unwrap_or(api.views.amqp_limits().consumer_timeout_ms)
}

struct ConsumerRow {
    api: Shared,
    view: ConsumerView,
}

impl Row for ConsumerRow {
    type Json = ConsumerJson;

    fn json(&self) -> ConsumerJson {
        ConsumerJson::of(&self.api, &self.view)
    }

    fn vhost(&self) -> &str {
        &self.view.vhost
    }

    fn name(&self) -> &str {
        &self.view.queue
    }
}

/// Consumers belong to connections: users see their own, monitors all.
fn rows(api: &Shared, caller: &Caller, vhosts: &[Arc<Vhost>]) -> Vec<ConsumerRow> {
    let of_vhost = |vhost: &Arc<Vhost>| api.views.consumers(vhost.name());
    let views = vhosts.iter().flat_map(of_vhost);
    let seen = views.filter(|view| match &view.channel {
        Some(channel) => caller.sees_connection(&channel.connection),
        None => caller.is_monitor(),
    });
    seen.map(|view| ConsumerRow {
        api: Arc::clone(api),
        view,
    })
    .collect()
}

/// The consumers of all queues.
#[utoipa::path(
    get, path = "/api/consumers", tag = "consumers", params(ListQuery),
    responses((status = 200, body = Listing<ConsumerJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, None)?;
    listing::list(&query, rows(&api, &caller, &vhosts)).await
}

/// The consumers of a virtual host's queues.
#[utoipa::path(
    get, path = "/api/consumers/{vhost}", tag = "consumers", params(("vhost" = String, Path), ListQuery),
    responses(
        (status = 200, body = Listing<ConsumerJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, Some(&vhost))?;
    listing::list(&query, rows(&api, &caller, &vhosts)).await
}
