//! Group commit: everything that waits goes into one batch, one thread commits it and another makes it durable
//! while the next batch gathers. Nothing here is done per message, and nothing runs while nothing waits.
//!
//! A batch is what arrived while the disk was busy with the one before. When much arrives ([`PIPELINE_BYTES`]) it
//! is committed during that sync; when little arrives the committer syncs by itself, which spares a publisher that
//! waits for each confirm a hand-off between threads.
//!
//! A *source* (a queue) that has something to write marks itself dirty once and learns the ticket of the batch that
//! will hold it. Batches are committed in ticket order, and "durable up to ticket N" is reported only after a sync
//! that followed the commit of every batch up to N. Two rules keep that true:
//!
//! - The list of dirty sources is taken under the same lock under which tickets are given out, so a source is
//!   always in the batch whose ticket it got. What it adds between being taken and being collected goes along.
//! - After a failed commit or sync nothing is reported until every batch since the last durable one has been
//!   committed again to the reopened store and synced. Those batches are kept in memory until they are durable.
//!
//! Where a confirm is not to wait for the disk ([`Limits::sync_within`]) a batch is reported as durable when it is
//! committed. Everything else stays: the sync thread syncs in time, and batches are kept until they are synced.
//!
//! Locks, in the order in which they may be taken: boundary, a source's own, gate; waiters alone.

mod disk; // the free space and the alarm
mod pipeline; // the threads that commit and sync
mod recovery; // after a failure

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use tokio::sync::{Notify, oneshot, watch};
use tracing::error;

pub use self::disk::Alarm;
use self::disk::Alarms;
use super::worker::Vital;
use super::{Batch, Op, Store, StoreError};
use crate::clock;
use crate::model::Ticket;

/// Something that gathers changes between batches.
pub trait Source: Send + Sync {
    /// Moves what is pending into the batch and clears the source's own dirty mark. Called on the committer's
    /// thread, once for each [`Committer::mark_dirty`]. Must not wait for the committer.
    fn collect(&self, batch: &mut Batch);
}

/// Someone who waits for a ticket.
pub trait Waiter: Send + Sync {
    /// Everything up to this ticket is durable. Called on a thread of the committer: must be quick.
    fn durable(&self, upto: Ticket);
}

/// Bounds of a committer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that may wait to become durable before publishers are held back.
    pub pending_bytes_max: usize,
    /// Free bytes on the disk below which the alarm is raised and a failed store is not reopened.
    pub disk_free_min: u64,
    /// How often the free space is looked at, besides after a share of it has been used.
    pub disk_check_every: Duration,
    /// How long to wait before a failed store is tried again.
    pub retry_after: Duration,
    /// `None` reports a batch when it is synced. With a time a batch is reported when it is committed, and synced
    /// within the time or when a quarter of `pending_bytes_max` is on its way: a power loss takes what was reported
    /// since the last sync, the end of the process nothing.
    pub sync_within: Option<Duration>,
}

/// Default of [`Limits::pending_bytes_max`].
pub const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Default of [`Limits::disk_free_min`], as RabbitMQ's `disk_free_limit`.
pub const DISK_FREE_MIN: u64 = 50_000_000;
/// With this much gathered, or this much in the batch that is to be synced, committing and syncing overlap.
/// Less is not worth a batch of its own while the disk is busy: it would only make more and smaller chunks.
const PIPELINE_BYTES: usize = 256 * 1024;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            pending_bytes_max: PENDING_BYTES_MAX,
            disk_free_min: DISK_FREE_MIN,
            disk_check_every: Duration::from_secs(5),
            retry_after: Duration::from_secs(1),
            sync_within: None,
        }
    }
}

/// The store was shut down before the ticket was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store was closed before the change was durable")]
pub struct StoreFailed;

