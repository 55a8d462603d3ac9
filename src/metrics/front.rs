//! Accepts the connections of scrapers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;

use super::handlers;
use crate::http;
use crate::net::{Acceptor, Capacity, Listener};
use crate::views::Views;

#[derive(Clone, Debug)]
pub struct MetricsConfig {
    pub connections: Capacity,
    /// Maximum time until the first request of a connection.
    pub newcomer_timeout: Duration,
}

pub struct Front {
    router: Router,
    acceptor: Acceptor,
}

impl Front {
    pub fn new(views: Arc<Views>, config: MetricsConfig) -> Arc<Front> {
        let acceptor = Acceptor::new("metrics", config.connections, config.newcomer_timeout);
        let router = handlers::router(views);
        Arc::new(Front { router, acceptor })
    }

    /// Accepts connections until `stopped` is true or its sender is gone; returns when the last connection has ended.
    /// Dropping this future drops all connections.
    pub async fn serve(self: Arc<Front>, listener: Listener, stopped: watch::Receiver<bool>) {
        let (router, stop_seen) = (self.router.clone(), stopped.clone());
        let serve_one = move |stream, peer, permit| {
            http::serve(router.clone(), stream, peer, permit, stop_seen.clone())
        };
        self.acceptor.serve(listener, stopped, serve_one).await;
    }
}
