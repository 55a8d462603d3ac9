//! The process, and totals of the whole broker.

use std::sync::Arc;

use super::node_view::{NodeView, Usage};
use super::set::SetView;
use super::sources::{AmqpLimits, NodeInfo, Views};
use crate::broker::alarms::Raised;
use crate::broker::queue::Queue;
use crate::broker::stats::{Churn, MessageStats, Totals};
use crate::memory::MemoryMonitor;
use crate::{files, memory, node};

/// Totals of the whole broker.
#[derive(Clone, Debug)]
pub struct OverviewView {
    pub objects: ObjectTotals,
    pub queue_totals: QueueTotals,
    pub message_stats: MessageStats,
    pub churn: Churn,
}

/// How many objects there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectTotals {
    pub vhosts: usize,
    pub connections: usize,
    pub channels: usize,
    pub exchanges: usize,
    pub queues: usize,
    pub consumers: u64,
}

/// Totals of the numbers of some queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueTotals {
    pub ready: u64,
    pub unacked: u64,
    pub consumers: u64,
}

impl QueueTotals {
    pub(super) fn of(queues: &[Arc<Queue>]) -> QueueTotals {
        let mut totals = QueueTotals::default();
        for counts in queues.iter().map(|queue| queue.counts()) {
            totals.ready = totals.ready.saturating_add(counts.ready);
            totals.unacked = totals.unacked.saturating_add(counts.unacked);
            totals.consumers = totals.consumers.saturating_add(counts.consumers);
        }
        totals
    }

    /// Ready and unacked messages.
    pub fn messages(&self) -> u64 {
        self.ready.saturating_add(self.unacked)
    }

    pub(super) fn add(&mut self, other: QueueTotals) {
        self.ready = self.ready.saturating_add(other.ready);
        self.unacked = self.unacked.saturating_add(other.unacked);
        self.consumers = self.consumers.saturating_add(other.consumers);
    }
}

impl NodeInfo {
    /// The process as it is now.
    pub fn view(&self, alarms: Raised, memory: &MemoryMonitor, usage: Usage) -> NodeView {
        NodeView {
            name: node::name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os_pid: std::process::id(),
            uptime: self.started.elapsed(),
            is_under_maintenance: *self.under_maintenance.borrow(),
            data_dir: self.data_dir.to_path_buf(),
            listeners: self.listeners.borrow().to_vec(),
            alarms,
            mem_used: memory::resident_bytes(),
            mem_limit: memory.limit_bytes(),
            disk_free: usage.disk_free,
            disk_free_limit: usage.disk_free_limit,
            fd_used: files::used(),
            fd_limit: files::limit(),
            connections: usage.connections,
            cluster_name: usage.cluster_name,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl Views {
    pub fn node(&self) -> NodeView {
        let committer = self.broker.committer();
        let usage = Usage {
            disk_free: committer.store().free_bytes(),
            disk_free_limit: committer.disk_free_min(),
            connections: self.broker.connections().len(),
            cluster_name: Some(self.broker.cluster_name()),
        };
        self.node.view(self.alarms.raised(), &self.memory, usage)
    }

    /// The set of this node; `None` if it runs by itself.
    pub fn set(&self) -> Option<SetView> {
        self.node.set.as_ref().map(|set| set.view())
    }

    /// What AMQP clients may do now.
    pub fn amqp_limits(&self) -> AmqpLimits {
        *self.node.amqp_limits.borrow()
    }

    /// The configuration that holds, as a file with the source of each option. Secrets are not shown.
    pub fn configuration(&self) -> Arc<str> {
        Arc::clone(&self.node.configuration.borrow())
    }

    /// Totals of the virtual hosts that `is_shown` selects by name.
    pub fn overview(&self, is_shown: impl Fn(&str) -> bool) -> OverviewView {
        let mut objects = ObjectTotals::default();
        let mut queue_totals = QueueTotals::default();
        let mut totals = Totals::default();
        let vhosts = self.broker.vhost_list();
        for vhost in vhosts.iter().filter(|vhost| is_shown(vhost.name())) {
            let queues = vhost.unordered_queues();
            objects.vhosts += 1;
            objects.exchanges += vhost.exchange_count();
            objects.queues += queues.len();
            queue_totals.add(QueueTotals::of(&queues));
            totals += vhost.stats().totals();
        }
        let connections = self.connections().into_iter();
        for connection in connections.filter(|connection| is_shown(&connection.info.vhost)) {
            objects.connections += 1;
            objects.channels += connection.status.channels.len();
        }
        objects.consumers = queue_totals.consumers;
        OverviewView {
            objects,
            queue_totals,
            message_stats: totals.messages(),
            churn: self.broker.stats().churn(),
        }
    }
}
