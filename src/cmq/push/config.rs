//! What an operator may configure of pushing.

use std::time::Duration;

use crate::model::IpRange;

/// How much longer a message is leased than its push may take.
pub(super) const LEASE_MARGIN: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushConfig {
    /// Length of a second in the retry strategies.
    pub second: Duration,
    /// Time that an endpoint has to answer.
    pub timeout: Duration,
    /// Maximum number of concurrent pushes.
    pub connections_max: usize,
    /// Maximum number of concurrent pushes to one host and port.
    pub endpoint_connections_max: usize,
    /// Addresses beyond the public network that messages may be pushed to.
    pub allowed: Vec<IpRange>,
}

impl PushConfig {
    /// How long a message is leased while it is pushed.
    pub(super) fn lease(&self) -> Duration {
        self.timeout + LEASE_MARGIN
    }
}

#[cfg(test)]
impl PushConfig {
    /// Allows the public network only.
    pub(super) fn closed() -> PushConfig {
        PushConfig {
            second: Duration::from_secs(1),
            timeout: Duration::from_secs(15),
            connections_max: 4,
            endpoint_connections_max: 2,
            allowed: Vec::new(),
        }
    }
}
