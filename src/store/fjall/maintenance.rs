//! The store's background thread: removes what deleted logs have left, and once it is quiet gives the space of removed
//! chunks back to the file system, and the memory of memtables to the system. Sleeps while there is nothing to do.

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

/// Bytes written in the quiet time that still count as quiet.
const QUIET_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Removed chunks after which the extents are looked at: some may hold too little.
const EVACUATE_AFTER_CHUNKS: u64 = 1024;
/// Keys removed in one batch, so that commits in between do not wait long.
const SWEEP_KEYS: usize = 256;
/// How long the thread leaves a failed database alone unless it is reopened earlier.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long a memtable may take to reach the disk before reclaiming is put off.
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
    /// Removed logs with something left.
    logs: VecDeque<LogId>,
    /// Chunks removed since space was given back.
    removed_chunks: u64,
    /// Chunks removed since the extents were looked at.
    removed_since_look: u64,
    /// What earlier runs have left in the extents is not known yet.
    uncounted: bool,
    /// Bytes committed, to see whether it is quiet.
    written: u64,
    /// Bytes committed since memtables were flushed for quiet.
    unflushed: u64,
    /// Space is short, and may be given back although there is little of it.
    short: Shortage,
    /// The database was opened again after a failure.
    reopened: bool,
    asleep: bool,
    stopping: bool,
}

/// Whether free space is below its limit, as far as this thread has not acted on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shortage {
    #[default]
    None,
    Told,
    /// Acted on. Told again it is worth another try only if something was removed since.
    Tried,
}

/// What to do next.
enum Task {
    CountExtents,
    /// Extents may hold too little.
    Evacuate,
    Sweep(LogId),
    /// Enough was removed; `written` tells later whether it was quiet.
    ConsiderReclaim {
        written: u64,
    },
    /// Enough was written to be worth a flush; the same.
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
    /// Starts the thread, with the remains of logs removed before.
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

    /// Takes note of a commit.
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

    /// Takes note that free space is below its limit.
    pub(super) fn space_is_short(&self) {
        let mut work = self.shared.work.lock();
        if work.short == Shortage::None || work.removed_chunks > 0 {
            work.short = Shortage::Told;
            if std::mem::take(&mut work.asleep) {
                self.shared.changed.notify_all();
            }
        }
    }

    /// Takes note of the database's return, and of remains found then.
    pub(super) fn reopened(&self, remains: Vec<LogId>) {
        let mut work = self.shared.work.lock();
        work.reopened = true;
        work.uncounted = true;
        work.logs.extend(remains);
        drop(work);
        self.shared.changed.notify_all();
    }

    /// Ends the thread.
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
            // Until the database is opened again extents of earlier runs are not used anew.
            warn!(%failure, "cannot tell what is left in extents");
        }
    }

    fn evacuate(&self, slack: u64) {
        if let Err(failure) = self.core.evacuate(slack, || self.work.lock().stopping) {
            warn!(%failure, "moving what is left in extents is put off");
        }
    }

    fn sweep(&self, log: LogId) {
        let mut swept = 0;
        loop {
            match self.core.sweep_removed(log, SWEEP_KEYS) {
                Ok(true) => break,
                Ok(false) => swept += SWEEP_KEYS as u64,
                Err(failure) => {
                    debug!(log = log.0, %failure, "sweeping a removed log is put off");
                    self.work.lock().logs.push_back(log);
                    self.rest(RETRY_AFTER, |work| work.reopened);
                    return;
                }
            }
            if self.work.lock().stopping {
                return; // the tombstone stays, and the next start goes on
            }
        }
        self.work.lock().removed_chunks += swept;
    }

    /// Gives space back if there is enough of it and little was written since `written` was noted, or if it is short.
    fn consider_reclaim(&self, written: u64) {
        self.rest(self.options.quiet, |work| !work.logs.is_empty());
        let mut work = self.work.lock();
        let quiet = work.is_quiet_since(written);
        let short = work.short == Shortage::Told;
        if work.stopping || !(quiet || short) {
            return; // the next look starts from the bytes written by then
        }
        if short && !self.core.has_room_to_flush() {
            // It would fail, and close the database. Someone has to make room first; then this is told again.
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
            warn!(%failure, "giving disk space back is put off");
        }
    }

    /// Flushes memtables if little was written since `written` was noted: what nobody writes to is better on disk than
    /// in memory, and need not be read back from the journal at the next start.
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
            warn!(%failure, "flushing is put off");
        }
    }

    /// A removed chunk's space is free only after its file was found dead in one merge and dropped by the next, and
    /// both run only when something is written.
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
        self.flush()?; // old versions let go of their files
        let after = self.core.open()?.msgs.disk_space();
        debug!(before, after, "gave disk space back");
        Ok(())
    }

    /// Writes what is in memory to tables, with at least one key of chunks.
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

    /// Waits, but not once the thread is to stop or `until` holds. True when it is to stop.
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
