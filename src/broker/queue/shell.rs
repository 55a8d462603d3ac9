//! A queue: the lock around its state machine. Every call locks the queue, applies commands, carries out their effects and
//! unlocks; the lock is never held across an await. Lock order: batch guard, queue, sink, committer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::{Notify, oneshot};

use crate::broker::stats::{QueueStats, VhostStats};
use crate::clock::Clock;
use crate::model::effective::Given;
use crate::model::policy::{PolicySet, Target};
use crate::model::{LogId, Message, Name, QueueId, QueueOverrides, Ticket};
use crate::store::commit::{Committer, Source};
use crate::store::{Batch, LogState};

use super::budget::MemoryBudget;
use super::dead_letter::letter::DeadLetter;
use super::dead_letter::line::Letters;
use super::effects::Effects;
use super::kind::Kind;
use super::machine::Machine;
use super::outlets::Outlets;
use super::reading::threads::QueueThreads;
use super::reading::tries::Tries;
use super::receive::received::Answer;
use super::settings::Settings;
use super::spec::QueueSpec;
use super::timers::{Timed, Timers};

/// The services that queues share.
#[derive(Clone)]
pub struct QueueServices {
    pub committer: Arc<Committer>,
    pub timers: Arc<Timers>,
    /// The broker's time. Times that are called `ms` in this room are on its line, unless they say wall-clock time.
    pub clock: Arc<Clock>,
    pub budget: Arc<MemoryBudget>,
    pub threads: Arc<QueueThreads>,
    pub letters: Arc<Letters>,
    /// Counts for the virtual host.
    pub stats: Arc<VhostStats>,
    /// The virtual host.
    pub owner: Weak<dyn QueueOwner>,
}

/// The virtual host, as its queues know it. Queues call it without holding their locks.
pub trait QueueOwner: Send + Sync {
    /// Routes a dead letter through the exchanges.
    fn route_dead_letter(&self, letter: &DeadLetter) -> LetterRoutes;
    /// Called when the last consumer of an auto-delete queue has left.
    fn queue_unused(&self, queue: &Arc<Queue>);
    /// Called when `x-expires` has passed.
    fn queue_expired(&self, queue: &Arc<Queue>);
}

/// The queues of a dead letter.
#[derive(Default)]
pub struct LetterRoutes {
    /// The queues that get it now.
    pub queues: Vec<Arc<Queue>>,
    /// The message for the queues behind a delayed exchange, and these queues.
    pub held: Option<(Arc<Message>, Vec<Arc<Queue>>)>,
}

/// The queue has been deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is gone")]
pub struct QueueGone;

/// A queue.
pub struct Queue {
    pub(super) spec: QueueSpec,
    pub(super) services: QueueServices,
    cell: Mutex<Cell>,
    pub(super) settings: RwLock<Settings>,
    /// Notified when a read has ended.
    pub(super) loaded: Notify,
    /// Notified when a full queue has room, or is gone.
    pub(super) room: Notify,
    /// Reads that failed. Never locked together with another lock.
    pub(super) tries: Mutex<Tries>,
    pub(super) me: Weak<Queue>,
}

/// The state behind the lock.
pub(super) struct Cell {
    pub(super) machine: Kind,
    pub(super) fx: Effects,
    pub(super) outlets: Outlets,
    /// Waiting receives, by number.
    pub(super) receives: BTreeMap<u64, oneshot::Sender<Answer>>,
    /// The number of the last receive.
    pub(super) last_receive: u64,
    /// The batch that will collect this queue, if it has anything to write.
    pub(super) ticket: Option<Ticket>,
    /// The deadline that the timers know.
    pub(super) deadline_ms: Option<u64>,
    /// The resident bytes that the memory budget knows.
    pub(super) resident_bytes: u64,
    pub(super) deleted: bool,
    /// When the last command came.
    pub(super) active_ms: u64,
    pub(super) stats: QueueStats,
    /// A caller is about to publish its dead letters.
    pub(super) lined_up: bool,
    /// Publishers wait for room.
    pub(super) holds_publishers: bool,
    /// Messages that are missing on the disk, until the queue starts.
    missing: Vec<(LogId, Range<u64>)>,
}