/// The handle of the group commit. Dropping it shuts it down.
pub struct Committer {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the threads.
    pub fn start(store: Arc<dyn Store>, limits: Limits) -> Result<Arc<Committer>, StoreError> {
        let shared = Arc::new(Shared::new(store, limits));
        let committer = Arc::new(Committer {
            shared: shared.clone(),
            threads: Mutex::default(),
        });
        let mut bodies: Vec<(&'static str, ThreadBody)> = vec![
            ("leveret-commit", Shared::commit_loop),
            ("leveret-sync", Shared::sync_loop),
        ];
        if shared.store.free_bytes().is_some() {
            shared.check_disk();
            bodies.push(("leveret-disk", Shared::disk_loop));
        }
        for (name, body) in bodies {
            let shared = shared.clone();
            let thread = thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    let _vital = Vital(name);
                    body(&shared);
                })
                .map_err(|source| StoreError::Io {
                    doing: format!("starting the thread {name}"),
                    source,
                })?;
            committer.threads.lock().push(thread);
        }
        Ok(committer)
    }

    /// Puts a source on the list of the batch that gathers now, and returns that batch's ticket. The source calls
    /// this when it goes from clean to dirty, under its own lock, and keeps the ticket until it is collected.
    pub fn mark_dirty(&self, source: Arc<dyn Source>) -> Ticket {
        let mut gate = self.shared.gate.lock();
        gate.dirty.push(source);
        self.shared.work_came(&mut gate);
        gate.open
    }

    /// Adds loose changes to the batch that gathers now. They come after those of the sources. Without changes it
    /// is a way to wait for what came before.
    pub fn append(&self, ops: Vec<Op>) -> Ticket {
        let mut gate = self.shared.gate.lock();
        gate.nudged |= ops.is_empty();
        gate.loose.extend(ops);
        self.shared.work_came(&mut gate);
        gate.open
    }

    /// While this is held no batch is closed: what several sources do under it is in one batch. Take it before any
    /// source's lock. A thread may take it again while it holds it: a transaction publishes to queues that
    /// dead-letter, and both want one batch.
    pub fn batch_guard(&self) -> BatchGuard<'_> {
        let nested = GUARDS.get() > 0;
        // Only a nested guard may pass a committer that waits: if all did, many short guards could keep it out.
        let guard = if nested {
            self.shared.boundary.read_recursive()
        } else {
            self.shared.boundary.read()
        };
        GUARDS.set(GUARDS.get() + 1);
        BatchGuard { _guard: guard }
    }

    /// The last ticket that is safe from a power loss; with [`Limits::sync_within`], from the end of the process.
    pub fn durable(&self) -> Ticket {
        Ticket(self.shared.durable.load(Ordering::Acquire))
    }

    /// The last ticket that is committed: visible to reads of the store.
    pub fn committed(&self) -> Ticket {
        Ticket(self.shared.committed.load(Ordering::Acquire))
    }

    /// Tells the waiter once the ticket is durable; at once, on this thread, if it is already. If the store is
    /// shut down first the waiter is dropped.
    pub fn when_durable(&self, ticket: Ticket, waiter: Arc<dyn Waiter>) {
        self.shared.when_durable(ticket, waiter);
    }

    /// Waits until the ticket is durable: for as long as a failed store takes to work again.
    pub async fn wait(&self, ticket: Ticket) -> Result<(), StoreFailed> {
        if self.durable() >= ticket {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        self.when_durable(ticket, Arc::new(OneWaiter(Mutex::new(Some(sender)))));
        receiver.await.map_err(|_| StoreFailed)
    }

    /// Counts bytes that a publisher has handed to queues. They are taken off when the batch that follows is durable.
    pub fn note_pending(&self, bytes: usize) {
        self.shared.pending.fetch_add(bytes, Ordering::Relaxed);
        let before = self.shared.gathered.fetch_add(bytes, Ordering::AcqRel);
        if before < PIPELINE_BYTES && before + bytes >= PIPELINE_BYTES {
            let mut gate = self.shared.gate.lock();
            if gate.committer == Pace::AwaitsSync {
                self.shared.wake_committer(&mut gate);
            }
        }
    }

    /// Whether publishers may go on.
    pub fn has_room(&self) -> bool {
        self.shared.pending.load(Ordering::Relaxed) <= self.shared.limits.pending_bytes_max
    }

    /// Whether there is still room for publishers that have little on its way, although there is none for the others.
    pub fn has_reserve(&self) -> bool {
        let most = self.shared.limits.pending_bytes_max.saturating_mul(2);
        self.shared.pending.load(Ordering::Relaxed) <= most
    }

    /// The batch that gathers now: what was handed to queues before is in it, or in one before it.
    pub fn gathering(&self) -> Ticket {
        Ticket(self.shared.gathering.load(Ordering::Acquire))
    }

    /// Waits until publishers may go on.
    pub async fn room(&self) {
        loop {
            let freed = self.shared.room.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.has_room() {
                return;
            }
            self.shared.nudge();
            freed.await;
        }
    }

    /// The store beneath, for reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Why publishers are stopped, if they are.
    pub fn alarm(&self) -> watch::Receiver<Option<Alarm>> {
        self.shared.alarm.subscribe()
    }

    /// Free bytes on the disk below which the alarm is raised.
    pub fn disk_free_min(&self) -> u64 {
        self.shared.disk_free_min.load(Ordering::Relaxed)
    }

    /// Replaces [`Limits::disk_free_min`] and looks at the disk at once.
    pub fn set_disk_free_min(&self, bytes: u64) {
        self.shared.disk_free_min.store(bytes, Ordering::Relaxed);
        if self.shared.store.free_bytes().is_some() {
            self.shared.check_disk();
        }
    }

    /// Commits and syncs what waits, then stops the threads. Blocks. A store that has failed gets one more try.
    pub fn shutdown(&self) {
        {
            let mut gate = self.shared.gate.lock();
            gate.closing = true;
            self.shared.wake_all();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        // A source may hold the last handle, and then this runs on one of the threads: they end by themselves.
        let me = thread::current().id();
        if threads.iter().any(|thread| thread.thread().id() == me) {
            return;
        }
        for thread in threads {
            if thread.join().is_err() {
                error!("a thread of the committer has panicked");
            }
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shutdown();
    }
}

thread_local! {
    /// Batch guards that this thread holds.
    static GUARDS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// See [`Committer::batch_guard`].
pub struct BatchGuard<'a> {
    _guard: RwLockReadGuard<'a, ()>,
}

impl Drop for BatchGuard<'_> {
    fn drop(&mut self) {
        GUARDS.set(GUARDS.get().saturating_sub(1));
    }
}

type ThreadBody = fn(&Shared);

/// What the threads share.
struct Shared {
    store: Arc<dyn Store>,
    limits: Limits,
    /// Of `limits` at first; an operator may change it.
    disk_free_min: AtomicU64,
    /// Held for writing only while a batch is collected.
    boundary: RwLock<()>,
    gate: Mutex<Gate>,
    /// The committer waits here.
    work: Condvar,
    /// The sync thread waits here, and the committer when it needs the sync thread to finish.
    synced: Condvar,
    /// The disk thread waits here.
    closing: Condvar,
    durable: AtomicU64,
    committed: AtomicU64,
    waiters: Mutex<Waiters>,
    /// Bytes handed to queues and not yet durable.
    pending: AtomicUsize,
    /// The open ticket of the gate, for those who do not hold its lock.
    gathering: AtomicU64,
    /// The part of `pending` that belongs to the batch that gathers.
    gathered: AtomicUsize,
    room: Notify,
    /// Bytes that may be committed before the free space is looked at again.
    disk_margin: AtomicU64,
    alarms: Mutex<Alarms>,
    alarm: watch::Sender<Option<Alarm>>,
}

/// The batch that gathers and those that are on their way to the disk.
struct Gate {
    open: Ticket,
    dirty: Vec<Arc<dyn Source>>,
    loose: Vec<Op>,
    /// A batch is wanted although nothing is dirty.
    nudged: bool,
    committer: Pace,
    /// Committed or to be committed again, and not yet durable; in ticket order.
    flights: VecDeque<Flight>,
    /// A sync is running.
    syncing: bool,
    /// With [`Limits::sync_within`], when what is committed must be synced.
    sync_due: Option<Instant>,
    failure: Option<String>,
    closing: bool,
    closed: bool,
}

/// What the committer's thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// It will look again by itself.
    Works,
    /// Nothing to do.
    AwaitsWork,
    /// There is work, but the disk is busy: for the sync to end, or for much more work.
    AwaitsSync,
}

