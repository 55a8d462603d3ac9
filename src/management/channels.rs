//! Channels: lists, and one channel.

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
use super::connections;
use super::consumers::ConsumerJson;
use super::date_time::date_time;
use super::error::{ApiError, Refusal};
use super::listing::{self, ListQuery, Listing, Row};
use super::path::Path;
use super::ranges::{RangeQuery, Ranges};
use super::stats_json::{self, Look};
use crate::clock::Moment;
use crate::views::{ChannelView, ConnectionView, ConsumerView, Depth};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
        .routes(routes!(list_of_connection))
        .routes(routes!(get))
}

/// A channel.
#[derive(Serialize, ToSchema)]
struct ChannelJson {
    name: String,
    number: u16,
    vhost: String,
    user: String,
    user_who_performed_action: String,
    node: String,
    state: &'static str,
    connection_details: ConnectionDetails,
    /// Prefetch of new consumers; 0 is no limit.
    prefetch_count: u16,
    /// Prefetch of the channel as a whole; 0 is no limit.
    global_prefetch_count: u16,
    consumer_count: usize,
    /// Whether it confirms publishes.
    confirm: bool,
    transactional: bool,
    messages_unacknowledged: usize,
    messages_unconfirmed: usize,
    /// Publishes and acks of the open transaction.
    messages_uncommitted: usize,
    acks_uncommitted: usize,
    /// Since when nothing has happened on the channel; absent if something has just happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_since: Option<String>,
    /// Counters and their rates; absent before the first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Map<String, Value>>,
    #[serde(flatten)]
    alone: Option<Alone>,
}

#[derive(Serialize, ToSchema)]
struct ConnectionDetails {
    name: String,
    peer_host: String,
    peer_port: u16,
}

/// What is shown of one channel, but not in lists.
#[derive(Serialize, ToSchema)]
struct Alone {
    consumer_details: Vec<ConsumerJson>,
    /// What it publishes, by exchange; always empty.
    publishes: Vec<Value>,
    /// What it gets, by queue; always empty.
    deliveries: Vec<Value>,
}

struct ChannelRow {
    api: Shared,
    view: ChannelView,
    name: String,
    depth: Depth,
    ranges: Ranges,
}

impl ChannelRow {
    fn new(api: &Shared, view: ChannelView, depth: Depth, ranges: Ranges) -> ChannelRow {
        ChannelRow {
            api: Arc::clone(api),
            name: view.name(),
            view,
            depth,
            ranges,
        }
    }

    fn idle_since(&self) -> Option<String> {
        let last_active = Moment::from_ms(self.view.status.active_ms);
        date_time(self.api.views.idle_since_ms(last_active)?)
    }

    fn json_with(&self, alone: Option<Alone>) -> ChannelJson {
        let ChannelView { connection, status } = &self.view;
        let subject = self.view.subject();
        let look = Look::at(&self.api.views, &subject, self.depth, self.ranges);
        ChannelJson {
            name: self.name.clone(),
            number: status.number,
            vhost: connection.vhost.to_string(),
            user: connection.user.to_string(),
            user_who_performed_action: connection.user.to_string(),
            node: self.api.node.clone(),
            state: "running",
            connection_details: ConnectionDetails {
                name: connection.name(),
                peer_host: connection.peer.ip().to_string(),
                peer_port: connection.peer.port(),
            },
            prefetch_count: status.prefetch,
            global_prefetch_count: status.global_prefetch,
            consumer_count: status.consumers,
            confirm: status.confirm,
            transactional: status.transactional,
            messages_unacknowledged: status.unacknowledged,
            messages_unconfirmed: status.unconfirmed,
            messages_uncommitted: status.uncommitted,
            acks_uncommitted: 0,
            idle_since: self.idle_since(),
            message_stats: look.message_stats(stats_json::CHANNEL, &status.message_stats),
            alone,
        }
    }
}

impl Row for ChannelRow {
    type Json = ChannelJson;

    fn json(&self) -> ChannelJson {
        self.json_with(None)
    }

    fn vhost(&self) -> &str {
        &self.view.connection.vhost
    }

    fn name(&self) -> &str {
        &self.name
    }
}

fn rows(api: &Shared, connections: &[ConnectionView], ranges: Ranges) -> Vec<ChannelRow> {
    let channels = connections.iter().flat_map(ConnectionView::channels);
    channels
        .map(|view| ChannelRow::new(api, view, Depth::Rate, ranges))
        .collect()
}

/// The consumers of a channel.
fn consumers(api: &Api, channel: &ChannelView) -> Vec<ConsumerView> {
    if channel.status.consumers == 0 {
        return Vec::new();
    }
    let mut consumers = api.views.consumers(&channel.connection.vhost);
    consumers.retain(|consumer| {
        consumer.info.connection == channel.connection.id
            && consumer.info.channel == channel.status.number
    });
    consumers
}

/// All open channels; a user who is no monitor sees its own.
#[utoipa::path(
    get, path = "/api/channels", tag = "channels", params(ListQuery, RangeQuery),
    responses((status = 200, body = Listing<ChannelJson>), (status = 400, body = Refusal), (status = 401, body = Refusal))
)]
async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let seen = connections::seen(&api, &caller, caller.chosen_vhost());
    listing::list(&query, rows(&api, &seen, ranges)).await
}

/// The open channels of a virtual host's connections.
#[utoipa::path(
    get, path = "/api/vhosts/{vhost}/channels", tag = "channels",
    params(("vhost" = String, Path), ListQuery, RangeQuery),
    responses(
        (status = 200, body = Listing<ChannelJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_vhost(
    State(api): State<Shared>,
    caller: Caller,
    Path(vhost): Path<String>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let vhost = caller.visible_vhost(&api, &vhost)?;
    let seen = connections::seen(&api, &caller, Some(vhost.name()));
    listing::list(&query, rows(&api, &seen, ranges)).await
}

/// The open channels of a connection.
#[utoipa::path(
    get, path = "/api/connections/{name}/channels", tag = "channels",
    params(("name" = String, Path), ListQuery, RangeQuery),
    responses(
        (status = 200, body = Listing<ChannelJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_connection(
    State(api): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let connection = connections::find(&api, &caller, &name)?;
    listing::list(&query, rows(&api, &[connection], ranges)).await
}

/// One channel.
#[utoipa::path(
    get, path = "/api/channels/{name}", tag = "channels",
    params(("name" = String, Path), ("columns" = Option<String>, Query), RangeQuery),
    responses(
        (status = 200, body = ChannelJson), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    query: ListQuery,
    ranges: Ranges,
) -> Result<Response, ApiError> {
    let view = api.views.channel(&name).ok_or(ApiError::NotFound)?;
    if !caller.sees_connection(&view.connection) {
        let reason = "User not authorised to access object";
        return Err(ApiError::NotAuthorised(reason.to_owned()));
    }
    let consumers = consumers(&api, &view).into_iter();
    let alone = Alone {
        consumer_details: consumers
            .map(|view| ConsumerJson::of(&api, &view))
            .collect(),
        publishes: Vec::new(),
        deliveries: Vec::new(),
    };
    let row = ChannelRow::new(&api, view, Depth::History, ranges);
    listing::object(&query, &row.json_with(Some(alone)))
}