/// The result of a command.
pub(super) struct Applied<R> {
    pub(super) result: R,
    /// The batch that will collect this queue, if it has anything to write.
    pub(super) ticket: Option<Ticket>,
    /// The caller must publish dead letters of this queue.
    pub(super) letters: bool,
}

impl Queue {
    /// Opens a new queue, or with `recovered` one from before a restart. It runs no timers before
    /// [`Queue::start`].
    pub fn open(
        spec: QueueSpec,
        services: QueueServices,
        recovered: Vec<(LogId, LogState)>,
    ) -> Arc<Queue> {
        let policies = PolicySet::default();
        Queue::open_with(
            spec,
            QueueOverrides::default(),
            &policies,
            services,
            recovered,
        )
    }

    /// As [`Queue::open`], with overrides and with the policies of its virtual host.
    pub fn open_with(
        spec: QueueSpec,
        overrides: QueueOverrides,
        policies: &PolicySet,
        services: QueueServices,
        recovered: Vec<(LogId, LogState)>,
    ) -> Arc<Queue> {
        let target = Target::Queue(spec.arguments.kind);
        let given = Given {
            policies: policies.applied_to(&spec.name, target),
            overrides,
        };
        let settings = Settings::new(given, policies.version(), &spec.arguments);
        let arguments = Arc::clone(&settings.effective);
        let now_ms = services.clock.now_ms();
        let missing = recovered.iter().flat_map(|(log, state)| {
            let ranges = state.missing.iter();
            ranges.map(|offsets| (*log, offsets))
        });
        let cell = Cell {
            missing: missing.collect(),
            machine: Kind::new(spec.id, spec.durable, arguments, recovered, now_ms),
            fx: Effects::default(),
            outlets: Outlets::default(),
            receives: BTreeMap::new(),
            last_receive: 0,
            ticket: None,
            deadline_ms: None,
            resident_bytes: 0,
            deleted: false,
            active_ms: now_ms,
            stats: QueueStats::default(),
            lined_up: false,
            holds_publishers: false,
        };
        Arc::new_cyclic(|me| Queue {
            spec,
            services,
            cell: Mutex::new(cell),
            settings: RwLock::new(settings),
            loaded: Notify::new(),
            room: Notify::new(),
            tries: Mutex::default(),
            me: Weak::clone(me),
        })
    }

    /// Restores the leases of receipt handles, and starts the queue's timers. Called before any other
    /// command, when all queues and bindings exist that its dead letters may go to.
    pub fn start(&self) {
        while let Some(Some((log, from))) =
            self.run(|machine, now_ms, _| machine.next_to_restore(now_ms))
        {
            let chunks = self.read_chunks(log, from, 1).unwrap_or_else(|error| {
                tracing::error!(queue = %self.name(), ?log, from, %error, "cannot read a message that was received; it is ready again");
                Vec::new()
            });
            self.run(|machine, _, _| machine.restore(log, chunks));
        }
        let missing = std::mem::take(&mut self.lock().missing);
        self.lose_missing(missing);
        self.tick();
    }

    pub fn spec(&self) -> &QueueSpec {
        &self.spec
    }

    pub fn name(&self) -> &Name {
        &self.spec.name
    }

    pub fn id(&self) -> QueueId {
        self.spec.id
    }

