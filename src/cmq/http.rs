//! One connection: reads requests, has them carried out, writes the answers. Every answer is HTTP 200 with JSON;
//! clients take anything else for a broken network.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::sync::{SemaphorePermit, watch};
use tokio::time::timeout;

use super::answer::{Answer, RequestId};
use super::caller::Caller;
use super::dispatch::{self, Call, Reply};
use super::error::CmqError;
use super::front::Front;
use super::limits::{
    BODY_TIMEOUT, FORGOTTEN_BYTES_MAX, HEAD_TIMEOUT, READ_BUFFER_MAX, STALL_TIMEOUT, large_kib,
};
use super::request::{Parameters, shown};
use super::signature::Signed;
use super::written::{Outgoing, Parcel, Socket};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Serves one connection to its end. A client that hangs up while its request is being carried out ends that as well:
/// what it would have received goes back.
pub(super) async fn serve(
    front: Arc<Front>,
    stream: TcpStream,
    peer: IpAddr,
    stopped: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    let outgoing = Arc::<Outgoing>::default();
    let socket = Socket::new(stream, Arc::clone(&outgoing), STALL_TIMEOUT);
    let mut stop_seen = stopped.clone();
    let service = service_fn(move |request| {
        let (front, outgoing) = (Arc::clone(&front), Arc::clone(&outgoing));
        let stopped = stopped.clone();
        async move { Ok::<_, Infallible>(answer(&front, request, peer, stopped, outgoing).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(READ_BUFFER_MAX)
            .serve_connection(socket, service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stop_seen.wait_for(|stopped| *stopped) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "CMQ connection ended");
    }
}

async fn answer(
    front: &Front,
    request: Request<Incoming>,
    peer: IpAddr,
    stopped: watch::Receiver<bool>,
    outgoing: Arc<Outgoing>,
) -> Response<Parcel> {
    let mut id = RequestId {
        own: front.requests.next(),
        client: None,
    };
    let outcome = carry_out(front, request, peer, stopped, &mut id).await;
    let reply = outcome.unwrap_or_else(|error| {
        tracing::debug!(%peer, code = error.code(), %error, "request refused");
        Answer::failure(id, &error).into()
    });
    let json = Bytes::from(reply.answer.finish());
    let mut response = Response::new(Parcel::new(json, reply.receipt, outgoing));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

async fn carry_out(
    front: &Front,
    request: Request<Incoming>,
    peer: IpAddr,
    stopped: watch::Receiver<bool>,
    id: &mut RequestId,
) -> Result<Reply, CmqError> {
    let (head, body) = request.into_parts();
    let method = match head.method {
        Method::GET => "GET",
        Method::POST => "POST",
        other => return Err(CmqError::HttpMethod(shown(other.as_str()))),
    };
    let mut room = None;
    let body = match method {
        "POST" => {
            let bytes;
            (bytes, room) = take(front, body).await?;
            bytes
        }
        _ => Bytes::new(),
    };
    // With a POST, the query does not count.
    let form = match method {
        "POST" => &body[..],
        _ => head.uri.query().unwrap_or_default().as_bytes(),
    };
    let parameters = Parameters::parse(form, front.config.parameters_max())?;
    id.client = parameters
        .text("clientRequestId")
        .and_then(|number| number.parse().ok());
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let signed = Signed {
        method,
        host: host.unwrap_or_default(),
        path: head.uri.path(),
        parameters: &parameters,
    };
    let action = parameters.required("Action")?;
    let Front {
        broker,
        config,
        replays,
        ..
    } = front;
    let now_ms = broker.clock().wall_ms();
    let caller = Caller::authenticate(broker, config, replays, &signed, peer, now_ms)?;
    let call = Call {
        front,
        caller,
        parameters: &parameters,
        request: *id,
        stopped,
    };
    let reply = dispatch::carry_out(action, &call).await;
    drop(room);
    reply
}

/// Reads the body of a request, and waits before that until there is room for it. What is held is the room.
async fn take(
    front: &Front,
    mut body: Incoming,
) -> Result<(Bytes, Option<SemaphorePermit<'_>>), CmqError> {
    let too_large = CmqError::Unreadable("request");
    let max = front.config.request_bytes_max();
    // In pieces, it may become as large as any.
    let size = body.size_hint().upper().unwrap_or(max);
    if size <= max {
        let room = room_for(front, size).await;
        let bytes = timeout(BODY_TIMEOUT, read(&mut body, max)).await;
        if let Some(bytes) = bytes.map_err(|_| too_large.clone())?? {
            return Ok((bytes, room));
        }
    }
    // Whoever is still writing would see a broken connection instead of the answer.
    timeout(BODY_TIMEOUT, forget(&mut body))
        .await
        .map_err(|_| too_large.clone())?;
    Err(too_large)
}

/// Waits until a body of this size may be read.
async fn room_for(front: &Front, size: u64) -> Option<SemaphorePermit<'_>> {
    let room = front.large_requests.acquire_many(large_kib(size)?);
    // The semaphore is never closed.
    room.await.ok()
}

/// The whole body; `None` if it is larger than `max`. One that came in one piece is not copied.
async fn read(body: &mut Incoming, max: u64) -> Result<Option<Bytes>, CmqError> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| CmqError::Unreadable("request"))?;
        let Ok(piece) = frame.into_data() else {
            continue; // Trailers mean nothing here.
        };
        if whole.len() + joined.len() + piece.len() > max {
            return Ok(None);
        }
        if whole.is_empty() && joined.is_empty() {
            whole = piece;
            continue;
        }
        joined.extend_from_slice(&std::mem::take(&mut whole));
        joined.extend_from_slice(&piece);
    }
    Ok(Some(match joined.is_empty() {
        true => whole,
        false => joined.freeze(),
    }))
}

/// Reads a body to its end, as far as that is near.
async fn forget(body: &mut Incoming) {
    let mut left = FORGOTTEN_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        if left == 0 {
            return;
        }
    }
}
