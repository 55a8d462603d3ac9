//! One connection: reads requests, has them carried out, writes the responses. Every response is HTTP 200 with JSON;
//! clients take any other status for a broken network.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;

use super::action::Action;
use super::api::Api;
use super::authentication::{Caller, Denied};
use super::call::{Call, Outcome};
use super::dispatch;
use super::error::CmqError;
use super::limits::{HEAD_TIMEOUT, READ_BUFFER_MAX, STALL_TIMEOUT};
use super::parameters::{Parameters, shown};
use super::request_body;
use super::response::{RequestId, Response};
use super::response_body::{InFlight, ResponseBody};
use super::signature::Signed;
use super::socket::Socket;
use crate::clock::monotonic;
use crate::net::{SocketPermit, Transport};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What the requests of one connection share.
struct Connection {
    peer: IpAddr,
    permit: SocketPermit,
    stopped: watch::Receiver<bool>,
    in_flight: Arc<InFlight>,
}

/// Serves one connection to its end. When a client hangs up, its request is dropped wherever it waits: messages that it
/// would have received return to their queue.
pub(super) async fn serve(
    api: Arc<Api>,
    stream: Transport,
    peer: IpAddr,
    permit: SocketPermit,
    stopped: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay() {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    let in_flight = Arc::<InFlight>::default();
    let unreadable = {
        let api = Arc::clone(&api);
        move || {
            let id = RequestId::new(api.request_ids.next());
            Response::failure(id, &CmqError::Unreadable("request")).finish()
        }
    };
    let socket = Socket::new(stream, Arc::clone(&in_flight), STALL_TIMEOUT, unreadable);
    let mut stop_seen = stopped.clone();
    let connection = Arc::new(Connection {
        peer,
        permit,
        stopped,
        in_flight,
    });
    let service = service_fn(move |request| {
        let (api, connection) = (Arc::clone(&api), Arc::clone(&connection));
        async move { Ok::<_, Infallible>(connection.respond(&api, request).await) }
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

/// What the response needs to know of its request. Reading the request fills it in.
struct Progress {
    id: RequestId,
    /// No place is left for another authenticated client: the connection ends with this response.
    is_last: bool,
    /// Counts the request, once its client is known.
    action: Option<Action>,
}

impl Connection {
    async fn respond(
        &self,
        api: &Api,
        request: Request<Incoming>,
    ) -> hyper::Response<ResponseBody> {
        let mut progress = Progress {
            id: RequestId::new(api.request_ids.next()),
            is_last: false,
            action: None,
        };
        let mut outcome = self.carry_out(api, request, &mut progress).await;
        // Another node may lead, and know better.
        if !api.broker.mandate().decided().await {
            outcome = Err(CmqError::Internal);
        }
        if let Some(action) = progress.action {
            let code = outcome.as_ref().err().map_or(0, CmqError::code);
            let counts = &api.broker.stats().cmq_requests;
            counts.count(action.as_str(), code.into());
        }
        let reply = outcome.unwrap_or_else(|error| {
            let (peer, request) = (self.peer, progress.id.own);
            tracing::debug!(%peer, request, code = error.code(), %error, "request refused");
            Response::failure(progress.id, &error).into()
        });
        let json = Bytes::from(reply.response.finish());
        let body = ResponseBody::new(json, reply.on_sent, Arc::clone(&self.in_flight));
        let mut response = hyper::Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        if progress.is_last {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        response
    }

    async fn carry_out(
        &self,
        api: &Api,
        request: Request<Incoming>,
        progress: &mut Progress,
    ) -> Outcome {
        let (head, body) = request.into_parts();
        self.permit.awaits_peer();
        match head.method {
            Method::GET => {
                let query = head.uri.query().unwrap_or_default().as_bytes();
                self.carry_out_form(api, &head, query, progress).await
            }
            // The query of a POST does not count.
            Method::POST => {
                let (bytes, memory) = request_body::read(api, body).await?;
                let outcome = self.carry_out_form(api, &head, &bytes, progress).await;
                drop(memory);
                outcome
            }
            ref other => Err(CmqError::HttpMethod(shown(other.as_str()))),
        }
    }

    /// Carries out the action that a form names, if its signature is right.
    async fn carry_out_form(
        &self,
        api: &Api,
        head: &Parts,
        form: &[u8],
        progress: &mut Progress,
    ) -> Outcome {
        let parameters = Parameters::parse(form, api.config.parameters_max())?;
        progress.id.client = parameters
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
            &api.broker,
            &api.config,
            &api.replays,
            &signed,
            action.is_some_and(Action::sends),
            self.peer,
            api.broker.clock().wall_ms(),
        );
        let caller =
            caller.inspect_err(|why| self.log_denied(api, progress.id, &parameters, why))?;
        progress.is_last = !self.permit.admit();
        // A message body may be any bytes; every other parameter has to be text.
        parameters.check_text_but("msgBody")?;
        let action = action.ok_or_else(|| CmqError::NoSuchAction(shown(name)))?;
        progress.action = Some(action);
        let call = Call {
            api,
            caller,
            parameters: &parameters,
            request: progress.id,
            peer: self.peer,
            stopped: self.stopped.clone(),
        };
        dispatch::carry_out(action, &call).await
    }

    /// The response tells the client little of why it was denied. An operator finds the reason in the log, by the
    /// request's id.
    fn log_denied(&self, api: &Api, id: RequestId, parameters: &Parameters<'_>, why: &Denied) {
        if let Some(unsaid) = api.denied.passes(monotonic()) {
            let [action, key] = ["Action", "SecretId"]
                .map(|name| shown(parameters.bytes(name).unwrap_or_default()));
            let (peer, request) = (self.peer, id.own);
            tracing::info!(%peer, request, ?action, ?key, %unsaid, "CMQ request denied: {why}");
        }
    }
}
