//! One connection: reads requests, has them carried out, writes the answers. Every answer is HTTP 200 with JSON;
//! clients take anything else for a broken network.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::authentication::{Caller, Denied};
use super::body_budget::BodyShare;
use super::dispatch::{self, Action, Call, Outcome};
use super::error::CmqError;
use super::front::Front;
use super::limits::{
    BODY_TIMEOUT, FORGOTTEN_BYTES_MAX, HEAD_TIMEOUT, READ_BUFFER_MAX, STALL_TIMEOUT,
};
use super::parameters::{Parameters, shown};
use super::response::{RequestId, Response};
use super::signature::Signed;
use super::written::{Outgoing, Parcel, Socket};
use crate::accept::Place;
use crate::clock::monotonic;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// One connection, as its requests see it.
struct Connection {
    peer: IpAddr,
    place: Place,
    stopped: watch::Receiver<bool>,
    outgoing: Arc<Outgoing>,
}

/// Serves one connection to its end. A client that hangs up while its request is being carried out ends that as well:
/// what it would have received goes back.
pub(super) async fn serve(
    front: Arc<Front>,
    stream: TcpStream,
    peer: IpAddr,
    place: Place,
    stopped: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    let outgoing = Arc::<Outgoing>::default();
    let unreadable = {
        let front = Arc::clone(&front);
        move || {
            let id = RequestId {
                own: front.request_ids.next(),
                client: None,
            };
            Response::failure(id, &CmqError::Unreadable("request")).finish()
        }
    };
    let socket = Socket::new(stream, Arc::clone(&outgoing), STALL_TIMEOUT, unreadable);
    let mut stop_seen = stopped.clone();
    let connection = Arc::new(Connection {
        peer,
        place,
        stopped,
        outgoing,
    });
    let service = service_fn(move |request| {
        let (front, connection) = (Arc::clone(&front), Arc::clone(&connection));
        async move { Ok::<_, Infallible>(connection.answer(&front, request).await) }
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

/// What is found out about a request while it is read.
struct Asked {
    id: RequestId,
    /// There is no place for its sender's connection: it ends with the answer.
    is_last: bool,
}

impl Connection {
    async fn answer(&self, front: &Front, request: Request<Incoming>) -> hyper::Response<Parcel> {
        let mut asked = Asked {
            id: RequestId {
                own: front.request_ids.next(),
                client: None,
            },
            is_last: false,
        };
        let outcome = self.carry_out(front, request, &mut asked).await;
        let reply = outcome.unwrap_or_else(|error| {
            tracing::debug!(peer = %self.peer, request = asked.id.own, code = error.code(), %error, "request refused");
            Response::failure(asked.id, &error).into()
        });
        let json = Bytes::from(reply.answer.finish());
        let parcel = Parcel::new(json, reply.receipt, Arc::clone(&self.outgoing));
        let mut response = hyper::Response::new(parcel);
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        if asked.is_last {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        response
    }

    async fn carry_out(
        &self,
        front: &Front,
        request: Request<Incoming>,
        asked: &mut Asked,
    ) -> Outcome {
        let (head, body) = request.into_parts();
        self.place.heard();
        // With a POST, the query does not count.
        match head.method {
            Method::GET => {
                let query = head.uri.query().unwrap_or_default().as_bytes();
                self.form(front, &head, query, asked).await
            }
            Method::POST => {
                let (bytes, room) = take(front, body).await?;
                let outcome = self.form(front, &head, &bytes, asked).await;
                drop(room);
                outcome
            }
            ref other => Err(CmqError::HttpMethod(shown(other.as_str()))),
        }
    }

    /// Carries out what a form asks for.
    async fn form(&self, front: &Front, head: &Parts, form: &[u8], asked: &mut Asked) -> Outcome {
        let parameters = Parameters::parse(form, front.config.parameters_max())?;
        asked.id.client = parameters
            .text("clientRequestId")
            .and_then(|number| number.parse().ok());
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let signed = Signed {
            method: head.method.as_str(),
            host: host.unwrap_or_default(),
            path: head.uri.path(),
            parameters: &parameters,
        };
        let name = parameters.required("Action")?;
        let action = Action::named(name);
        let caller = Caller::authenticate(
            &front.broker,
            &front.config,
            &front.replays,
            &signed,
            action.is_some_and(Action::sends),
            self.peer,
            front.broker.clock().wall_ms(),
        );
        let caller =
            caller.inspect_err(|why| self.log_denied(front, asked.id, &parameters, why))?;
        asked.is_last = !self.place.admit();
        // Whoever signs may send any bytes as a message, and nothing else.
        parameters.check_text_but("msgBody")?;
        let action = action.ok_or_else(|| CmqError::NoSuchAction(shown(name)))?;
        let call = Call {
            front,
            caller,
            parameters: &parameters,
            request: asked.id,
            stopped: self.stopped.clone(),
        };
        dispatch::carry_out(action, &call).await
    }

    /// What a client is told of why it is not known is little: an operator finds the rest in the log by the request's id.
    fn log_denied(&self, front: &Front, id: RequestId, parameters: &Parameters<'_>, why: &Denied) {
        if let Some(unsaid) = front.denied.passes(monotonic()) {
            let [action, key] = ["Action", "SecretId"]
                .map(|name| shown(parameters.bytes(name).unwrap_or_default()));
            let (peer, request) = (self.peer, id.own);
            tracing::info!(%peer, request, ?action, ?key, %unsaid, "CMQ request denied: {why}");
        }
    }
}

/// Reads the body of a request. Room for it is held as it comes.
async fn take(front: &Front, mut body: Incoming) -> Result<(Bytes, BodyShare<'_>), CmqError> {
    let too_large = CmqError::Unreadable("request");
    let max = front.config.request_bytes_max();
    let mut share = front.request_bodies.share();
    // In pieces, it may become as large as any.
    if body.size_hint().upper().is_none_or(|size| size <= max)
        && let Some(bytes) = read(&mut body, max, &mut share).await?
    {
        share.whole();
        return Ok((bytes, share));
    }
    drop(share);
    // Whoever is still writing would see a broken connection instead of the answer.
    timeout(BODY_TIMEOUT, forget(&mut body))
        .await
        .map_err(|_| too_large.clone())?;
    Err(too_large)
}

/// The whole body; `None` if it is larger than `max`. One that came in one piece is not copied.
async fn read(
    body: &mut Incoming,
    max: u64,
    share: &mut BodyShare<'_>,
) -> Result<Option<Bytes>, CmqError> {
    let unreadable = || CmqError::Unreadable("request");
    let mut patience = BODY_TIMEOUT;
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    loop {
        let begun = Instant::now();
        let frame = tokio::select! {
            biased;
            frame = timeout(patience, body.frame()) => frame.map_err(|_| unreadable())?,
            _ = share.cut() => return Err(unreadable()),
        };
        patience = patience.saturating_sub(begun.elapsed());
        let Some(frame) = frame else { break };
        let Ok(piece) = frame.map_err(|_| unreadable())?.into_data() else {
            continue; // Trailers mean nothing here.
        };
        let bytes = whole.len() + joined.len() + piece.len();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if bytes > max {
            return Ok(None);
        }
        share.hold(bytes).await.map_err(|_| unreadable())?;
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
