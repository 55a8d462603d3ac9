//! A virtual host: its exchanges, queues and bindings, and every change of them. A change is checked, appended to
//! the batch that gathers and applied under one lock, so that of two connections that declare the same name one
//! creates and the other finds. Knows no users and no rights; `session` asks for those first.
//!
//! Locks: `changes`, then the committer's batch guard, then a queue or `routing`, which is held for table
//! operations only. Nothing is held across an await: who needs a change to be durable waits for its ticket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};

use super::access_records::{DefinitionError, Record};
use super::definitions::{BindingRecord, ExchangeRecord, QueueIds, QueueRecord, VhostRecord};
use super::error::{BrokerError, Resource};
use super::exchange::{Binding, Destination, Exchange, ExchangeKind, RouteKeys, keep_back};
use super::limits::Limits;
use super::permissions::ResourceKind;
use super::queue::{
    Counts, DeadLetter, MemoryBudget, Queue, QueueOwner, QueueServices, QueueSpec, Timers,
};
use super::router::{Held, Removed, Routing};
use crate::model::arguments::{QueueArguments, QueueKind};
use crate::model::{ConnectionId, LogId, Name, QueueId, QueueOverrides, Ticket};
use crate::store::commit::Committer;
use crate::store::{LogState, Op};
use crate::wire::FieldTable;

/// The longest name of a queue, exchange or virtual host in bytes: what a short string holds.
pub const NAME_BYTES_MAX: usize = 255;

/// What every virtual host has from the start: name, type, internal.
const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
    ("amq.topic", ExchangeKind::Topic, false),
];

/// What is published here is a request to rewind a queue. It can be declared again as what it is, a durable direct
/// exchange, but it is in no table: it cannot be bound, routes nothing and is not listed.
pub const REWIND_EXCHANGE: &str = "amq.leveret.rewind";

static REWIND: LazyLock<Arc<Exchange>> = LazyLock::new(|| {
    Arc::new(Exchange {
        name: REWIND_EXCHANGE.into(),
        kind: ExchangeKind::Direct,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    })
});

/// What virtual hosts share.
pub(super) struct Shared {
    pub(super) committer: Arc<Committer>,
    pub(super) timers: Arc<Timers>,
    pub(super) budget: Arc<MemoryBudget>,
    pub(super) limits: Arc<Limits>,
    pub(super) ids: QueueIds,
}

/// What an operator says of a virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostMetadata {
    /// For people.
    pub description: String,
    /// For tools.
    pub tags: Vec<Name>,
    /// The type of queues whose declaration names none; classic if `None`.
    pub default_queue_kind: Option<QueueKind>,
}

impl VhostMetadata {
    pub(super) fn record(&self, name: &Name) -> VhostRecord {
        VhostRecord {
            name: name.clone(),
            description: self.description.clone(),
            tags: self.tags.clone(),
            default_queue_type: self.default_queue_kind.map(|kind| kind.as_str().into()),
        }
    }

    pub(super) fn of_record(record: &VhostRecord) -> VhostMetadata {
        let named = record.default_queue_type.as_deref();
        VhostMetadata {
            description: record.description.clone(),
            tags: record.tags.clone(),
            default_queue_kind: QueueKind::ALL
                .into_iter()
                .find(|kind| Some(kind.as_str()) == named),
        }
    }
}

/// What came of creating something.
#[derive(Debug)]
pub enum Created<T> {
    /// It was not there. If it is durable, so it will be with this ticket.
    New(T, Option<Ticket>),
    /// There is one of that name.
    Existing(T),
}

/// A queue to be.
#[derive(Debug)]
pub struct NewQueue {
    /// Its name.
    pub name: Name,
    /// It is there after a restart.
    pub durable: bool,
    /// The connection that owns it, if it is exclusive.
    pub exclusive_owner: Option<ConnectionId>,
    /// It is deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// Its arguments, checked here.
    pub arguments: FieldTable,
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

    /// What an operator says of it.
    pub fn metadata(&self) -> VhostMetadata {
        lock(&self.metadata).clone()
    }

    /// Replaces what an operator says of it.
    pub(super) fn set_metadata(&self, metadata: VhostMetadata) -> Result<Ticket, BrokerError> {
        let mut changes = self.change()?;
        let ticket = self.append(&mut changes, vec![metadata.record(&self.name).put()]);
        *lock(&self.metadata) = metadata;
        Ok(ticket)
    }

