//! A virtual host: its parts, and lookups by name.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

use crate::broker::definitions::queue_ids::QueueIds;
use crate::broker::definitions::table::Serialised;
use crate::broker::error::Resource;
use crate::broker::exchange::{Binding, Destination, Exchange};
use crate::broker::limits::Limits;
use crate::broker::permissions::ResourceKind;
use crate::broker::policies::PolicyTable;
use crate::broker::queue::{Letters, MemoryBudget, Queue, QueueThreads, Timers};
use crate::broker::routing::Routing;
use crate::broker::stats::{BrokerStats, VhostStats};
use crate::clock::Clock;
use crate::model::Name;
use crate::model::arguments::QueueKind;
use crate::store::commit::Committer;
use crate::wire::FieldTable;

use super::changes::Changes;
use super::metadata::VhostMetadata;
use super::predeclared::{PREDECLARED, find_unlisted};

/// The services that virtual hosts share.
pub(in crate::broker) struct Shared {
    pub(in crate::broker) committer: Arc<Committer>,
    pub(in crate::broker) timers: Arc<Timers>,
    pub(in crate::broker) clock: Arc<Clock>,
    pub(in crate::broker) budget: Arc<MemoryBudget>,
    pub(in crate::broker) threads: Arc<QueueThreads>,
    pub(in crate::broker) letters: Arc<Letters>,
    pub(in crate::broker) limits: Arc<Limits>,
    pub(in crate::broker) ids: QueueIds,
    pub(in crate::broker) stats: Arc<BrokerStats>,
    /// The type of queues in virtual hosts that name none.
    pub(in crate::broker) default_queue_kind: Option<QueueKind>,
}

/// A virtual host.
pub struct Vhost {
    pub(super) name: Name,
    metadata: Mutex<VhostMetadata>,
    pub(super) routing: RwLock<Routing<Arc<Queue>>>,
    pub(super) policies: Serialised<PolicyTable>,
    pub(super) generation: AtomicU64,
    /// See [`Vhost::is_traced`].
    traced: AtomicBool,
    /// Held while a change is proposed and while it is applied.
    pub(super) changes: Mutex<Changes>,
    /// Notified when a change is concluded.
    pub(super) concluded: Notify,
    pub(super) shared: Arc<Shared>,
    pub(super) stats: Arc<VhostStats>,
    pub(super) me: Weak<Vhost>,
}

impl Vhost {
    /// A virtual host with the predeclared exchanges.
    pub(in crate::broker) fn new(
        name: Name,
        metadata: VhostMetadata,
        shared: Arc<Shared>,
    ) -> Arc<Vhost> {
        let mut routing = Routing::default();
        for (name, kind, internal) in PREDECLARED {
            routing.insert_exchange(Arc::new(Exchange {
                name: name.into(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: FieldTable::default(),
                stats: Arc::default(),
            }));
        }
        let stats = shared.stats.vhost();
        let committer = Arc::clone(&shared.committer);
        let policies = Serialised::new(PolicyTable::new(name.clone()), committer);
        Arc::new_cyclic(|me| Vhost {
            name,
            policies,
            metadata: Mutex::new(metadata),
            routing: RwLock::new(routing),
            generation: AtomicU64::new(1),
            traced: AtomicBool::new(false),
            changes: Mutex::default(),
            concluded: Notify::new(),
            shared,
            stats,
            me: Weak::clone(me),
        })
    }

    /// With the broker's type of queues if the virtual host has none of its own.
    pub fn metadata(&self) -> VhostMetadata {
        let own = self.metadata.lock().clone();
        VhostMetadata {
            default_queue_kind: own.default_queue_kind.or(self.shared.default_queue_kind),
            ..own
        }
    }

    pub(in crate::broker) fn set_metadata(&self, metadata: VhostMetadata) {
        *self.metadata.lock() = metadata;
    }

    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What its clients do.
    pub fn stats(&self) -> &VhostStats {
        &self.stats
    }

    pub fn broker_stats(&self) -> &BrokerStats {
        &self.shared.stats
    }

    /// Changes with every change of exchanges, queues and bindings: earlier routes are stale then.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether the firehose copies publishes and deliveries. One load: connections ask before every run of deliveries.
    pub fn is_traced(&self) -> bool {
        self.traced.load(Ordering::Relaxed)
    }

    /// Turns tracing on or off, until the broker stops. Earlier routes are stale then, since each knows whether its
    /// publishes are traced.
    pub fn set_traced(&self, traced: bool) {
        let vhost = &self.name;
        let was_traced = self.traced.swap(traced, Ordering::Release);
        self.generation.fetch_add(1, Ordering::Release);
        match (was_traced, traced) {
            (false, true) => tracing::info!(%vhost, "tracing is on"),
            (true, false) => tracing::info!(%vhost, "tracing is off"),
            (true, true) | (false, false) => {}
        }
    }

    /// An exchange by name. The default exchange has the empty name.
    pub fn exchange(&self, name: &str) -> Option<Arc<Exchange>> {
        let found = self.routing().exchange(name).cloned();
        found.or_else(|| find_unlisted(name))
    }

    pub fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.routing().queue(name).cloned()
    }

    /// All exchanges, ordered by name.
    pub fn exchanges(&self) -> Vec<Arc<Exchange>> {
        let mut all: Vec<_> = self.routing().exchanges().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    pub fn exchange_count(&self) -> usize {
        self.routing().exchanges().count()
    }

    /// All queues, ordered by name.
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        let mut all: Vec<_> = self.routing().queues().cloned().collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// All queues, in no order.
    pub fn unordered_queues(&self) -> Vec<Arc<Queue>> {
        self.routing().queues().cloned().collect()
    }

    /// All bindings, those of queues to the default exchange first, ordered by source, destination and key.
    pub fn bindings(&self) -> Vec<Arc<Binding>> {
        let routing = self.routing();
        let default = routing.queues().map(|queue| {
            let name = queue.name().clone();
            let to = Destination::Queue(name.clone());
            Arc::new(Binding::new("".into(), to, name, FieldTable::default()))
        });
        let mut all: Vec<_> = default.chain(routing.bindings().cloned()).collect();
        drop(routing);
        all.sort_by(|a, b| {
            let key = |binding: &Binding| {
                let Binding {
                    source,
                    destination,
                    routing_key,
                    ..
                } = binding;
                (source.clone(), destination.clone(), routing_key.clone())
            };
            key(a).cmp(&key(b))
        });
        all
    }

    /// The full name of a queue or exchange, for texts.
    pub fn resource(&self, kind: ResourceKind, name: &str) -> Resource {
        Resource {
            kind,
            name: name.into(),
            vhost: self.name.clone(),
        }
    }

    pub(super) fn routing(&self) -> RwLockReadGuard<'_, Routing<Arc<Queue>>> {
        self.routing.read()
    }

    /// Changes the routing state, and makes earlier routes stale.
    pub(super) fn change_routing<R>(
        &self,
        change: impl FnOnce(&mut Routing<Arc<Queue>>) -> R,
    ) -> R {
        let mut routing = self.routing.write();
        let result = change(&mut routing);
        self.generation.fetch_add(1, Ordering::Release);
        result
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        self.shared.stats.vhost_gone(&self.stats);
    }
}

impl std::fmt::Debug for Vhost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vhost")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
