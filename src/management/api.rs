//! What all requests share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::config::ManagementConfig;
use super::limits::{DENIED_LOGGED_EVERY, DENIED_LOGGED_MAX, FETCHES_MAX, LARGE_BODIES_MAX};
use crate::broker::broker::Broker;
use crate::cmq::Directory;
use crate::node;
use crate::seldom::Seldom;
use crate::views::Views;

/// The state of the API. Handlers take it as `State<Shared>`.
pub(super) struct Api {
    pub(super) broker: Arc<Broker>,
    pub(super) views: Arc<Views>,
    pub(super) cmq: Directory,
    pub(super) config: ManagementConfig,
    /// The name of this node.
    pub(super) node: String,
    /// Places for large bodies of requests.
    pub(super) large_bodies: Arc<Semaphore>,
    /// Places for answers with fetched messages.
    pub(super) fetches: Arc<Semaphore>,
    /// Log lines about refused logins.
    pub(super) denied: Seldom,
}

/// The type of the routers' state.
pub(super) type Shared = Arc<Api>;

impl Api {
    pub(super) fn new(views: Arc<Views>, cmq: Directory, config: ManagementConfig) -> Arc<Api> {
        Arc::new(Api {
            broker: Arc::clone(views.broker()),
            views,
            node: node::name(),
            cmq,
            config,
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES_MAX)),
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            denied: Seldom::new(DENIED_LOGGED_MAX, DENIED_LOGGED_EVERY),
        })
    }
}
