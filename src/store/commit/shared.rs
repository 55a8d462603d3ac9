//! What the committer's threads share, and how they wake each other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use tokio::sync::{Notify, watch};

use super::alarm::{Alarm, AlarmCauses};
use super::applying::Applying;
use super::figures::Figures;
use super::gathering::{Arrivals, Gathering};
use super::milestone::Milestone;
use super::{Limits, Source};
use crate::clock;
use crate::model::Ticket;
use crate::store::{Batch, Op, Store};

/// With this much gathered, or in the batch before its sync, appending and syncing overlap. For less, a batch of
/// its own while the disk is busy would only make more and smaller chunks.
pub(super) const PIPELINE_BYTES: usize = 1024 * 1024;

/// What the handle and the threads share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) limits: Limits,
    /// As in `limits` at first; an operator may change it.
    pub(super) disk_free_min: AtomicU64,
    /// Held for writing only while a batch is collected.
    pub(super) boundary: RwLock<()>,
    pub(super) gate: Mutex<Gate>,
    /// The committer waits here.
    pub(super) work: Condvar,
    /// The sync thread waits here.
    pub(super) synced: Condvar,
    /// The applying thread waits here.
    pub(super) unapplied: Condvar,
    /// The disk thread waits here.
    pub(super) closing: Condvar,
    pub(super) durable: Milestone,
    pub(super) applied: Milestone,
    /// Bytes handed to queues and not yet durable.
    pub(super) pending: AtomicUsize,
    /// The open ticket of the gate, to read without its lock.
    pub(super) gathering: AtomicU64,
    /// The part of `pending` that belongs to the batch that gathers.
    pub(super) gathered: AtomicUsize,
    pub(super) arrivals: Arrivals,
    pub(super) room: Notify,
    /// Bytes that may be appended before the free space is looked at again.
    pub(super) disk_margin: AtomicU64,
    pub(super) alarms: Mutex<AlarmCauses>,
    pub(super) alarm: watch::Sender<Option<Alarm>>,
    pub(super) figures: Figures,
}

/// The batch that gathers and those that are on their way to the disk.
pub(super) struct Gate {
    pub(super) open: Ticket,
    pub(super) dirty: Vec<Arc<dyn Source>>,
    pub(super) loose: Vec<Op>,
    /// A batch is due although no source is dirty.
    pub(super) nudged: bool,
    pub(super) committer: Pace,
    /// Batches that are appended, or must be appended again, and are not durable yet; in ticket order.
    pub(super) unsynced: VecDeque<UnsyncedBatch>,
    /// A sync is running.
    pub(super) syncing: bool,
    /// With [`Limits::sync_within`], when what is appended must be synced.
    pub(super) sync_due: Option<Instant>,
    pub(super) gathering: Gathering,
    /// What the applying thread has to do.
    pub(super) applying: Applying,
    pub(super) failure: Option<String>,
    pub(super) closing: bool,
    pub(super) closed: bool,
}

/// The state of the committer's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It looks for work before it waits.
    Works,
    /// It waits for work.
    AwaitsWork,
    /// It has work but the disk is busy: it waits for the end of the sync, or for much more work.
    AwaitsSync,
    /// It has work and waits a little for more, see [`Gathering`].
    Gathers,
}

impl Gate {
    pub(super) fn has_work(&self) -> bool {
        self.nudged || !self.dirty.is_empty() || !self.loose.is_empty()
    }
}

/// A batch between its append and its sync.
pub(super) struct UnsyncedBatch {
    pub(super) batch: Batch,
    /// Pending bytes that stop counting with it.
    pub(super) share: usize,
}

impl Shared {
    pub(super) fn new(store: Arc<dyn Store>, limits: Limits) -> Shared {
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
                unsynced: VecDeque::new(),
                syncing: false,
                sync_due: None,
                gathering: Gathering::default(),
                applying: Applying::default(),
                failure: None,
                closing: false,
                closed: false,
            }),
            work: Condvar::new(),
            synced: Condvar::new(),
            unapplied: Condvar::new(),
            closing: Condvar::new(),
            durable: Milestone::default(),
            applied: Milestone::default(),
            pending: AtomicUsize::new(0),
            gathering: AtomicU64::new(1),
            gathered: AtomicUsize::new(0),
            arrivals: Arrivals::default(),
            room: Notify::new(),
            disk_margin: AtomicU64::new(u64::MAX),
            alarms: Mutex::default(),
            alarm: watch::Sender::new(None),
            figures: Figures::new(),
        }
    }

    /// Drops all waiters and sources: no ticket goes on any more.
    pub(super) fn close(&self) {
        let mut gate = self.gate.lock();
        gate.closed = true;
        // A source holds the committer, so a source that stayed here would keep both, and the store, for ever.
        let left = std::mem::take(&mut gate.dirty);
        drop(gate);
        drop(left);
        self.wake_all();
        self.durable.close();
        self.applied.close();
    }

    pub(super) fn work_came(&self, gate: &mut Gate) {
        if gate.committer == Pace::AwaitsWork {
            self.wake_committer(gate);
        }
    }

    /// Closes a batch even if no source is dirty. Bytes of messages that no queue took belong to no batch; they stop
    /// counting as pending with this one.
    pub(super) fn nudge(&self) {
        let mut gate = self.gate.lock();
        gate.nudged = true;
        self.work_came(&mut gate);
    }

    /// Wakes the committer's thread, once: each wake-up is a system call.
    pub(super) fn wake_committer(&self, gate: &mut Gate) {
        gate.committer = Pace::Works;
        self.work.notify_all();
    }

    pub(super) fn wake_all(&self) {
        self.work.notify_all();
        self.synced.notify_all();
        self.unapplied.notify_all();
        self.closing.notify_all();
    }
}

/// Waits for the whole time, even when `condvar` wakes the thread earlier, unless the committer closes.
pub(super) fn pause(condvar: &Condvar, gate: &mut MutexGuard<'_, Gate>, time: Duration) {
    let deadline = clock::monotonic() + time;
    loop {
        let left = deadline.saturating_duration_since(clock::monotonic());
        if left.is_zero() || gate.closing || gate.closed {
            return;
        }
        condvar.wait_for(gate, left);
    }
}
