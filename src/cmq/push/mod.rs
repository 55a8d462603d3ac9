//! Pushing: messages of subscriptions with an HTTP endpoint wait in queues of the broker's own and are posted there; and
//! so wait messages that a subscribed queue did not take, to be offered to it again. One worker per subscription takes them by lease, so that a message is gone only when its endpoint has it or its retries
//! are over; what a restart interrupts comes again. The worker's waits between attempts are leases too.

mod address; // which addresses are allowed
mod connections; // connections to endpoints
mod request; // what a push looks like
mod resolver; // the addresses of names
mod retry; // when to try again
mod supervisor; // which workers there are
mod target; // the URL of an endpoint
mod waiting; // queues in which messages wait
mod worker; // one subscription

use std::time::Duration;

use crate::model::IpRange;

pub(crate) use resolver::Resolver;
pub(crate) use target::check_endpoint;
pub(crate) use waiting::{keep_for, queue_of, waiting_in};

/// How much longer a message is held than its push may take.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// What an operator may say about pushing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushConfig {
    /// How long a second of the retry strategies is.
    pub second: Duration,
    /// How long an endpoint has to answer.
    pub timeout: Duration,
    /// Pushes under way at once.
    pub connections_max: usize,
    /// Pushes under way at once to one host and port.
    pub endpoint_connections_max: usize,
    /// Addresses beyond the public network that may be pushed to.
    pub allowed: Vec<IpRange>,
}

#[cfg(test)]
impl PushConfig {
    /// As nothing was configured.
    fn closed() -> PushConfig {
        PushConfig {
            second: Duration::from_secs(1),
            timeout: Duration::from_secs(15),
            connections_max: 4,
            endpoint_connections_max: 2,
            allowed: Vec::new(),
        }
    }
}

/// For how long a message is held while it is pushed, in milliseconds.
pub(crate) fn lease_ms(timeout: Duration) -> u64 {
    u64::try_from((timeout + LEASE_MARGIN).as_millis()).unwrap_or(u64::MAX)
}
