//! The metrics of a node that does not run the broker: of its process, and of the set as it sees it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::HeaderMap;
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::exposition::Exposition;
use super::families;
use super::front::MetricsConfig;
use super::handlers::{accepted, admit, not_found, whole};
use crate::http;
use crate::net::{Acceptor, Listener};
use crate::views::{NodeView, SetView};

/// Where the numbers come from; `None` when the node ends.
pub type StandbySource = Arc<dyn Fn() -> Option<(NodeView, SetView)> + Send + Sync>;

/// The door for scrapers of a node that does not run the broker.
pub struct Standby {
    router: Router,
    acceptor: Acceptor,
}

impl Standby {
    pub fn new(source: StandbySource, config: &MetricsConfig) -> Arc<Standby> {
        let acceptor = Acceptor::new("metrics", config.connections, config.newcomer_timeout);
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/metrics/{registry}", get(metrics))
            .fallback(not_found)
            .with_state(source)
            .layer(from_fn(admit));
        Arc::new(Standby { router, acceptor })
    }

    /// Accepts connections until `stopped` is true or its sender is gone; returns when the last connection has ended.
    pub async fn serve(self: Arc<Standby>, listener: Listener, stopped: watch::Receiver<bool>) {
        let (router, stop_seen) = (self.router.clone(), stopped.clone());
        let serve_one = move |stream, peer, permit| {
            http::serve(router.clone(), stream, peer, permit, stop_seen.clone())
        };
        self.acceptor.serve(listener, stopped, serve_one).await;
    }
}

async fn metrics(State(source): State<StandbySource>, _: Uri, headers: HeaderMap) -> Response {
    let Some(format) = accepted(&headers) else {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    };
    let mut out = Exposition::new(format);
    if let Some((node, set)) = source() {
        families::standby(&node, &set, &mut out);
    }
    whole(format, out)
}
