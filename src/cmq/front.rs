//! The front door for CMQ clients: accepts their connections and runs the workers that push.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::api::Api;
use super::config::CmqConfig;
use super::connection;
use super::directory::Directory;
use super::push;
use crate::broker::alarms::Alarms;
use crate::broker::broker::{Broker, OpenError};
use crate::net::{Acceptor, Listener};

pub struct Front {
    api: Arc<Api>,
    acceptor: Acceptor,
}

impl Front {
    /// Opens the API on a broker. It takes no messages while one of the alarms is on.
    ///
    /// # Errors
    /// When the store cannot read the API's records of queues and topics.
    pub async fn open(
        broker: Arc<Broker>,
        alarms: Arc<Alarms>,
        config: CmqConfig,
    ) -> Result<Arc<Front>, OpenError> {
        let acceptor = Acceptor::new("CMQ", config.connections, config.newcomer_timeout);
        let api = Api::open(broker, alarms, config).await?;
        Ok(Arc::new(Front { api, acceptor }))
    }

    /// What operators see of the API.
    pub fn directory(&self) -> Directory {
        Directory::of(&self.api)
    }

    /// Counts the connections, requests and push workers that use the API, even after the front door itself is gone. Tests
    /// wait for these to begin and end.
    pub fn users(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let api = Arc::downgrade(&self.api);
        move || api.strong_count()
    }

    /// Accepts connections until `stopped` is true or its sender is gone; returns when the last connection has ended.
    /// Waiting requests are then answered immediately, and no further request is read. Dropping this future drops all
    /// connections.
    pub async fn serve(self: Arc<Front>, listener: Listener, stopped: watch::Receiver<bool>) {
        let (api, stop_seen) = (Arc::clone(&self.api), stopped.clone());
        let serve_one = move |stream, peer: SocketAddr, permit| {
            let api = Arc::clone(&api);
            connection::serve(api, stream, peer.ip(), permit, stop_seen.clone())
        };
        self.acceptor.serve(listener, stopped, serve_one).await;
    }

    /// Pushes messages of subscriptions to their endpoints until `stopped` is true or its sender is gone; returns when
    /// the last push has ended. Dropping this future drops all pushes: a restart repeats them.
    pub async fn push(self: Arc<Front>, stopped: watch::Receiver<bool>) {
        push::run(Arc::clone(&self.api), stopped).await;
    }
}