    /// Changes with every exchange, queue and binding that comes or goes: routes found before are stale then.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The batch of the last durable change of definitions. When it is durable, so is all that can be seen here.
    pub fn settled(&self) -> Ticket {
        lock(&self.changes).last
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

    /// Appends the queues that a message goes to from `exchange`, each once. What it returns are those that get it
    /// later, through a delayed exchange: as [`keep_back`] makes it.
    #[must_use = "a message that is held still has to be published"]
    pub fn route(
        &self,
        exchange: &Exchange,
        keys: &RouteKeys<'_>,
        out: &mut Vec<Arc<Queue>>,
    ) -> Option<Held<Arc<Queue>>> {
        self.routing().route(&exchange.name, keys, out)
    }

    /// Whether messages with the same keys may go different ways from `exchange`, so that a route cannot be
    /// remembered by its key: there is a headers exchange on the way, or one that hashes a header, delays or draws lots.
    pub fn needs_headers(&self, exchange: &Exchange) -> bool {
        self.routing().needs_content(&exchange.name)
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

    /// Creates an exchange, unless there is one of that name.
    pub fn create_exchange(
        &self,
        exchange: Exchange,
    ) -> Result<Created<Arc<Exchange>>, BrokerError> {
        check_name(ResourceKind::Exchange, &exchange.name)?;
        let mut changes = self.change()?;
        if let Some(existing) = self.exchange(&exchange.name) {
            return Ok(Created::Existing(existing));
        }
        exchange.check_arguments()?;
        let exchange = Arc::new(exchange);
        let ticket = exchange.durable.then(|| {
            let record = ExchangeRecord::new(&self.name, &exchange);
            self.append(&mut changes, vec![record.put()])
        });
        self.apply(|routing| routing.insert_exchange(Arc::clone(&exchange)));
        Ok(Created::New(exchange, ticket))
    }

    /// Deletes an exchange with its bindings, and the exchanges that delete themselves for it; with `if_unused`
    /// only if nothing is bound to it.
    pub fn delete_exchange(
        &self,
        name: &str,
        if_unused: bool,
    ) -> Result<Option<Ticket>, BrokerError> {
        let mut changes = self.change()?;
        let in_use = if_unused && self.routing().is_used(name);
        if in_use {
            return Err(BrokerError::InUse(
                self.resource(ResourceKind::Exchange, name),
            ));
        }
        let removed = self.apply(|routing| routing.remove_exchange(name));
        Ok(self.append_removed(&mut changes, &removed, Vec::new()))
    }

    /// Creates a queue, unless there is one of that name. Its arguments, the limit of queues and what its type
    /// requires are checked in this order, as RabbitMQ does.
    pub fn create_queue(&self, new: NewQueue) -> Result<Created<Arc<Queue>>, BrokerError> {
        self.create_queue_with(new, |_| Vec::new())
    }

    /// As [`Vhost::create_queue`]; what `also` writes of a durable queue is there from the same batch on.
    pub fn create_queue_with(
        &self,
        new: NewQueue,
        also: impl FnOnce(QueueId) -> Vec<Op>,
    ) -> Result<Created<Arc<Queue>>, BrokerError> {
        self.create_queue_set(new, QueueOverrides::default(), also)
    }

    /// As [`Vhost::create_queue_with`], with overrides from the start.
    pub fn create_queue_set(
        &self,
        new: NewQueue,
        overrides: QueueOverrides,
        also: impl FnOnce(QueueId) -> Vec<Op>,
    ) -> Result<Created<Arc<Queue>>, BrokerError> {
        check_name(ResourceKind::Queue, &new.name)?;
        let mut changes = self.change()?;
        if let Some(existing) = self.queue(&new.name) {
            return Ok(Created::Existing(existing));
        }
        let resource = || self.resource(ResourceKind::Queue, &new.name);
        let arguments = QueueArguments::shared(&new.arguments).map_err(|error| {
            BrokerError::InvalidArgument {
                queue: resource(),
                error,
            }
        })?;
        let existing = self.routing().queue_count();
        let limits = self.shared.limits.of_vhost(&self.name);
        limits.check_queue(&self.name, &new.name, existing)?;
        let exclusive = new.exclusive_owner.is_some();
        arguments
            .check_properties(new.durable, exclusive, new.auto_delete)
            .map_err(|property| BrokerError::InvalidProperty {
                queue: resource(),
                property,
            })?;
        arguments
            .check_sizes()
            .map_err(|text| BrokerError::Refused(text.to_owned()))?;
        let spec = QueueSpec {
            id: self.shared.ids.next(),
            name: new.name.clone(),
            durable: new.durable,
            exclusive_owner: new.exclusive_owner,
            auto_delete: new.auto_delete,
            arguments,
        };
        let ticket = spec.durable.then(|| {
            let record = QueueRecord::new(&self.name, &spec, overrides.clone());
            let mut ops = vec![record.put()];
            ops.extend(also(spec.id));
            self.append(&mut changes, ops)
        });
        let queue = Queue::open_with(spec, overrides, self.queue_services(), Vec::new());
        queue.start();
        self.apply(|routing| routing.insert_queue(new.name, Arc::clone(&queue)));
        Ok(Created::New(queue, ticket))
    }

    /// Replaces what holds instead of a queue's arguments, at once and, if it is durable, after a restart. The ticket
    /// tells when that is on disk.
    ///
    /// # Errors
    /// If there is no such queue, or if it is a stream.
    pub fn set_queue_overrides(
        &self,
        name: &str,
        overrides: QueueOverrides,
    ) -> Result<Ticket, BrokerError> {
        self.set_queue_overrides_with(name, overrides, |_| Vec::new())
    }

    /// As [`Vhost::set_queue_overrides`]; what `also` writes of a durable queue is in the same batch.
    ///
    /// # Errors
    /// As [`Vhost::set_queue_overrides`].
    pub fn set_queue_overrides_with(
        &self,
        name: &str,
        overrides: QueueOverrides,
        also: impl FnOnce(QueueId) -> Vec<Op>,
    ) -> Result<Ticket, BrokerError> {
        let mut changes = self.change()?;
        let queue = self
            .queue(name)
            .ok_or_else(|| BrokerError::NotFound(self.resource(ResourceKind::Queue, name)))?;
        let spec = queue.spec();
        if spec.arguments.kind == QueueKind::Stream {
            return Err(BrokerError::Refused(format!(
                "what {} was declared with cannot be changed: it is a stream",
                self.resource(ResourceKind::Queue, name)
            )));
        }
        if spec.durable {
            let mut ops = vec![QueueRecord::new(&self.name, spec, overrides.clone()).put()];
            ops.extend(also(spec.id));
            self.append(&mut changes, ops);
        }
        queue.reconfigure(overrides);
        queue.tick();
        Ok(changes.last)
    }

    /// Deletes a queue with its bindings and messages, if `only_if` agrees to its numbers as they are then. `None` if
    /// it does not, or if the queue was deleted before.
    pub fn delete_queue(
        &self,
        queue: &Arc<Queue>,
        only_if: impl FnOnce(&Counts) -> bool,
    ) -> Option<(Counts, Ticket)> {
        let mut changes = lock(&self.changes);
        // One batch, so that after a crash the queue is there with its messages or not at all.
        let _one_batch = self.shared.committer.batch_guard();
        let (counts, ticket) = queue.delete(only_if)?;
        let known = self.queue(queue.name());
        if !known.is_some_and(|known| Arc::ptr_eq(&known, queue)) {
            return Some((counts, ticket));
        }
        let removed = self.apply(|routing| routing.remove_queue(queue.name()));
        let mut ops = Vec::new();
        if queue.spec().durable {
            ops.push(QueueRecord::remove(&[&self.name, queue.name()]));
        }
        let appended = self.append_removed(&mut changes, &removed, ops);
        Some((counts, appended.unwrap_or(ticket)))
    }

    /// Binds, unless it is bound so already. `check` is asked about a queue that is the destination.
    pub fn bind(
        &self,
        mut binding: Binding,
        check: impl FnOnce(&Arc<Queue>) -> Result<(), BrokerError>,
    ) -> Result<Option<Ticket>, BrokerError> {
        let mut changes = self.change()?;
        let source = self.exchange(&binding.source).ok_or_else(|| {
            BrokerError::NotFound(self.resource(ResourceKind::Exchange, &binding.source))
        })?;
        let durable = match &binding.destination {
            Destination::Queue(name) => {
                let queue = self.queue(name).ok_or_else(|| {
                    BrokerError::NotFound(self.resource(ResourceKind::Queue, name))
                })?;
                check(&queue)?;
                queue.spec().durable
            }
            Destination::Exchange(name) => {
                let exchange = self.exchange(name).ok_or_else(|| {
                    BrokerError::NotFound(self.resource(ResourceKind::Exchange, name))
                })?;
                exchange.durable
            }
        };
        source.check_binding(&binding.routing_key, &binding.arguments)?;
        if self.routing().binding(&binding).is_some() {
            return Ok(Some(changes.last));
        }
        binding.durable = source.durable && durable;
        let ticket = binding.durable.then(|| {
            let record = BindingRecord::new(&self.name, &binding);
            self.append(&mut changes, vec![record.put()])
        });
        self.apply(|routing| routing.bind(Arc::new(binding)));
        Ok(ticket)
    }

    /// Removes a binding, and the exchanges that delete themselves for it. Nothing if there is none.
    pub fn unbind(&self, binding: &Binding) -> Result<Option<Ticket>, BrokerError> {
        let mut changes = self.change()?;
        let bound = self.routing().binding(binding).is_some();
        if !bound {
            return Ok(None);
        }
        let removed = self.apply(|routing| routing.unbind(binding));
        Ok(self.append_removed(&mut changes, &removed, Vec::new()))
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

    /// Takes over what was stored. Before anybody else sees the virtual host.
    pub(super) fn restore_exchange(&self, record: &ExchangeRecord) -> Result<(), DefinitionError> {
        let exchange = Arc::new(record.exchange()?);
        self.apply(|routing| routing.insert_exchange(exchange));
        Ok(())
    }

    /// Takes over a queue that was stored, with what the store knows of its logs.
    pub(super) fn restore_queue(
        &self,
        spec: QueueSpec,
        overrides: QueueOverrides,
        logs: Vec<(LogId, LogState)>,
    ) {
        // So that it cannot go before it has come.
        let _changes = lock(&self.changes);
        let name = spec.name.clone();
        let queue = Queue::open_with(spec, overrides, self.queue_services(), logs);
        self.apply(|routing| routing.insert_queue(name, queue));
    }

    /// Takes over a binding that was stored.
    pub(super) fn restore_binding(&self, record: &BindingRecord) -> Result<(), DefinitionError> {
        let binding = Arc::new(record.binding()?);
        self.apply(|routing| {
            // A binding goes with the things it binds, in one batch.
            if routing.exists(&binding.destination) {
                routing.bind(binding);
            }
        });
        Ok(())
    }

    /// Everything that was stored is here: the queues begin to work.
    pub(super) fn start_queues(&self) {
        // None of them is new, so nobody waits for the routing meanwhile.
        self.queues().iter().for_each(|queue| queue.start());
    }

    /// A thing in this virtual host, for texts.
    pub fn resource(&self, kind: ResourceKind, name: &str) -> Resource {
        Resource {
            kind,
            name: name.into(),
            vhost: self.name.clone(),
        }
    }

    fn queue_services(&self) -> QueueServices {
        QueueServices {
            committer: Arc::clone(&self.shared.committer),
            timers: Arc::clone(&self.shared.timers),
            budget: Arc::clone(&self.shared.budget),
            owner: self.me.clone(),
        }
    }

    fn routing(&self) -> RwLockReadGuard<'_, Routing<Arc<Queue>>> {
        self.routing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the routing state, and makes routes found before stale.
    fn apply<R>(&self, change: impl FnOnce(&mut Routing<Arc<Queue>>) -> R) -> R {
        let mut routing = self.routing.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut routing);
        self.generation.fetch_add(1, Ordering::Release);
        result
    }

    fn change(&self) -> Result<MutexGuard<'_, Changes>, BrokerError> {
        let changes = lock(&self.changes);
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

impl QueueOwner for Vhost {
    fn route_dead_letter(&self, letter: &DeadLetter) -> Vec<Arc<Queue>> {
        let mut queues = Vec::new();
        if let Some((first, further)) = letter.routing_keys.split_first() {
            let cc: Vec<&str> = further.iter().map(|key| &**key).collect();
            let keys = RouteKeys {
                routing_key: first,
                cc: &cc,
                properties: &letter.message.properties,
            };
            let held = self.routing().route(letter.exchange(), &keys, &mut queues);
            if let Some(Held { delay_ms, queues }) = held {
                let message = [keep_back(&letter.message, delay_ms)];
                for queue in queues
                    .iter()
                    .filter(|queue| !letter.would_cycle(queue.name()))
                {
                    // The queue that the letter comes from holds the batch: nobody waits for this ticket alone.
                    queue.publish(&message);
                }
            }
        }
        queues
    }

    fn queue_unused(&self, queue: &Arc<Queue>) {
        self.delete_queue(queue, |counts| counts.consumers == 0);
    }

    fn queue_expired(&self, queue: &Arc<Queue>) {
        let (Some(me), queue) = (self.me.upgrade(), Arc::clone(queue)) else {
            return;
        };
        // Not here: a queue may find that its time is over while it is being created, under our lock.
        tokio::spawn(async move { me.delete_queue(&queue, |counts| counts.consumers == 0) });
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under one of these locks leaves tables that are whole, if perhaps one change behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
