//! Fetches messages from the head of a queue, to look at them or to take them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::body::{Frame, SizeHint};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use crate::broker::queue::{Acknowledgement, Got, HeldLeases, Queue};
use crate::management::api::Shared;
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::json::{Integer, Json, required};
use crate::management::limits::{FETCHED_BYTES_MAX, FETCHED_MAX};
use crate::management::path::Path;
use crate::management::properties_json::properties_to_json;
use crate::model::arguments::QueueKind;

/// Which messages to fetch, and what becomes of them.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct FetchRequest {
    /// Number of messages; the first 10,000 or 16 MiB at most. A negative number is no limit.
    count: Option<Integer>,
    /// `ack_requeue_true` returns the messages to their places, `reject_requeue_true` does so as a failed delivery.
    /// `ack_requeue_false` takes them, `reject_requeue_false` dead-letters or drops them.
    ackmode: Option<String>,
    /// `auto` shows text as it is and anything else in base64; `base64` shows all in base64.
    encoding: Option<String>,
    /// Show this many bytes of each payload.
    truncate: Option<Integer>,
}

/// A message.
#[derive(Serialize, ToSchema)]
pub(super) struct FetchedMessage {
    payload_bytes: usize,
    redelivered: bool,
    exchange: String,
    routing_key: String,
    /// Messages behind it in the queue.
    message_count: u64,
    #[schema(value_type = Object)]
    properties: Map<String, Value>,
    payload: String,
    payload_encoding: &'static str,
}

/// What becomes of fetched messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckMode {
    /// They are acked as they leave.
    Take,
    /// They return to their places.
    Return,
    /// They are rejected.
    Answer(Acknowledgement),
}

impl AckMode {
    fn parse(text: &str) -> Result<AckMode, ApiError> {
        match text {
            "ack_requeue_true" => Ok(AckMode::Return),
            "ack_requeue_false" => Ok(AckMode::Take),
            "reject_requeue_true" => Ok(AckMode::Answer(Acknowledgement::RequeueFailed)),
            "reject_requeue_false" => Ok(AckMode::Answer(Acknowledgement::RejectFailed)),
            other => Err(ApiError::BadRequest(format!(
                "Invalid ackmode value: {other}. Valid values are: ack_requeue_true, ack_requeue_false, \
                 reject_requeue_true, reject_requeue_false"
            ))),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Auto,
    Base64,
}

impl Encoding {
    fn parse(text: &str) -> Result<Encoding, ApiError> {
        match text {
            "auto" => Ok(Encoding::Auto),
            "base64" => Ok(Encoding::Base64),
            _ => Err(ApiError::BadRequest(
                "Unsupported encoding. Please use auto or base64.".to_owned(),
            )),
        }
    }

    fn encode(self, payload: &[u8]) -> (String, &'static str) {
        match (self, std::str::from_utf8(payload)) {
            (Encoding::Auto, Ok(text)) => (text.to_owned(), "string"),
            _ => (BASE64_STANDARD.encode(payload), "base64"),
        }
    }
}

/// Fetches messages from the head of a queue.
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{name}/get", tag = "queues",
    params(("vhost" = String, Path), ("name" = String, Path)), request_body = FetchRequest,
    responses(
        (status = 200, body = Vec<FetchedMessage>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
pub(super) async fn fetch(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    Json(body): Json<FetchRequest>,
) -> Result<Response, ApiError> {
    let vhost = caller.vhost_to_change(&api, &vhost)?;
    let not_found = || ApiError::NotFoundBecause("queue_not_found".to_owned());
    vhost.queue(&name).ok_or_else(not_found)?;
    let mode = AckMode::parse(&required(body.ackmode, "ackmode")?)?;
    let count = required(body.count, "count")?.read()?;
    let encoding = Encoding::parse(&required(body.encoding, "encoding")?)?;
    let truncate = body.truncate.map(Integer::read).transpose()?;
    let truncate = truncate.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(0));
    let session = caller.session(&api, vhost);
    let queue = session.queue_to_read_checked(&name).await;
    let queue = queue.map_err(ApiError::of_method)?;
    check_kind(&queue, session.vhost.name())?;

    let count = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(FETCHED_MAX);
    // They return when the client hangs up.
    let mut leased = HeldLeases::new(Arc::clone(&queue));
    // One after the other beyond a few: their messages are in memory.
    let place = Arc::clone(&api.fetches).acquire_owned().await.ok();
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while messages.len() < count && bytes < FETCHED_BYTES_MAX {
        let got = queue.get(mode == AckMode::Take).await;
        let Some(got) = got.map_err(|_| not_found())? else {
            break;
        };
        if mode != AckMode::Take {
            leased.hold(got.lease);
        }
        session.trace_got(&queue, &got).await;
        let message = show(&got, encoding, truncate);
        bytes += message.payload.len();
        messages.push(message);
    }
    if let AckMode::Answer(how) = mode {
        let leases = leased.take();
        if let Some(ticket) = queue.acknowledge(how, &leases, &[]) {
            api.broker.committer().wait(ticket).await?;
        }
    }
    let response = Json(messages).into_response();
    Ok(response.map(|body| Body::new(HeldBody { body, place })))
}

/// The body of an answer that keeps its place until it is sent.
struct HeldBody {
    body: Body,
    #[expect(dead_code, reason = "dropping it makes room for another")]
    place: Option<OwnedSemaphorePermit>,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Refuses queues from which no client can fetch.
fn check_kind(queue: &Queue, vhost: &str) -> Result<(), ApiError> {
    let (name, arguments) = (queue.name(), &queue.spec().arguments);
    if arguments.kind == QueueKind::Stream {
        return Err(ApiError::BadRequest(format!(
            "540 basic.get not supported by stream queues queue '{name}' in vhost '{vhost}'"
        )));
    }
    if arguments.kind == QueueKind::Quorum && arguments.single_active_consumer {
        return Err(ApiError::BadRequest(format!(
            "405 RESOURCE_LOCKED - cannot obtain access to locked queue '{name}' in vhost '{vhost}'. basic.get \
             operations are not supported by quorum queues with single active consumer"
        )));
    }
    Ok(())
}

fn show(got: &Got, encoding: Encoding, truncate: usize) -> FetchedMessage {
    let message = &got.message;
    let body = message.body.slices().concat();
    let shown = body.get(..truncate).unwrap_or(&body);
    let (payload, payload_encoding) = encoding.encode(shown);
    FetchedMessage {
        payload_bytes: body.len(),
        redelivered: got.redelivered,
        exchange: message.origin.exchange.to_string(),
        routing_key: message.origin.routing_key.to_string(),
        message_count: got.remaining,
        properties: properties_to_json(&message.properties),
        payload,
        payload_encoding,
    }
}
