//! Queues: the handle that connections hold, and the thin shell that carries out what the pure state machine
//! (`machine`) decides. Every call locks the queue, applies a run of commands, carries out the effects and unlocks;
//! the lock is never held across an await. Lock order: batch guard, queue, sink, committer.

mod block;
mod budget;
mod consumers;
mod damage;
mod dead_letter;
mod delayed;
mod effects;
mod graves;
mod hand;
mod handle; // the names of receives
mod keeps;
mod lane;
mod lease;
#[cfg(test)]
mod lease_tests;
mod ledger;
mod letters;
mod limiter;
mod machine;
mod pages;
mod picks;
mod reads;
mod receipts;
#[cfg(test)]
mod receive_tests;
mod retention;
mod returns;
#[cfg(test)]
mod returns_tests;
mod rewind;
#[cfg(test)]
mod rewind_tests;
mod rewind_to;
mod runs;
mod seek;
mod segments;
mod single_active;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod timers;
mod waiters;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};

use tokio::runtime::Handle as Runtime;
use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::model::arguments::QueueArguments;
use crate::model::stream::StreamOffset;
use crate::model::{
    ConnectionId, ConsumerId, Lease, LogId, Message, Name, QueueId, QueueOverrides, Ticket,
};
use crate::store::commit::{Committer, Source, Waiter};
use crate::store::{Batch, LogState, Op};

pub use block::DeathReason;
pub use budget::MemoryBudget;
pub use consumers::{ConsumeError, ConsumerInfo, Credit, Delivery, DeliverySink, NewConsumer};
pub use dead_letter::DeadLetter;
pub use effects::{Counts, Got, Settle};
pub use hand::{Hand, RECEIVE_VISIBILITY_MS_DEFAULT, Received};
pub use handle::{Handle, NoHandle};
pub use letters::{LetterRoutes, Letters};
pub use limiter::ChannelLimiter;
pub use reads::QueueThreads;
pub use rewind::{RewindError, Rewound};
pub use rewind_to::{NoPlace, RewindTo};
pub use timers::Timers;
pub use waiters::{RECEIVE_BYTES_MAX, RECEIVE_MESSAGES_MAX};

use damage::Tries;
use effects::{Admission, Effects, Get};
use keeps::Keeps;
use machine::Machine;
use runs::hand_out;
use state::QueueState;

/// What a queue is.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// Its id, never used again.
    pub id: QueueId,
    /// Its name.
    pub name: Name,
    /// It is there after a restart.
    pub durable: bool,
    /// The connection that owns it, if it is exclusive.
    pub exclusive_owner: Option<ConnectionId>,
    /// It is deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// Its arguments, as they were declared; see [`Queue::arguments`] for those that hold.
    pub arguments: Arc<QueueArguments>,
}

/// What queues share.
#[derive(Clone)]
pub struct QueueServices {
    /// The way to the disk.
    pub committer: Arc<Committer>,
    /// Deadlines.
    pub timers: Arc<Timers>,
    /// The broker's time. Whatever is called `ms` in this room is on its line, unless it says wall-clock time.
    pub clock: Arc<Clock>,
    /// Memory for messages.
    pub budget: Arc<MemoryBudget>,
    /// Where they read.
    pub threads: Arc<QueueThreads>,
    /// Those with dead letters that wait.
    pub letters: Arc<Letters>,
    /// The virtual host.
    pub owner: Weak<dyn QueueOwner>,
}

/// What a queue asks of its virtual host. None of these is called with the queue's lock held.
pub trait QueueOwner: Send + Sync {
    /// The queues that a dead letter goes to, as the exchanges say.
    fn route_dead_letter(&self, letter: &DeadLetter) -> LetterRoutes;
    /// The last consumer of an auto-delete queue has left.
    fn queue_unused(&self, queue: &Arc<Queue>);
    /// `x-expires` has passed.
    fn queue_expired(&self, queue: &Arc<Queue>);
}

