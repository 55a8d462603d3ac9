//! Clients of a node that cannot serve them: each request is answered with 503 and the reason.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::sync::watch;

use super::error::ApiError;
use crate::http;
use crate::net::{SocketPermit, Transport};

/// Answers one request and closes the connection. The caller limits the time.
pub async fn turn_away(client: Transport, peer: SocketAddr, permit: SocketPermit, why: String) {
    let (_running, stopped) = watch::channel(false);
    let refuse = move |body: Body| refused(body, why);
    let router = Router::new().fallback(refuse);
    http::serve(router, client, peer, permit, stopped).await;
}

async fn refused(mut body: Body, why: String) -> Response {
    // The client sees the answer only when it has sent its request.
    while let Some(Ok(_)) = body.frame().await {}
    let mut response = ApiError::Unavailable(why).into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}