impl Gate {
    fn has_work(&self) -> bool {
        self.nudged || !self.dirty.is_empty() || !self.loose.is_empty()
    }
}

/// A batch between its commit and its sync.
struct Flight {
    batch: Batch,
    /// Pending bytes that go with it.
    share: usize,
}

#[derive(Default)]
struct Waiters {
    by_ticket: BTreeMap<Ticket, Vec<Arc<dyn Waiter>>>,
    closed: bool,
}

impl Shared {
    fn new(store: Arc<dyn Store>, limits: Limits) -> Shared {
        Shared {
            store,
            limits,
            disk_free_min: AtomicU64::new(limits.disk_free_min),
            boundary: RwLock::default(),
            gate: Mutex::new(Gate {
                open: Ticket(1),
                dirty: Vec::new(),
                loose: Vec::new(),
                nudged: false,
                committer: Pace::Works,
                flights: VecDeque::new(),
                syncing: false,
                sync_due: None,
                failure: None,
                closing: false,
                closed: false,
            }),
            work: Condvar::new(),
            synced: Condvar::new(),
            closing: Condvar::new(),
            durable: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            waiters: Mutex::default(),
            pending: AtomicUsize::new(0),
            gathering: AtomicU64::new(1),
            gathered: AtomicUsize::new(0),
            room: Notify::new(),
            disk_margin: AtomicU64::new(u64::MAX),
            alarms: Mutex::default(),
            alarm: watch::Sender::new(None),
        }
    }

