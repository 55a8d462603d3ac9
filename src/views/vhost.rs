//! Virtual hosts.

use std::sync::Arc;

use super::node::QueueTotals;
use super::sources::Views;
use crate::broker::stats::MessageStats;
use crate::broker::vhost::{Vhost, VhostMetadata};
use crate::model::Name;

/// A virtual host.
#[derive(Clone, Debug)]
pub struct VhostView {
    pub name: Name,
    pub metadata: VhostMetadata,
    /// Whether the firehose copies its messages.
    pub is_traced: bool,
    /// Totals of all its queues.
    pub queue_totals: QueueTotals,
    pub message_stats: MessageStats,
    /// Bytes that AMQP clients have sent and been sent.
    pub received_bytes: u64,
    pub sent_bytes: u64,
}

impl Views {
    /// All virtual hosts, ordered by name.
    pub fn vhosts(&self) -> Vec<VhostView> {
        let all = self.broker.vhost_list();
        all.iter().map(vhost_view).collect()
    }

    pub fn vhost(&self, name: &str) -> Option<VhostView> {
        self.vhost_of(name).as_ref().map(vhost_view)
    }
}

fn vhost_view(vhost: &Arc<Vhost>) -> VhostView {
    let stats = vhost.stats().totals();
    VhostView {
        name: vhost.name().clone(),
        metadata: vhost.metadata(),
        is_traced: vhost.is_traced(),
        queue_totals: QueueTotals::of(&vhost.unordered_queues()),
        message_stats: stats.messages(),
        received_bytes: stats.received_bytes,
        sent_bytes: stats.sent_bytes,
    }
}
