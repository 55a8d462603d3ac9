//! Queues: the handle that connections hold, and the thin shell that carries out what the pure state machine
//! (`machine`) decides. Every call locks the queue, applies a run of commands, carries out the effects and unlocks;
//! the lock is never held across an await. Lock order: batch guard, queue, sink, committer.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::{Notify, oneshot};

use crate::model::{LogId, Name, QueueId, QueueOverrides, Ticket};
use crate::store::commit::Source;
use crate::store::{Batch, LogState};

use super::deliveries::hand_out;
use super::effects::Effects;
use super::machine::Machine;
use super::reading::damage::Tries;
use super::receive::received::Received;
use super::receive::received_batch::ReceivedBatch;
use super::settings::Settings;
use super::spec::{QueueOwner, QueueServices, QueueSpec};
use super::work::WorkQueue;

/// The queue has been deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is gone")]
pub struct QueueGone;

/// A queue.
pub struct Queue {
    pub(super) spec: QueueSpec,
    pub(super) services: QueueServices,
    pub(super) cell: Mutex<Cell>,
    /// What holds instead of what was declared.
    pub(super) settings: RwLock<Settings>,
    /// Whether it has a dead letter exchange.
    pub(super) dead_letters: AtomicBool,
    /// A read has ended.
    pub(super) loaded: Notify,
    /// Reads that failed. Taken with no other lock.
    pub(super) tries: Mutex<Tries>,
    pub(super) me: Weak<Queue>,
}

/// What the lock guards.
pub(super) struct Cell {
    pub(super) state: Machine,
    pub(super) fx: Effects,
    /// The batch that will collect this queue, if it has anything to write.
    pub(super) ticket: Option<Ticket>,
    /// The deadline that the timers know.
    pub(super) deadline_ms: Option<u64>,
    /// What the memory budget knows.
    pub(super) resident_bytes: u64,
    pub(super) deleted: bool,
    /// Somebody is about to publish its dead letters.
    pub(super) lined_up: bool,
}

/// What a command has brought.
pub(super) struct Applied<R> {
    pub(super) result: R,
    /// The batch that will hold what the queue has to write, if it has anything.
    pub(super) ticket: Option<Ticket>,
    /// There are dead letters to be published, which the caller sees to: nobody else does.
    pub(super) letters: bool,
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

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.spec.name
    }

    /// Its id.
    pub fn id(&self) -> QueueId {
        self.spec.id
    }

    /// Time has passed.
    pub(in crate::broker) fn tick(&self) {
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

    pub(super) fn lock(&self) -> MutexGuard<'_, Cell> {
        // After a panic under the lock the queue goes on: at worst its state is between two commands, and other
        // connections need it.
        self.cell.lock()
    }

    /// Applies `command` and carries out its effects; `None` if the queue has been deleted.
    pub(super) fn run<R>(
        &self,
        command: impl FnOnce(&mut Machine, u64, &mut Effects) -> R,
    ) -> Option<R> {
        self.act(command).map(|(result, _)| result)
    }

    /// As [`Queue::run`], for what only work queues do: `None` for a stream as well.
    pub(super) fn run_work<R>(
        &self,
        command: impl FnOnce(&mut WorkQueue, u64, &mut Effects) -> R,
    ) -> Option<R> {
        self.run(|machine, now_ms, fx| {
            let state = machine.work()?;
            Some(command(state, now_ms, fx))
        })
        .flatten()
    }

    /// Applies a command, carries out its effects and publishes the dead letters that it left, as many as may be at
    /// once. Returns the command's result and the ticket of the batch that will hold what the queue has to write, if it
    /// has anything; `None` if the queue has been deleted.
    pub(super) fn act<R>(
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
    pub(super) fn apply<R>(
        &self,
        command: impl FnOnce(&mut Machine, u64, &mut Effects) -> R,
    ) -> Option<Applied<R>> {
        let guard = self.lock();
        match guard.deleted {
            true => None,
            false => Some(self.apply_to(guard, command)),
        }
    }

    pub(super) fn apply_to<R>(
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
            let ticket = self.services.committer.mark_dirty(me);
            landing = cell.state.stream().map(|_| ticket);
            cell.ticket = Some(ticket);
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
        if let Some(ticket) = landing {
            self.watch_durable(ticket);
        }
        Applied {
            result,
            ticket,
            letters,
        }
    }

    fn give(
        &self,
        hands: Vec<(oneshot::Sender<ReceivedBatch>, Vec<Received>)>,
        ticket: Option<Ticket>,
    ) {
        for (answer, messages) in hands {
            // Fails only if the one who waits is leaving, and then the hand goes back by being dropped.
            drop(answer.send(ReceivedBatch::new(self.me.upgrade(), messages, ticket)));
        }
    }

    fn keep_to_budget(&self, cell: &mut Cell) {
        let budget = &self.services.budget;
        let committed = self.services.committer.committed();
        cell.state.evict(budget.allowance(), committed);
        let resident = cell.state.resident_bytes();
        if resident != cell.resident_bytes {
            budget.change(cell.resident_bytes, resident);
            cell.resident_bytes = resident;
        }
    }

    /// Durability the timers' idea of the next deadline no later than the true one. One that has become too early is
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

    pub(super) fn tell_owner(&self, tell: impl FnOnce(&dyn QueueOwner, &Arc<Queue>)) {
        if let (Some(owner), Some(me)) = (self.services.owner.upgrade(), self.me.upgrade()) {
            tell(&*owner, &me);
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
        let cell = self.cell.get_mut();
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
