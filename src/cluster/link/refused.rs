//! Why a node refuses the link of another, and how often that is logged.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;

use super::limits::{REFUSALS_LOGGED_EVERY, REFUSED_ADDRESSES_MAX};
use crate::clock::monotonic;
use crate::seldom::{Seldom, Unsaid};

/// Why an accepting node refuses one that dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the nodes' shared secrets differ")]
    Secret,
    #[error("it belongs to another set")]
    Set,
    #[error(
        "it has the same id: one address is given twice, or a data directory was copied from another node"
    )]
    OwnId,
    #[error("the nodes' clocks are apart: the dialing node's is {ahead_ms} ms ahead")]
    ClocksApart { ahead_ms: i64 },
}

/// Logs refusals, once a minute per address.
#[derive(Debug)]
pub(super) struct RefusalLog {
    addresses: Mutex<HashMap<String, Refusals>>,
    /// For addresses beyond those that are remembered.
    others: Seldom,
}

#[derive(Debug)]
struct Refusals {
    logged: Instant,
    unsaid: u64,
}

impl Default for RefusalLog {
    fn default() -> RefusalLog {
        RefusalLog {
            addresses: Mutex::default(),
            others: Seldom::new(1, REFUSALS_LOGGED_EVERY),
        }
    }
}

impl RefusalLog {
    /// A node was refused, by this one or by the other.
    pub(super) fn note(&self, address: &str, why: &str) {
        match self.passes(address, monotonic()) {
            Some(unsaid) => tracing::warn!(%address, %unsaid, "no link between nodes: {why}"),
            None => tracing::debug!(%address, "no link between nodes: {why}"),
        }
    }

    fn passes(&self, address: &str, now: Instant) -> Option<Unsaid> {
        let mut addresses = self.addresses.lock();
        if let Some(known) = addresses.get_mut(address) {
            if now.duration_since(known.logged) < REFUSALS_LOGGED_EVERY {
                known.unsaid += 1;
                return None;
            }
            let unsaid = std::mem::take(&mut known.unsaid);
            known.logged = now;
            return Some(Unsaid(unsaid));
        }
        if addresses.len() >= REFUSED_ADDRESSES_MAX {
            addresses.retain(|_, known| now.duration_since(known.logged) < REFUSALS_LOGGED_EVERY);
        }
        if addresses.len() >= REFUSED_ADDRESSES_MAX {
            return self.others.passes(now);
        }
        let first = Refusals {
            logged: now,
            unsaid: 0,
        };
        addresses.insert(address.to_owned(), first);
        Some(Unsaid(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_address_is_logged_once_a_minute_and_few_addresses_are_remembered() {
        let log = RefusalLog::default();
        let begun = monotonic();
        let at = |secs| begun + Duration::from_secs(secs);
        assert_eq!(log.passes("a", at(0)), Some(Unsaid(0)));
        assert_eq!(log.passes("a", at(59)), None);
        assert_eq!(log.passes("b", at(59)), Some(Unsaid(0)));
        assert_eq!(log.passes("a", at(60)), Some(Unsaid(1)));
        let passed = (0..10 * REFUSED_ADDRESSES_MAX)
            .filter(|n| log.passes(&n.to_string(), at(61)).is_some())
            .count();
        // Those that are remembered, and one line of all others.
        assert_eq!(passed, REFUSED_ADDRESSES_MAX - 2 + 1);
        assert_eq!(log.addresses.lock().len(), REFUSED_ADDRESSES_MAX);
    }
}
