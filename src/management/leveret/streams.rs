//! Streams: their segments, offsets and times.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::broker::broker::Broker;
use crate::broker::queue::Queue;
use crate::broker::vhost::Vhost;
use crate::management::api::{Api, Shared};
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::listing::{self, ListQuery, Row};
use crate::management::path::Path;
use crate::model::Name;
use crate::model::arguments::QueueKind;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_vhost))
}

/// A stream.
#[derive(Serialize, ToSchema)]
struct StreamJson {
    name: String,
    vhost: String,
    messages: u64,
    /// Parts that retention drops as a whole.
    segments: usize,
    /// The offset of the oldest message that retention has left.
    first_offset: u64,
    /// The offset that the next message will have.
    next_offset: u64,
    bytes: u64,
    /// When the oldest message was enqueued, in milliseconds since 1970.
    oldest_timestamp: Option<u64>,
    newest_timestamp: Option<u64>,
    consumers: u64,
    /// Messages that are on disk and cannot be read.
    lost: u64,
}

struct StreamRow {
    broker: Arc<Broker>,
    vhost: Name,
    queue: Arc<Queue>,
}

impl Row for StreamRow {
    type Json = StreamJson;

    fn json(&self) -> StreamJson {
        let counts = self.queue.counts();
        let extent = self.queue.stream_extent().unwrap_or_default();
        let wall_ms = |moment| self.broker.clock().wall_ms_at(moment);
        StreamJson {
            name: self.queue.name().to_string(),
            vhost: self.vhost.to_string(),
            messages: counts.ready,
            segments: extent.segments,
            first_offset: extent.first,
            next_offset: extent.next,
            bytes: counts.ready_bytes,
            oldest_timestamp: extent.oldest.map(wall_ms),
            newest_timestamp: extent.newest.map(wall_ms),
            consumers: counts.consumers,
            lost: counts.damaged,
        }
    }

    fn vhost(&self) -> &str {
        &self.vhost
    }

    fn name(&self) -> &str {
        self.queue.name()
    }
}

fn rows(api: &Api, vhosts: &[Arc<Vhost>]) -> Vec<StreamRow> {
    let of_vhost = |vhost: &Arc<Vhost>| {
        let (broker, name) = (Arc::clone(&api.broker), vhost.name().clone());
        let mut queues = vhost.queues();
        queues.retain(|queue| queue.spec().arguments.kind == QueueKind::Stream);
        queues.into_iter().map(move |queue| StreamRow {
            broker: Arc::clone(&broker),
            vhost: name.clone(),
            queue,
        })
    };
    vhosts.iter().flat_map(of_vhost).collect()
}

/// All streams.
#[utoipa::path(
    get, path = "/api/leveret/streams", tag = "leveret", params(ListQuery),
    responses(
        (status = 200, body = Vec<StreamJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list(
    State(api): State<Shared>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = caller.visible_vhosts(&api, None)?;
    listing::list(&query, rows(&api, &vhosts)).await
}

/// The streams of a virtual host.
#[utoipa::path(
    get, path = "/api/leveret/streams/{vhost}", tag = "leveret", params(("vhost" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<StreamJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
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
    listing::list(&query, rows(&api, &vhosts)).await
}