/// What became of a run of publishes.
#[derive(Debug, Default)]
pub struct Published {
    /// When this is durable, the run may be confirmed; `None` if nothing has to be waited for.
    pub ticket: Option<Ticket>,
    /// Indexes in the run that `x-overflow` refused.
    pub rejected: Vec<u32>,
}

/// The queue has been deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is gone")]
pub struct QueueGone;

/// A queue.
pub struct Queue {
    spec: QueueSpec,
    services: QueueServices,
    cell: Mutex<Cell>,
    /// What holds instead of what was declared.
    settings: RwLock<Settings>,
    /// Whether it has a dead letter exchange.
    dead_letters: AtomicBool,
    /// A read has ended.
    loaded: Notify,
    /// Reads that failed. Taken with no other lock.
    tries: Mutex<Tries>,
    me: Weak<Queue>,
}

/// What was said of the queue since it was declared, and what holds by that.
struct Settings {
    overrides: QueueOverrides,
    effective: Arc<QueueArguments>,
}

/// What the lock guards.
struct Cell {
    state: Machine,
    fx: Effects,
    /// The batch that will collect this queue, if it has anything to write.
    ticket: Option<Ticket>,
    /// The deadline that the timers know.
    deadline_ms: Option<u64>,
    /// What the memory budget knows.
    resident_bytes: u64,
    deleted: bool,
    /// Somebody is about to publish its dead letters.
    lined_up: bool,
}

/// What a command has brought.
struct Applied<R> {
    result: R,
    /// The batch that will hold what the queue has to write, if it has anything.
    ticket: Option<Ticket>,
    /// There are dead letters to be published, which the caller sees to: nobody else does.
    letters: bool,
}

impl Queue {
    /// Opens a queue: a new one, or with `recovered` one that was there before. It does nothing of its own accord
    /// before [`Queue::start`].
    pub fn open(
        spec: QueueSpec,
        services: QueueServices,
        recovered: Vec<(LogId, LogState)>,
    ) -> Arc<Queue> {
        Queue::open_with(spec, QueueOverrides::default(), services, recovered)
    }

    /// As [`Queue::open`], with what was said of the queue since it was declared.
    pub fn open_with(
        spec: QueueSpec,
        overrides: QueueOverrides,
        services: QueueServices,
        recovered: Vec<(LogId, LogState)>,
    ) -> Arc<Queue> {
        let effective = overrides.apply(&spec.arguments);
        let dead_letters = AtomicBool::new(effective.dead_letter_exchange.is_some());
        let state = Machine::new(
            spec.id,
            spec.durable,
            Arc::clone(&effective),
            recovered,
            services.clock.now_ms(),
        );
        let cell = Cell {
            state,
            fx: Effects::default(),
            ticket: None,
            deadline_ms: None,
            resident_bytes: 0,
            deleted: false,
            lined_up: false,
        };
        let settings = Settings {
            overrides,
            effective,
        };
        Arc::new_cyclic(|me| Queue {
            spec,
            services,
            cell: Mutex::new(cell),
            settings: RwLock::new(settings),
            dead_letters,
            loaded: Notify::new(),
            tries: Mutex::default(),
            me: Weak::clone(me),
        })
    }

    /// Begins to look at the clock. Not before all queues and bindings are there that its dead letters may go to, and
    /// before anybody else uses it. Reads the messages that are leased by handle.
    pub fn start(&self) {
        self.run_work(|state, now_ms, _| {
            state.restore_leases(now_ms, &mut |log, from| {
                self.read_chunks(log, from, 1).unwrap_or_else(|error| {
                    tracing::error!(queue = %self.name(), ?log, from, %error, "cannot read a message that was received; it is ready again");
                    Vec::new()
                })
            });
        });
        self.tick();
    }

    /// What the queue is.
    pub fn spec(&self) -> &QueueSpec {
        &self.spec
    }

