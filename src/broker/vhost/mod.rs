//! A virtual host: its exchanges, queues and bindings, and every change of them. A change is checked, appended to
//! the batch that gathers and applied under one lock, so that of two connections that declare the same name one
//! creates and the other finds. Knows no users and no rights; `session` asks for those first.
//!
//! Locks: `changes`, then the committer's batch guard, then a queue or `routing`, which is held for table
//! operations only. Nothing is held across an await: who needs a change to be durable waits for its ticket.
//!
//! Here: what there is, and how a change is made. The changes themselves have files of their own.

mod exchanges;
mod metadata;
mod queues;
mod restore;
mod routes;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

use super::access_records::Record;
use super::definitions::{BindingRecord, ExchangeRecord, QueueIds, QueueRecord};
use super::error::{BrokerError, Resource};
use super::exchange::{Binding, Destination, Exchange};
use super::limits::Limits;
use super::permissions::ResourceKind;
use super::queue::{Letters, MemoryBudget, Queue, QueueThreads, Timers};
use super::router::{Removed, Routing};
use crate::clock::Clock;
use crate::model::{Name, Ticket};
use crate::store::Op;
use crate::store::commit::Committer;
use crate::wire::FieldTable;

use exchanges::{PREDECLARED, REWIND};

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
    /// It was not there. If it is durable, so it will be with this ticket.
    New(T, Option<Ticket>),
    /// There is one of that name.
    Existing(T),
}

/// A virtual host.
pub struct Vhost {
    name: Name,
    metadata: Mutex<VhostMetadata>,
    routing: RwLock<Routing<Arc<Queue>>>,
    generation: AtomicU64,
    /// Held by whoever changes definitions.
    changes: Mutex<Changes>,
    shared: Arc<Shared>,
    me: Weak<Vhost>,
}

struct Changes {
    deleted: bool,
    /// The batch of the last durable change.
    last: Ticket,
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
            changes: Mutex::new(Changes {
                deleted: false,
                last: Ticket(0),
            }),
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

    /// The batch of the last durable change of definitions. When it is durable, so is all that can be seen here.
    pub fn settled(&self) -> Ticket {
        self.changes.lock().last
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

    /// Empties the virtual host for good, with `ops` in the same batch. `None` if that was done before.
    pub(super) fn delete(&self, mut ops: Vec<Op>) -> Option<Ticket> {
        let mut changes = self.change().ok()?;
        changes.deleted = true;
        let _one_batch = self.shared.committer.batch_guard();
        let routing = self.apply(std::mem::take);
        for queue in routing.queues() {
            // None: it deletes itself right now.
            queue.delete(|_| true);
            if queue.spec().durable {
                ops.push(QueueRecord::remove(&[&self.name, queue.name()]));
            }
        }
        let removed = Removed {
            exchanges: routing.exchanges().cloned().collect(),
            bindings: routing.bindings().cloned().collect(),
        };
        self.append_removed(&mut changes, &removed, ops)
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
    fn apply<R>(&self, change: impl FnOnce(&mut Routing<Arc<Queue>>) -> R) -> R {
        let mut routing = self.routing.write();
        let result = change(&mut routing);
        self.generation.fetch_add(1, Ordering::Release);
        result
    }

    fn change(&self) -> Result<MutexGuard<'_, Changes>, BrokerError> {
        let changes = self.changes.lock();
        match changes.deleted {
            true => Err(BrokerError::VhostNotFound(self.name.clone())),
            false => Ok(changes),
        }
    }

    fn append(&self, changes: &mut Changes, ops: Vec<Op>) -> Ticket {
        changes.last = self.shared.committer.append(ops);
        changes.last
    }

    /// Removes from disk what was removed and had been durable, along with `ops`. `None` if that is nothing.
    fn append_removed(
        &self,
        changes: &mut Changes,
        removed: &Removed,
        mut ops: Vec<Op>,
    ) -> Option<Ticket> {
        for exchange in removed.exchanges.iter().filter(|exchange| exchange.durable) {
            ops.push(ExchangeRecord::remove(&[&self.name, &exchange.name]));
        }
        for binding in removed.bindings.iter().filter(|binding| binding.durable) {
            let record = BindingRecord::new(&self.name, binding);
            ops.push(BindingRecord::remove(&record.identity()));
        }
        (!ops.is_empty()).then(|| self.append(changes, ops))
    }
}

impl std::fmt::Debug for Vhost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vhost")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn check_name(kind: ResourceKind, name: &str) -> Result<(), BrokerError> {
    match name.len() {
        len if len > NAME_BYTES_MAX => Err(BrokerError::NameTooLong(kind)),
        _ => Ok(()),
    }
}
