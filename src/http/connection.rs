//! One connection: hyper reads its requests, the router answers them one after the other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tower::ServiceExt;

use super::limits::{HEAD_TIMEOUT, READ_BUFFER_MAX, READ_WITHIN};
use super::patient_socket::PatientSocket;
use super::peer::Peer;
use crate::net::{SocketPermit, Transport};

/// Serves a connection to its end. When `stopped` becomes true, it ends after the response under way.
pub async fn serve(
    router: Router,
    stream: Transport,
    address: SocketAddr,
    permit: SocketPermit,
    mut stopped: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay() {
        tracing::debug!(%address, %error, "no TCP_NODELAY");
    }
    let peer = Arc::new(Peer::new(&stream, address, permit));
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, peer) = (router.clone(), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(respond(router, peer, request).await) }
    });
    let socket = PatientSocket::new(stream, READ_WITHIN);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(READ_BUFFER_MAX)
            .serve_connection(TokioIo::new(socket), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopped.wait_for(|stopped| *stopped) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "HTTP connection ended");
    }
}

async fn respond(
    router: Router,
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> hyper::Response<Body> {
    peer.awaits_peer();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Arc::clone(&peer));
    let mut response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if peer.is_last() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}
