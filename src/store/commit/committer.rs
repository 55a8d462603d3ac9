//! The handle of the group commit.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use parking_lot::{Mutex, RwLockReadGuard};
use tokio::sync::watch;
use tracing::error;

use super::alarm::Alarm;
use super::figures::Figures;
use super::milestone::StoreFailed;
use super::shared::{PIPELINE_BYTES, Pace, Shared};
use super::{Limits, Source, Waiter};
use crate::model::Ticket;
use crate::store::worker::Vital;
use crate::store::{Op, Store, StoreError};

/// The handle of the group commit. Dropping it shuts it down.
pub struct Committer {
    pub(super) shared: Arc<Shared>,
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
            ("leveret-apply", Shared::apply_loop),
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

    /// Adds a source to the batch that gathers now, and returns that batch's ticket. The source calls this when it
    /// goes from clean to dirty, under its own lock, and keeps the ticket until it is collected.
    pub fn mark_dirty(&self, source: Arc<dyn Source>) -> Ticket {
        let mut gate = self.shared.gate.lock();
        if !gate.closed {
            gate.dirty.push(source);
            self.shared.work_came(&mut gate);
        }
        gate.open
    }

    /// Adds changes without a source to the batch that gathers now. They come after those of the sources. Without
    /// changes the ticket tells when everything before is durable.
    pub fn append(&self, ops: Vec<Op>) -> Ticket {
        let mut gate = self.shared.gate.lock();
        if !gate.closed {
            gate.nudged |= ops.is_empty();
            gate.loose.extend(ops);
            self.shared.work_came(&mut gate);
        }
        gate.open
    }

    /// While this is held no batch is closed: what several sources do under it is in one batch. Take it before any
    /// source's lock. A thread may take it again while it holds it: a transaction publishes to queues that dead-letter.
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
        self.shared.durable.reached()
    }

    /// The last ticket that reads of the store see.
    pub fn applied(&self) -> Ticket {
        self.shared.applied.reached()
    }

    /// Calls the waiter when the ticket is durable; immediately, on this thread, if it is durable already. Drops the
    /// waiter if the committer is shut down first.
    pub fn when_durable(&self, ticket: Ticket, waiter: Arc<dyn Waiter>) {
        self.shared.durable.when(ticket, waiter);
    }

    /// As [`Committer::when_durable`], for reads of the store that must see what was handed to queues by now.
    pub fn when_applied(&self, ticket: Ticket, waiter: Arc<dyn Waiter>) {
        self.shared.applied.when(ticket, waiter);
        self.shared.want_applied(ticket);
    }

    /// Waits until the ticket is durable, also while a failed store is being opened again.
    pub async fn wait(&self, ticket: Ticket) -> Result<(), StoreFailed> {
        self.shared.durable.wait(ticket).await
    }

    /// As [`Committer::wait`], until reads of the store see the ticket.
    pub async fn wait_applied(&self, ticket: Ticket) -> Result<(), StoreFailed> {
        self.shared.want_applied(ticket);
        self.shared.applied.wait(ticket).await
    }

    /// Counts bytes that a publisher has handed to queues. They stop counting when their batch is durable.
    pub fn note_pending(&self, bytes: usize) {
        self.shared.arrivals.note();
        self.shared.pending.fetch_add(bytes, Ordering::Relaxed);
        let before = self.shared.gathered.fetch_add(bytes, Ordering::AcqRel);
        if before < PIPELINE_BYTES && before + bytes >= PIPELINE_BYTES {
            let mut gate = self.shared.gate.lock();
            match gate.committer {
                Pace::AwaitsSync | Pace::Gathers => self.shared.wake_committer(&mut gate),
                Pace::Works | Pace::AwaitsWork => {}
            }
        }
    }

    /// Bytes handed to queues and not yet durable.
    pub fn pending_bytes(&self) -> usize {
        self.shared.pending.load(Ordering::Relaxed)
    }

    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Whether publishers may go on.
    pub fn has_room(&self) -> bool {
        self.shared.pending.load(Ordering::Relaxed) <= self.shared.limits.pending_bytes_max
    }

    /// Whether publishers with few pending bytes may go on although others must wait.
    pub fn has_reserve(&self) -> bool {
        let most = self.shared.limits.pending_bytes_max.saturating_mul(2);
        self.shared.pending.load(Ordering::Relaxed) <= most
    }

    /// The ticket of the batch that gathers now. What was handed to queues before is in it or in an earlier one.
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

    /// Commits and syncs what waits, then stops the threads. Blocks. Opens a failed store once more.
    pub fn shutdown(&self) {
        {
            let mut gate = self.shared.gate.lock();
            gate.closing = true;
            self.shared.wake_all();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        // A source may hold the last handle. Then this runs on one of the threads, and they end by themselves.
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

    /// Whether everything that happened is durable, after a shutdown.
    pub fn has_written_all(&self) -> bool {
        let gate = self.shared.gate.lock();
        gate.failure.is_none() && gate.unsynced.is_empty() && !gate.has_work()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shutdown();
    }
}

thread_local! {
    /// Batch guards that this thread holds.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
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
