//! The front door for operators: accepts their connections.

use std::sync::Arc;

use axum::Router;
use tokio::sync::watch;

use super::api::Api;
use super::config::ManagementConfig;
use super::router;
use crate::cmq::Directory;
use crate::http;
use crate::net::{Acceptor, Listener};
use crate::views::Views;

pub struct Front {
    router: Router,
    acceptor: Acceptor,
}

impl Front {
    /// Opens the API on the broker of the views.
    pub fn new(views: Arc<Views>, cmq: Directory, config: ManagementConfig) -> Arc<Front> {
        let acceptor = Acceptor::new("management", config.connections, config.newcomer_timeout);
        let router = router::router(Api::new(views, cmq, config));
        Arc::new(Front { router, acceptor })
    }

    /// Accepts connections until `stopped` is true or its sender is gone; returns when the last connection has ended.
    /// No further request is read then. Dropping this future drops all connections.
    pub async fn serve(self: Arc<Front>, listener: Listener, stopped: watch::Receiver<bool>) {
        let (router, stop_seen) = (self.router.clone(), stopped.clone());
        let serve_one = move |stream, peer, permit| {
            http::serve(router.clone(), stream, peer, permit, stop_seen.clone())
        };
        self.acceptor.serve(listener, stopped, serve_one).await;
    }
}
