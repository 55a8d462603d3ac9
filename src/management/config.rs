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
    /// Origins whose pages may use the API; `*` is any.
    pub cors_origins: Vec<String>,
    /// Certificates of the listeners with TLS.
    pub tls: Option<Arc<Tls>>,
}
