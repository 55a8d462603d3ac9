//! What the whole broker counts: churn, and totals of all virtual hosts, deleted ones included.

use std::sync::Arc;

use parking_lot::Mutex;

use super::counter::family;
use super::requests::RequestCounts;
use super::vhost_stats::{Totals, VhostStats};

family! {
    /// How many objects came and went.
    Churn, raised as ChurnCounters {
        connection_created,
        connection_closed,
        channel_created,
        channel_closed,
        /// Declarations, those of existing queues included.
        queue_declared,
        queue_created,
        queue_deleted,
    }
}

#[derive(Debug, Default)]
pub struct BrokerStats {
    pub(crate) churn: ChurnCounters,
    /// Requests to CMQ's API.
    pub cmq_requests: RequestCounts,
    vhosts: Mutex<Vhosts>,
}

#[derive(Debug, Default)]
struct Vhosts {
    live: Vec<Arc<VhostStats>>,
    /// Totals of virtual hosts that are gone.
    gone: Totals,
}

impl BrokerStats {
    /// Counters for a new virtual host.
    pub(in crate::broker) fn vhost(&self) -> Arc<VhostStats> {
        let stats = Arc::<VhostStats>::default();
        self.vhosts.lock().live.push(Arc::clone(&stats));
        stats
    }

    /// Keeps the totals of a virtual host that is gone, so that those of the broker never fall.
    pub(in crate::broker) fn vhost_gone(&self, stats: &Arc<VhostStats>) {
        let mut vhosts = self.vhosts.lock();
        vhosts.live.retain(|live| !Arc::ptr_eq(live, stats));
        vhosts.gone += stats.totals();
    }

    /// How many objects came and went since the broker started.
    pub fn churn(&self) -> Churn {
        self.churn.get()
    }

    /// Totals of all virtual hosts.
    pub fn totals(&self) -> Totals {
        let vhosts = self.vhosts.lock();
        let mut totals = vhosts.gone;
        vhosts
            .live
            .iter()
            .for_each(|vhost| totals += vhost.totals());
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::stats::{HandedOut, Protocol, Published, Sizes};
    use crate::model::arguments::QueueKind;

    #[test]
    fn totals_outlive_a_virtual_host() {
        let stats = BrokerStats::default();
        let (first, second) = (stats.vhost(), stats.vhost());
        for (vhost, received) in [(&first, 3), (&second, 4)] {
            let published = Published {
                received,
                ..Published::default()
            };
            vhost.count_published(Protocol::Amqp, &published, &Sizes::default());
        }
        let handed_out = HandedOut {
            deliver: 2,
            ..HandedOut::default()
        };
        first.count_handed_out(Protocol::Cmq, QueueKind::Quorum, &handed_out);
        let before = stats.totals();
        assert_eq!(
            (before.messages().publish, before.messages().deliver),
            (7, 2)
        );
        stats.vhost_gone(&first);
        assert_eq!(stats.totals(), before);
        drop(first);
        assert_eq!(stats.totals(), before);
    }
}
