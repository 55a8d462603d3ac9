//! Clients of a node that cannot serve them: each request gets the error of a server that has failed, which clients
//! try again.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::error::CmqError;
use super::limits::{HEAD_TIMEOUT, READ_BUFFER_MAX};
use super::response::{RequestId, Response};
use crate::net::Transport;

/// Answers one request and closes the connection. The caller limits the time.
pub async fn turn_away(client: Transport) {
    let service = service_fn(|request: Request<Incoming>| async move {
        // The client sees the answer only when it has sent its request.
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        let json = Response::failure(RequestId::new(0), &CmqError::Internal).finish();
        let mut response = hyper::Response::new(Full::new(Bytes::from(json)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok::<_, Infallible>(response)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER_MAX)
        .serve_connection(TokioIo::new(client), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a CMQ client that is turned away was lost");
    }
}
