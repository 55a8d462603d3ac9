//! A virtual host: its exchanges, queues and bindings. Every change of them is proposed (`propose`), committed and
//! applied (`change`), as `definitions` says; of two connections that declare the same name, one creates and the other
//! finds. Knows no users and no rights; `session` asks for those first.
//!
//! Locks: `changes`, then the committer's batch guard, then a queue or `routing`, which is held for table
//! operations only. Nothing is held across an await: a change that is on its way to the disk holds claims instead.

mod change; // one change: what is written, and what happens in memory
mod claims; // what changes under way depend on
mod exchanges;
mod metadata;
mod propose; // whether a change is valid
mod queues;
mod restore;
mod routes;
#[cfg(test)]
mod tests;
mod under_way; // from a proposal to its conclusion

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

use super::definitions::queue_ids::QueueIds;
use super::error::Resource;
use super::exchange::{Binding, Destination, Exchange};
use super::limits::Limits;
use super::permissions::ResourceKind;
use super::queue::{Letters, MemoryBudget, Queue, QueueThreads, Timers};
use super::routing::Routing;
use crate::clock::Clock;
use crate::model::Name;
use crate::store::commit::Committer;
use crate::wire::FieldTable;

use exchanges::{PREDECLARED, REWIND};
use under_way::Changes;

pub use exchanges::REWIND_EXCHANGE;
pub use metadata::VhostMetadata;
pub use queues::NewQueue;

/// The longest name of a queue, exchange or virtual host in bytes: what a short string holds.
pub const NAME_BYTES_MAX: usize = 255;

/// What virtual hosts share.
pub(super) struct Shared {
    pub(super) committer: Arc<Committer>,
    pub(super) timers: Arc<Timers>,
    pub(super) clock: Arc<Clock>,
    pub(super) budget: Arc<MemoryBudget>,
    pub(super) threads: Arc<QueueThreads>,
    pub(super) letters: Arc<Letters>,
    pub(super) limits: Arc<Limits>,
    pub(super) ids: QueueIds,
}

/// What came of creating something.
#[derive(Debug)]
pub enum Created<T> {
    New(T),
    /// There is one of that name.
    Existing(T),
}

/// A virtual host.
pub struct Vhost {
    name: Name,
    metadata: Mutex<VhostMetadata>,
    routing: RwLock<Routing<Arc<Queue>>>,
    generation: AtomicU64,
    /// Held while a change is proposed and while it is applied.
    changes: Mutex<Changes>,
    /// A change that was under way is concluded.
    concluded: Notify,
    shared: Arc<Shared>,
    me: Weak<Vhost>,
}

impl Vhost {
    /// A virtual host with the exchanges that each one has.
    pub(super) fn new(name: Name, metadata: VhostMetadata, shared: Arc<Shared>) -> Arc<Vhost> {
        let mut routing = Routing::default();
        for (name, kind, internal) in PREDECLARED {
            routing.insert_exchange(Arc::new(Exchange {
                name: name.into(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: FieldTable::default(),
            }));
        }
        Arc::new_cyclic(|me| Vhost {
            name,
            metadata: Mutex::new(metadata),
            routing: RwLock::new(routing),
            generation: AtomicU64::new(1),
            changes: Mutex::default(),
            concluded: Notify::new(),
            shared,
            me: Weak::clone(me),
        })
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Changes with every exchange, queue and binding that comes or goes: routes found before are stale then.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// An exchange by name; the empty name is the default exchange's.
    pub fn exchange(&self, name: &str) -> Option<Arc<Exchange>> {
        let found = self.routing().exchange(name).cloned();
        found.or_else(|| (name == REWIND_EXCHANGE).then(|| Arc::clone(&REWIND)))
    }

    /// A queue by name.
    pub fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.routing().queue(name).cloned()
    }

    /// All exchanges, ordered by name.
    pub fn exchanges(&self) -> Vec<Arc<Exchange>> {
        let mut all: Vec<_> = self.routing().exchanges().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// All queues, ordered by name.
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        let mut all: Vec<_> = self.routing().queues().cloned().collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
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

    /// A thing in this virtual host, for texts.
    pub fn resource(&self, kind: ResourceKind, name: &str) -> Resource {
        Resource {
            kind,
            name: name.into(),
            vhost: self.name.clone(),
        }
    }

    fn routing(&self) -> RwLockReadGuard<'_, Routing<Arc<Queue>>> {
        self.routing.read()
    }

    /// Changes the routing state, and makes routes found before stale.
    fn change_routing<R>(&self, change: impl FnOnce(&mut Routing<Arc<Queue>>) -> R) -> R {
        let mut routing = self.routing.write();
        let result = change(&mut routing);
        self.generation.fetch_add(1, Ordering::Release);
        result
    }
}

impl std::fmt::Debug for Vhost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vhost")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