    /// Does what is due.
    pub(in crate::broker) fn tick(&self) {
        self.lock().deadline_ms = None;
        let expired = self.run(|machine, now_ms, fx| {
            machine.tick(now_ms, fx);
            machine.is_expired(now_ms)
        });
        self.loaded.notify_waiters();
        if expired == Some(true) {
            self.tell_owner(|owner, queue| owner.queue_expired(queue));
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock()
    }

    /// Applies `command` and carries out its effects; `None` if the queue has been deleted.
    pub(super) fn run<R>(
        &self,
        command: impl FnOnce(&mut dyn Machine, u64, &mut Effects) -> R,
    ) -> Option<R> {
        self.act(command).map(|(result, _)| result)
    }

    /// Applies a command, carries out its effects and publishes its dead letters, up to a bound. Returns the
    /// command's result and the ticket of the batch that will collect the queue, if it has anything to write;
    /// `None` if the queue has been deleted.
    pub(super) fn act<R>(
        &self,
        command: impl FnOnce(&mut dyn Machine, u64, &mut Effects) -> R,
    ) -> Option<(R, Option<Ticket>)> {
        let cell = self.lock_unless_deleted()?;
        let applied = self.apply(cell, command);
        Some(self.send_letters_of(applied))
    }

    /// Publishes the dead letters of a command.
    pub(super) fn send_letters_of<R>(&self, applied: Applied<R>) -> (R, Option<Ticket>) {
        if !applied.letters {
            return (applied.result, applied.ticket);
        }
        self.send_letters();
        let ticket = self.lock().ticket;
        (applied.result, ticket.or(applied.ticket))
    }

    pub(super) fn lock_unless_deleted(&self) -> Option<MutexGuard<'_, Cell>> {
        let cell = self.lock();
        (!cell.deleted).then_some(cell)
    }

    /// Applies a command and carries out its effects, without publishing dead letters.
    pub(super) fn apply<R>(
        &self,
        cell: MutexGuard<'_, Cell>,
        command: impl FnOnce(&mut dyn Machine, u64, &mut Effects) -> R,
    ) -> Applied<R> {
        self.turn(cell, |cell, now_ms| {
            let result = command(&mut *cell.machine, now_ms, &mut cell.fx);
            cell.answer_permits(self.spec.id, now_ms);
            result
        })
    }

    /// As [`Queue::apply`], for commands that need more than the machine.
    pub(super) fn turn<R>(
        &self,
        mut guard: MutexGuard<'_, Cell>,
        command: impl FnOnce(&mut Cell, u64) -> R,
    ) -> Applied<R> {
        let cell = &mut *guard;
        let now_ms = self.services.clock.now_ms();
        cell.active_ms = now_ms;
        let result = command(cell, now_ms);
        let watched = self.carry_out(cell);
        if cell.holds_publishers && !cell.machine.is_full() {
            cell.holds_publishers = false;
            self.room.notify_waiters();
        }
        if !cell.deleted {
            self.keep_deadline(cell, now_ms);
        }
        let ticket = cell.ticket;
        let letters = cell.machine.has_letters() && !std::mem::replace(&mut cell.lined_up, true);
        drop(guard);
        if let Some(ticket) = watched {
            self.watch_durable(ticket);
        }
        Applied {
            result,
            ticket,
            letters,
        }
    }

    pub(super) fn schedule(&self, before: Option<u64>, after: Option<u64>) {
        let me = Weak::clone(&self.me);
        self.services
            .timers
            .schedule(me, self.spec.id, before, after);
    }

    pub(super) fn tell_owner(&self, tell: impl FnOnce(&dyn QueueOwner, &Arc<Queue>)) {
        if let (Some(owner), Some(me)) = (self.services.owner.upgrade(), self.me.upgrade()) {
            tell(&*owner, &me);
        }
    }
}

impl Cell {
    /// The machine and its effects, for a command that is followed by [`Cell::answer_permits`].
    pub(super) fn machine(&mut self) -> (&mut dyn Machine, &mut Effects) {
        (&mut *self.machine, &mut self.fx)
    }

    /// Asks the channels' limiters for the permits of a paused command until it does not pause again.
    pub(super) fn answer_permits(&mut self, queue: QueueId, now_ms: u64) {
        while let Some(consumer) = self.fx.permit.take() {
            let is_granted = self.outlets.admit(consumer, queue);
            self.machine.permit(now_ms, is_granted, &mut self.fx);
        }
    }
}

impl Timed for Queue {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn tick(&self) {
        Queue::tick(self);
    }
}

impl Source for Queue {
    fn collect(&self, batch: &mut Batch) {
        let mut cell = self.lock();
        let Some(ticket) = cell.ticket.take() else {
            return;
        };
        if !cell.deleted {
            let before = batch.ops.len();
            cell.machine.collect(ticket, batch);
            self.count_writes(&mut cell, batch.ops.get(before..).unwrap_or_default());
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
