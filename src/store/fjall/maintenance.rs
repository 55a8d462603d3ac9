//! The store's background thread. It sweeps removed logs, empties sparse extents and, in quiet times, frees
//! the disk space of removed chunks and the memory of memtables. It sleeps while it has no work.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::{debug, warn};

use super::core::Core;
use super::error::failed;
use super::options::MaintenanceOptions;
use crate::clock;
use crate::model::LogId;
use crate::store::StoreError;
use crate::store::worker::Worker;

/// Maximum number of bytes committed in a quiet time.
const QUIET_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Number of removed chunks after which the thread looks for sparse extents.
const EVACUATE_AFTER_CHUNKS: u64 = 1024;
/// Keys removed in one batch; small, so that commits in between do not wait long.
const SWEEP_KEYS: usize = 256;
/// How long the thread waits after a failure, unless the database is reopened earlier.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long a flush may take before the thread postpones its work.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);

/// The handle of the thread.
pub(super) struct Maintenance {
    shared: Arc<Shared>,
    worker: Worker,
}

struct Shared {
    core: Arc<Core>,
    options: MaintenanceOptions,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    /// Removed logs that are not fully swept.
    logs: VecDeque<LogId>,
    /// Chunks removed since the last reclaim.
    removed_chunks: u64,
    /// Chunks removed since the last look for sparse extents.
    removed_since_look: u64,
    /// The chunks of earlier runs in extents are not counted yet.
    uncounted: bool,
    /// Bytes committed, to tell quiet times.
    written: u64,
    /// Bytes committed since the last flush in a quiet time.
    unflushed: u64,
    /// While space is short, even little space is freed.
    short: Shortage,
    /// The database was reopened after a failure.
    reopened: bool,
    asleep: bool,
    stopping: bool,
}

/// Whether free space is below its limit, and whether this thread has acted on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shortage {
    #[default]
    None,
    Told,
    /// Acted on. Another try is worthwhile only after more chunks were removed.
    Tried,
}

/// The next piece of work.
enum Task {
    CountExtents,
    /// Empty sparse extents.
    Evacuate,
    Sweep(LogId),
    /// Enough chunks were removed for a reclaim. Comparing `written` later tells whether the time was quiet.
    ConsiderReclaim {
        written: u64,
    },
    /// Enough bytes were committed for a flush; `written` as above.
    ConsiderFlush {
        written: u64,
    },
    Stop,
}

impl Work {
    fn is_quiet_since(&self, written: u64) -> bool {
        self.written.wrapping_sub(written) <= QUIET_BYTES_MAX && self.logs.is_empty()
    }
}

impl Maintenance {
    /// Starts the thread, with the removed logs that an earlier run did not fully sweep.
    pub(super) fn start(
        core: Arc<Core>,
        options: MaintenanceOptions,
        remains: Vec<LogId>,
    ) -> Result<Maintenance, StoreError> {
        let work = Work {
            logs: remains.into(),
            uncounted: true,
            ..Work::default()
        };
        let shared = Arc::new(Shared {
            core,
            options,
            work: Mutex::new(work),
            changed: Condvar::new(),
        });
        let worker = Worker::start("leveret-maint", {
            let shared = shared.clone();
            move || shared.run()
        })?;
        Ok(Maintenance { shared, worker })
    }

    /// Counts a commit, and wakes the thread if it has work now.
    pub(super) fn committed(&self, bytes: usize, removed_chunks: u64, removed_logs: Vec<LogId>) {
        let mut work = self.shared.work.lock();
        work.written = work.written.wrapping_add(bytes as u64);
        work.unflushed = work.unflushed.saturating_add(bytes as u64);
        work.removed_chunks += removed_chunks;
        work.removed_since_look += removed_chunks;
        let wanted = !removed_logs.is_empty()
            || work.removed_since_look >= EVACUATE_AFTER_CHUNKS
            || self.shared.due(&work)
            || self.shared.may_flush(&work);
        work.logs.extend(removed_logs);
        if wanted && std::mem::take(&mut work.asleep) {
            self.shared.changed.notify_all();
        }
    }

    /// Tells the thread that free space is below its limit.
    pub(super) fn space_is_short(&self) {
        let mut work = self.shared.work.lock();
        if work.short == Shortage::None || work.removed_chunks > 0 {
            work.short = Shortage::Told;
            if std::mem::take(&mut work.asleep) {
                self.shared.changed.notify_all();
            }
        }
    }

    /// Tells the thread that the database was reopened, and which removed logs it still has.
    pub(super) fn reopened(&self, remains: Vec<LogId>) {
        let mut work = self.shared.work.lock();
        work.reopened = true;
        work.uncounted = true;
        work.logs.extend(remains);
        drop(work);
        self.shared.changed.notify_all();
    }