    /// What was said of it since it was declared.
    pub fn overrides(&self) -> QueueOverrides {
        self.settings().overrides.clone()
    }

    /// What holds for it: its arguments as they were declared, but for its overrides.
    pub fn arguments(&self) -> Arc<QueueArguments> {
        Arc::clone(&self.settings().effective)
    }

    /// Other overrides hold from now on. They are not written: see `Vhost::set_queue_overrides`.
    pub(super) fn reconfigure(&self, overrides: QueueOverrides) {
        let effective = overrides.apply(&self.spec.arguments);
        {
            let mut settings = self
                .settings
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            settings.overrides = overrides;
            settings.effective = Arc::clone(&effective);
        }
        let dead_letters = effective.dead_letter_exchange.is_some();
        self.dead_letters.store(dead_letters, Ordering::Release);
        self.run(|state, now_ms, fx| {
            state.set_arguments(effective, now_ms);
            // What was kept and is not any more goes from the disk at once.
            if let Some(state) = state.work() {
                state.sweep(fx);
            }
        });
    }

    fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.spec.name
    }

    /// Its id.
    pub fn id(&self) -> QueueId {
        self.spec.id
    }

    /// Whether a restart would find this message in the queue: whether its confirm waits for the disk.
    pub fn keeps(&self, message: &Message) -> bool {
        self.keeps_messages().message(message)
    }

    fn keeps_messages(&self) -> Keeps {
        Keeps::of(self.spec.durable, self.spec.arguments.kind)
    }

    /// Enqueues a run of messages, in order; of a run for which there is not room enough, what there is room for.
    pub fn publish(&self, run: &[Arc<Message>]) -> Published {
        self.publish_as(run, Admission::Each)
    }

    /// Enqueues a run of messages, in order, if there is room for all of them; else none.
    pub fn publish_whole(&self, run: &[Arc<Message>]) -> Published {
        self.publish_as(run, Admission::Whole)
    }

    /// Registers a consumer; deliveries may reach its sink before this returns.
    pub fn consume(&self, mut consumer: NewConsumer) -> Result<(), ConsumeError> {
        if let Some(start) = &mut consumer.stream
            && let StreamOffset::Time(wall_ms) = start.offset
        {
            start.offset = StreamOffset::Time(self.services.clock.moment_of(wall_ms).ms());
        }
        self.run(|state, now_ms, fx| state.consume(now_ms, consumer, fx))
            .unwrap_or(Err(ConsumeError::Gone))
    }

    /// Takes a consumer out. What it holds stays leased until it is settled.
    pub fn cancel(&self, consumer: ConsumerId) {
        let was_last = self.run(|state, now_ms, fx| state.cancel(now_ms, consumer, fx));
        self.look_if_unused(was_last);
    }

    /// These consumers are about to [`Queue::leave`]: they are given nothing from now on, and keep their places.
    pub fn halt(&self, consumers: &[ConsumerId]) {
        self.run(|state, _, _| state.halt(consumers));
    }

    /// Consumers leave, and these leases end, because their channels do: the messages are back before anybody is given
    /// one.
    pub fn leave(&self, consumers: &[ConsumerId], leases: &[Lease]) {
        let was_last = self.run(|state, now_ms, fx| state.leave(now_ms, consumers, leases, fx));
        self.look_if_unused(was_last);
    }

    fn look_if_unused(&self, was_last: Option<bool>) {
        if was_last == Some(true) && self.spec.auto_delete {
            self.tell_owner(|owner, queue| owner.queue_unused(queue));
        }
    }

    /// Grants credit to consumers.
    pub fn credit(&self, credit: &[(ConsumerId, Credit)]) {
        self.run(|state, now_ms, fx| state.grant(now_ms, credit, fx));
    }

    /// A channel's shared limiter has room again, of which this much is for this queue.
    pub fn poke(&self, limiter: &Arc<ChannelLimiter>, share: u32) {
        self.run(|state, now_ms, fx| state.poke(now_ms, limiter, share, fx));
    }

    /// Ends leases and grants the credit that this frees. Leases that have ended already are passed over. The ticket tells when it is durable; `None` if there is
    /// nothing to write.
    pub fn settle(
        &self,
        how: Settle,
        leases: &[Lease],
        credit: &[(ConsumerId, Credit)],
    ) -> Option<Ticket> {
        let settle = |state: &mut Machine, now_ms, fx: &mut Effects| {
            state.settle(now_ms, how, leases, credit, fx)
        };
        let (_, ticket) = self.act(settle)?;
        ticket
    }

    /// Takes the message at the head; with `no_ack` it is settled at once.
    pub async fn get(&self, no_ack: bool) -> Result<Option<Got>, QueueGone> {
        loop {
            let loaded = self.loaded.notified();
            match self.run(|state, now_ms, fx| state.get(now_ms, no_ack, fx)) {
                None => return Err(QueueGone),
                Some(Get::Empty) => return Ok(None),
                Some(Get::Got(got)) => return Ok(Some(got)),
                Some(Get::Loading) => loaded.await,
            }
        }
    }

    /// Drops every message that waits, for a consumer or for its time. What has died before is dead-lettered. The ticket tells when a restart will not bring them back.
    pub fn purge(&self) -> (u64, Option<Ticket>) {
        self.act(|state, now_ms, fx| state.purge(now_ms, fx))
            .unwrap_or_default()
    }

    /// The queue was declared again.
    pub fn touch(&self) {
        self.run(|state, now_ms, _| state.touch(now_ms));
    }

    /// Its numbers.
    pub fn counts(&self) -> Counts {
        self.lock().state.counts()
    }

    /// Its consumers.
    pub fn consumers(&self) -> Vec<ConsumerInfo> {
        self.lock().state.consumer_infos()
    }

    /// Deletes the queue: its consumers are told, what it wrote is removed with the batch of the returned ticket; or, if
    /// there are dead letters still, when these are published. `None` if it was deleted before, or if `only_if` says no to its numbers.
    pub fn delete(&self, only_if: impl FnOnce(&Counts) -> bool) -> Option<(Counts, Ticket)> {
        let mut cell = self.lock();
        let counts = cell.state.counts();
        if cell.deleted || !only_if(&counts) {
            return None;
        }
        cell.deleted = true;
        let consumers = cell.state.drain_consumers();
        let is_dying = cell.state.is_dying();
        let ops = match is_dying {
            true => Vec::new(),
            false => self.remove_logs(&mut cell),
        };
        if is_dying && let Some(me) = self.me.upgrade() {
            self.services.letters.keep(me);
        }
        let deadline = cell.deadline_ms.take();
        self.services
            .timers
            .schedule(&self.me, self.spec.id, deadline, None);
        // Under the lock, so that a batch either collects the queue's last chunks before this or, seeing that the
        // queue is deleted, nothing.
        let ticket = self.services.committer.append(ops);
        drop(cell);
        for consumer in consumers {
            consumer.new.sink.cancelled(consumer.id());
        }
        self.loaded.notify_waiters();
        Some((counts, ticket))
    }

    /// Nothing of the queue is needed any more.
    fn remove_logs(&self, cell: &mut Cell) -> Vec<Op> {
        self.services.budget.change(cell.resident_bytes, 0);
        cell.resident_bytes = 0;
        let logs = cell.state.logs().into_iter();
        logs.map(|log| Op::RemoveLog { log }).collect()
    }

    /// Whether it has been deleted.
    pub fn is_deleted(&self) -> bool {
        self.lock().deleted
    }

    /// Time has passed.
    pub(super) fn tick(&self) {
        {
            let mut cell = self.lock();
            cell.deadline_ms = None;
        }
        let expired = self.run(|state, now_ms, fx| {
            state.tick(now_ms, fx);
            state.is_expired(now_ms)
        });
        self.loaded.notify_waiters();
        if expired == Some(true) {
            self.tell_owner(|owner, queue| owner.queue_expired(queue));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cell> {
        // A panic under the lock leaves the state as it was between two commands at worst: going on is better
        // than to take every other connection down.
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies `command` and carries out its effects; `None` if the queue has been deleted.
    fn run<R>(&self, command: impl FnOnce(&mut Machine, u64, &mut Effects) -> R) -> Option<R> {
        self.act(command).map(|(result, _)| result)
    }

    /// As [`Queue::run`], for what only work queues do: `None` for a stream as well.
    fn run_work<R>(
        &self,
        command: impl FnOnce(&mut QueueState, u64, &mut Effects) -> R,
    ) -> Option<R> {
        self.run(|machine, now_ms, fx| {
            let state = machine.work()?;
            Some(command(state, now_ms, fx))
        })
        .flatten()
    }

    fn publish_as(&self, run: &[Arc<Message>], admission: Admission) -> Published {
        let (published, letters) = self.publish_run(run, admission);
        if letters {
            self.send_letters();
        }
        published
    }

    /// Enqueues a run; true if the caller has dead letters to see to.
    fn publish_run(&self, run: &[Arc<Message>], admission: Admission) -> (Published, bool) {
        let mut published = Published::default();
        let applied = self.apply(|state, now_ms, fx| {
            state.publish(now_ms, run, admission, &mut published.rejected, fx);
            fx.persisted
        });
        let letters = applied.as_ref().is_some_and(|applied| applied.letters);
        if let Some(applied) = applied.filter(|applied| applied.result) {
            published.ticket = applied.ticket;
        }
        (published, letters)
    }

    /// Applies a command, carries out its effects and publishes the dead letters that it left, as many as may be at
    /// once. Returns the command's result and the ticket of the batch that will hold what the queue has to write, if it
    /// has anything; `None` if the queue has been deleted.
    fn act<R>(
        &self,
        command: impl FnOnce(&mut Machine, u64, &mut Effects) -> R,
    ) -> Option<(R, Option<Ticket>)> {
        let applied = self.apply(command)?;
        if !applied.letters {
            return Some((applied.result, applied.ticket));
        }
        self.send_letters();
        let ticket = self.lock().ticket;
        Some((applied.result, ticket.or(applied.ticket)))
    }

    /// Applies a command and carries out its effects, but for dead letters.
    fn apply<R>(
        &self,
        command: impl FnOnce(&mut Machine, u64, &mut Effects) -> R,
    ) -> Option<Applied<R>> {
        let guard = self.lock();
        match guard.deleted {
            true => None,
            false => Some(self.apply_to(guard, command)),
        }
    }

    fn apply_to<R>(
        &self,
        mut guard: MutexGuard<'_, Cell>,
        command: impl FnOnce(&mut Machine, u64, &mut Effects) -> R,
    ) -> Applied<R> {
        let cell = &mut *guard;
        cell.fx.persisted = false;
        cell.fx.handed_out = 0;
        cell.fx.left = 0;
        let now_ms = self.services.clock.now_ms();
        let result = command(&mut cell.state, now_ms, &mut cell.fx);
        hand_out(&mut cell.state, &mut cell.fx.served);
        let letters = cell.state.has_letters() && !std::mem::replace(&mut cell.lined_up, true);
        let read_bytes = cell.state.read_bytes();
        for (log, from) in cell.fx.loads.drain(..) {
            self.start_load(log, from, read_bytes);
        }
        for pick in cell.fx.picks.drain(..) {
            self.start_pick(pick);
        }
        for seek in cell.fx.seeks.drain(..) {
            self.start_seek(seek);
        }
        // What leaves memory may be written anew for that.
        self.keep_to_budget(cell);
        let mut landing = None;
        if cell.ticket.is_none()
            && cell.state.is_dirty()
            && !cell.deleted
            && let Some(me) = self.me.upgrade()
        {
            landing = cell.state.stream().map(|_| Landing::of(&me));
            cell.ticket = Some(self.services.committer.mark_dirty(me));
        }
        if !cell.fx.sweeps.is_empty() {
            self.start_sweeps(std::mem::take(&mut cell.fx.sweeps), cell.ticket);
        }
        if !cell.deleted {
            self.keep_deadline(cell, now_ms);
        }
        let ticket = cell.ticket;
        let hands = std::mem::take(&mut cell.fx.hands);
        // A hand that nobody takes gives back what is in it, and locks the queue for that.
        drop(guard);
        self.give(hands, ticket);
        if let (Some(landing), Some(ticket)) = (landing, ticket) {
            self.services.committer.when_durable(ticket, landing);
        }
        Applied {
            result,
            ticket,
            letters,
        }
    }

    fn give(&self, hands: Vec<(oneshot::Sender<Hand>, Vec<Received>)>, ticket: Option<Ticket>) {
        for (answer, messages) in hands {
            // Fails only if the one who waits is leaving, and then the hand goes back by being dropped.
            drop(answer.send(Hand::new(self.me.upgrade(), messages, ticket)));
        }
    }

    /// What this queue wrote up to `upto` is durable.
    fn landed(&self, upto: Ticket) {
        self.run(|state, now_ms, fx| {
            if let Some(stream) = state.stream() {
                stream.landed(now_ms, upto, fx);
            }
        });
    }

    fn keep_to_budget(&self, cell: &mut Cell) {
        let budget = &self.services.budget;
        let committed = self.services.committer.committed();
        cell.state.keep_within(budget.allowance(), committed);
        let resident = cell.state.resident_bytes();
        if resident != cell.resident_bytes {
            budget.change(cell.resident_bytes, resident);
            cell.resident_bytes = resident;
        }
    }

    /// Keeps the timers' idea of the next deadline no later than the true one. One that has become too early is
    /// left: it only makes the queue look once more.
    fn keep_deadline(&self, cell: &mut Cell, now_ms: u64) {
        let Some(deadline) = cell.state.deadline_ms(now_ms) else {
            return;
        };
        if cell.deadline_ms.is_none_or(|known| deadline < known) {
            self.services
                .timers
                .schedule(&self.me, self.spec.id, cell.deadline_ms, Some(deadline));
            cell.deadline_ms = Some(deadline);
        }
    }

    fn tell_owner(&self, tell: impl FnOnce(&dyn QueueOwner, &Arc<Queue>)) {
        if let (Some(owner), Some(me)) = (self.services.owner.upgrade(), self.me.upgrade()) {
            tell(&*owner, &me);
        }
    }
}

/// A stream that waits for one of its batches.
struct Landing {
    queue: Weak<Queue>,
    /// Where the stream goes on; the committer's threads have better things to do.
    runtime: Option<Runtime>,
}

impl Landing {
    fn of(queue: &Arc<Queue>) -> Arc<Landing> {
        Arc::new(Landing {
            queue: Arc::downgrade(queue),
            runtime: Runtime::try_current().ok(),
        })
    }
}

impl Waiter for Landing {
    fn durable(&self, upto: Ticket) {
        let Some(queue) = self.queue.upgrade() else {
            return;
        };
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(async move { queue.landed(upto) })),
            None => queue.landed(upto),
        }
    }
}

impl Source for Queue {
    fn collect(&self, batch: &mut Batch) {
        let mut cell = self.lock();
        let Some(ticket) = cell.ticket.take() else {
            return;
        };
        if !cell.deleted {
            cell.state.collect(ticket, batch);
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let cell = self.cell.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.services.budget.change(cell.resident_bytes, 0);
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}
