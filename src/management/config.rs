//! What an operator may configure of the API.

use std::sync::Arc;
use std::time::Duration;

use crate::net::{Capacity, Tls};

#[derive(Clone, Debug)]
pub struct ManagementConfig {
    /// Connections of clients that have logged in, and of newcomers.
    pub connections: Capacity,
    /// Time that a newcomer has for its first request with a login.
    pub newcomer_timeout: Duration,
    /// How long consumers may take to acknowledge a delivery where nothing else says so, in milliseconds; 0 is no limit.
    pub consumer_timeout_ms: u64,
    /// Origins whose pages may use the API; `*` is any.
    pub cors_origins: Vec<String>,
    /// Maximum number of open connections of AMQP clients.
    pub amqp_connections_max: usize,
    /// Certificates of the listeners with TLS.
    pub tls: Option<Arc<Tls>>,
}