    /// Stops the thread and waits for its end.
    pub(super) fn stop(&self) {
        self.shared.work.lock().stopping = true;
        self.shared.changed.notify_all();
        self.worker.join();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            match self.next_task() {
                Task::CountExtents => self.count_extents(),
                Task::Evacuate => self.evacuate(self.options.extent_slack_bytes),
                Task::Sweep(log) => self.sweep(log),
                Task::ConsiderReclaim { written } => self.consider_reclaim(written),
                Task::ConsiderFlush { written } => self.consider_flush(written),
                Task::Stop => return,
            }
        }
    }

    fn next_task(&self) -> Task {
        let mut work = self.work.lock();
        loop {
            if work.stopping {
                return Task::Stop;
            }
            if std::mem::take(&mut work.uncounted) {
                return Task::CountExtents;
            }
            if let Some(log) = work.logs.pop_front() {
                return Task::Sweep(log);
            }
            if work.removed_since_look >= EVACUATE_AFTER_CHUNKS {
                work.removed_since_look = 0;
                return Task::Evacuate;
            }
            if self.due(&work) {
                return Task::ConsiderReclaim {
                    written: work.written,
                };
            }
            if self.may_flush(&work) {
                return Task::ConsiderFlush {
                    written: work.written,
                };
            }
            work.asleep = true;
            self.changed.wait(&mut work);
        }
    }

    fn due(&self, work: &Work) -> bool {
        work.short == Shortage::Told || work.removed_chunks >= self.options.reclaim_after_chunks
    }

    fn may_flush(&self, work: &Work) -> bool {
        work.unflushed >= self.options.flush_min_bytes
    }

    fn count_extents(&self) {
        if let Err(failure) = self.core.count_extents() {
            // Until the database is reopened, extents of earlier runs are not reused.
            warn!(%failure, "cannot count the chunks in extents");
        }
    }

    fn evacuate(&self, slack: u64) {
        if let Err(failure) = self.core.evacuate(slack, || self.work.lock().stopping) {
            warn!(%failure, "postponed the emptying of sparse extents");
        }
    }

    fn sweep(&self, log: LogId) {
        let mut swept = 0;
        loop {
            match self.core.sweep_removed(log, SWEEP_KEYS) {
                Ok(true) => break,
                Ok(false) => swept += SWEEP_KEYS as u64,
                Err(failure) => {
                    debug!(log = log.0, %failure, "postponed the sweep of a removed log");
                    self.work.lock().logs.push_back(log);
                    self.rest(RETRY_AFTER, |work| work.reopened);
                    return;
                }
            }
            if self.work.lock().stopping {
                return; // the tombstone stays, and the next start continues
            }
        }
        self.work.lock().removed_chunks += swept;
    }

    /// Frees disk space if the time since `written` was quiet and there is enough to free, or if space is
    /// short.
    fn consider_reclaim(&self, written: u64) {
        self.rest(self.options.quiet, |work| !work.logs.is_empty());
        let mut work = self.work.lock();
        let quiet = work.is_quiet_since(written);
        let short = work.short == Shortage::Told;
        if work.stopping || !(quiet || short) {
            return; // the next look starts from the bytes written by then
        }
        if short && !self.core.has_room_to_flush() {
            // A flush would fail and close the database. The next report of a shortage starts another try.
            work.short = Shortage::None;
            return;
        }
        work.removed_chunks = 0;
        let min_bytes = if short {
            work.short = Shortage::Tried;
            0
        } else {
            self.options.reclaim_min_bytes
        };
        drop(work);
        let slack = if short {
            0
        } else {
            self.options.extent_slack_bytes.min(min_bytes)
        };
        self.evacuate(slack);
        let reclaimed = self
            .core
            .trim_extents(short)
            .and_then(|()| self.reclaim(min_bytes));
        if let Err(failure) = reclaimed {
            warn!(%failure, "postponed the freeing of disk space");
        }
    }

    /// Flushes memtables if the time since `written` was quiet. That frees memory, and the next start reads
    /// less from the journal.
    fn consider_flush(&self, written: u64) {
        self.rest(self.options.quiet, |work| !work.logs.is_empty());
        let mut work = self.work.lock();
        if work.stopping || !work.is_quiet_since(written) {
            return; // the next look starts from the bytes written by then
        }
        work.unflushed = 0;
        drop(work);
        if self.core.memtable_bytes() < self.options.flush_min_bytes
            || !self.core.has_room_to_flush()
        {
            return;
        }
        if let Err(failure) = self.flush() {
            warn!(%failure, "postponed a flush");
        }
    }

    /// Compacts twice: one merge finds the files without live chunks, the next one drops them. A merge runs
    /// only after a write, hence the flushes.
    fn reclaim(&self, min_bytes: u64) -> Result<(), StoreError> {
        let before = self.core.open()?.msgs.disk_space();
        if before < min_bytes {
            return Ok(());
        }
        for _ in 0..2 {
            self.flush()?;
            self.core
                .open()?
                .msgs
                .major_compact()
                .map_err(failed("compacting"))?;
        }
        self.flush()?; // old versions release their files
        let after = self.core.open()?.msgs.disk_space();
        debug!(before, after, "freed disk space");
        Ok(())
    }

    /// Writes the memtables to tables, with at least one key of `msgs`.
    fn flush(&self) -> Result<(), StoreError> {
        self.core.touch()?;
        self.core.seal_all()?;
        let deadline: Instant = clock::monotonic() + FLUSH_PATIENCE;
        while self.core.is_flushing()? {
            if self.rest(Duration::from_millis(20), |_| false) || clock::monotonic() > deadline {
                return Err(StoreError::Closed);
            }
        }
        Ok(())
    }

    /// Waits for `time`, or until `until` holds or the thread must stop. True when it must stop.
    fn rest(&self, time: Duration, until: impl Fn(&Work) -> bool) -> bool {
        let deadline = clock::monotonic() + time;
        let mut work = self.work.lock();
        work.reopened = false;
        while !work.stopping && !until(&work) {
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                break;
            }
            self.changed.wait_for(&mut work, left);
        }
        work.stopping
    }
}