    fn when_durable(&self, ticket: Ticket, waiter: Arc<dyn Waiter>) {
        let mut waiters = self.waiters.lock();
        // Read under the lock: `land` stores the ticket before it takes the lock, so none is left behind.
        let durable = Ticket(self.durable.load(Ordering::Acquire));
        if durable < ticket {
            if !waiters.closed {
                waiters.by_ticket.entry(ticket).or_default().push(waiter);
            }
            return;
        }
        drop(waiters);
        waiter.durable(durable);
    }

    /// No ticket becomes durable any more: those who wait are let go.
    fn close(&self) {
        self.gate.lock().closed = true;
        self.wake_all();
        let mut waiters = self.waiters.lock();
        waiters.closed = true;
        let abandoned = std::mem::take(&mut waiters.by_ticket);
        drop(waiters);
        drop(abandoned);
    }

    fn work_came(&self, gate: &mut Gate) {
        if gate.committer == Pace::AwaitsWork {
            self.wake_committer(gate);
        }
    }

    /// Closes a batch even if nothing is dirty: what was noted as pending but belongs to no batch, because its
    /// messages went nowhere, leaves with it.
    fn nudge(&self) {
        let mut gate = self.gate.lock();
        gate.nudged = true;
        self.work_came(&mut gate);
    }

    /// Waking is a system call: done once, not by everyone who finds the committer asleep.
    fn wake_committer(&self, gate: &mut Gate) {
        gate.committer = Pace::Works;
        self.work.notify_all();
    }

    fn wake_all(&self) {
        self.work.notify_all();
        self.synced.notify_all();
        self.closing.notify_all();
    }
}

/// A waiter behind [`Committer::wait`].
struct OneWaiter(Mutex<Option<oneshot::Sender<()>>>);

impl Waiter for OneWaiter {
    fn durable(&self, _upto: Ticket) {
        if let Some(sender) = self.0.lock().take()
            && sender.send(()).is_err()
        {
            // Whoever waited has gone away.
        }
    }
}

/// Waits for the whole time, even when `condvar` wakes the thread earlier, unless the committer closes.
fn pause(condvar: &Condvar, gate: &mut MutexGuard<'_, Gate>, time: Duration) {
    let deadline = clock::monotonic() + time;
    loop {
        let left = deadline.saturating_duration_since(clock::monotonic());
        if left.is_zero() || gate.closing || gate.closed {
            return;
        }
        condvar.wait_for(gate, left);
    }
}

#[cfg(test)]
mod tests;
