//! The store's background thread. It sweeps what batches tell it to and removed logs, makes checkpoints, empties sparse extents and, in quiet times,
//! frees the disk space of removed chunks. It sleeps while it has no work.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::{debug, warn};

use super::core::Core;
use super::error::failed;
use super::open::Progress;
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
/// How long the growth of the log is watched before an extent is made ready.
const SPARE_LOOK: Duration = Duration::from_millis(100);
/// Growth of the log in that time up to which an extent is made ready.
const SPARE_GROWTH_MAX: u64 = 2 * 1024 * 1024;
/// Pause between the writes that make an extent ready.
const SPARE_PAUSE: Duration = Duration::from_millis(4);
/// A log that has grown by this many times the bytes of a checkpoint does not wait for the time between checkpoints.
const CHECKPOINT_FACTOR: u64 = 4;
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
    /// Parts of logs to sweep.
    sweeps: VecDeque<(LogId, Range<u64>)>,
    /// The chunks that a start would sweep are not known yet.
    unsettled: bool,
    /// A sweep is under way, or extents are being counted.
    is_sweeping: bool,
    /// Chunks removed since the last reclaim.
    removed_chunks: u64,
    /// Chunks removed since the last look for sparse extents.
    removed_since_look: u64,
    /// The chunks of earlier runs in extents are not counted yet.
    uncounted: bool,
    /// Bytes of the log, to tell quiet times.
    written: u64,
    /// Bytes of the log since the last checkpoint.
    uncovered: u64,
    /// When that began.
    covered_at: Option<Instant>,
    /// There was no room for a checkpoint; none is tried before.
    cramped_until: Option<Instant>,
    /// Bytes of the log since the last look for a spare extent.
    since_spare: u64,
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
    SweepRemoved(LogId),
    Sweep(LogId, Range<u64>),
    FindSettled,
    /// Enough chunks were removed for a reclaim. Comparing `written` later tells whether the time was quiet.
    ConsiderReclaim {
        written: u64,
    },
    /// So much was written that a checkpoint must follow.
    Checkpoint,
    /// The log has no spare extent; `written` as above.
    ConsiderSpare {
        written: u64,
    },
    /// Enough was written for a checkpoint in a quiet time; `written` as above.
    ConsiderCheckpoint {
        written: u64,
    },
    Stop,
}

impl Work {
    fn is_quiet_since(&self, written: u64) -> bool {
        self.written.wrapping_sub(written) <= QUIET_BYTES_MAX && !self.must_sweep()
    }

    fn is_cramped(&self) -> bool {
        self.cramped_until
            .is_some_and(|until| clock::monotonic() < until)
    }

    fn must_sweep(&self) -> bool {
        !self.logs.is_empty() || !self.sweeps.is_empty()
    }

    fn count_removed(&mut self, chunks: u64) {
        self.removed_chunks += chunks;
        self.removed_since_look += chunks;
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

    /// Counts what was applied, and wakes the thread if it has work now.
    pub(super) fn applied(&self, progress: Progress) {
        let mut work = self.shared.work.lock();
        work.written = work.written.wrapping_add(progress.bytes);
        work.uncovered = work.uncovered.saturating_add(progress.bytes);
        work.since_spare = work.since_spare.saturating_add(progress.bytes);
        work.count_removed(progress.removed_chunks);
        work.logs.extend(progress.removed_logs);
        work.sweeps.extend(progress.sweeps);
        let wanted = work.must_sweep()
            || work.removed_since_look >= EVACUATE_AFTER_CHUNKS
            || work.since_spare >= self.shared.options.spare_after_bytes
            || self.shared.due(&work)
            || self.shared.may_cover(&work);
        if wanted && std::mem::take(&mut work.asleep) {
            self.shared.changed.notify_all();
        }
    }

    /// Tells the thread to look for chunks that a start would sweep.
    pub(super) fn sweep_settled(&self) {
        let mut work = self.shared.work.lock();
        work.unsettled = true;
        if std::mem::take(&mut work.asleep) {
            self.shared.changed.notify_all();
        }
    }

    /// Whether every sweep that was asked for has ended, and the extents are counted.
    #[cfg(test)]
    pub(super) fn has_swept(&self) -> bool {
        let work = self.shared.work.lock();
        !work.must_sweep() && !work.uncounted && !work.unsettled && !work.is_sweeping
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

    /// Tells the thread that the database was reopened, which removed logs it still has, and which sweeps are undone.
    pub(super) fn reopened(&self, remains: Vec<LogId>, undone: Vec<(LogId, Range<u64>)>) {
        let mut work = self.shared.work.lock();
        work.reopened = true;
        work.uncounted = true;
        work.uncovered = 0; // what the reopening has replayed follows
        work.logs.extend(remains);
        work.sweeps.extend(undone);
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
                Task::SweepRemoved(log) => self.sweep_removed(log),
                Task::Sweep(log, offsets) => self.sweep(log, offsets),
                Task::FindSettled => self.find_settled(),
                Task::ConsiderReclaim { written } => self.consider_reclaim(written),
                Task::Checkpoint => self.checkpoint(),
                Task::ConsiderCheckpoint { written } => self.consider_checkpoint(written),
                Task::ConsiderSpare { written } => self.consider_spare(written),
                Task::Stop => return,
            }
        }
    }

    fn next_task(&self) -> Task {
        let mut work = self.work.lock();
        loop {
            work.is_sweeping = false;
            if work.stopping {
                return Task::Stop;
            }
            if std::mem::take(&mut work.uncounted) {
                work.is_sweeping = true;
                return Task::CountExtents;
            }
            if self.must_cover(&work) {
                return Task::Checkpoint;
            }
            if let Some(log) = work.logs.pop_front() {
                return Task::SweepRemoved(log);
            }
            if let Some((log, offsets)) = work.sweeps.pop_front() {
                work.is_sweeping = true;
                return Task::Sweep(log, offsets);
            }
            if std::mem::take(&mut work.unsettled) {
                work.is_sweeping = true;
                return Task::FindSettled;
            }
            if work.removed_since_look >= EVACUATE_AFTER_CHUNKS {
                work.removed_since_look = 0;
                return Task::Evacuate;
            }
            if work.since_spare >= self.options.spare_after_bytes {
                work.since_spare = 0;
                return Task::ConsiderSpare {
                    written: work.written,
                };
            }
            if self.due(&work) {
                return Task::ConsiderReclaim {
                    written: work.written,
                };
            }
            if self.may_cover(&work) {
                return Task::ConsiderCheckpoint {
                    written: work.written,
                };
            }
            work.asleep = true;
            match work.cramped_until.filter(|_| work.is_cramped()) {
                Some(until) => {
                    self.changed.wait_until(&mut work, until);
                }
                None => self.changed.wait(&mut work),
            }
        }
    }

    fn due(&self, work: &Work) -> bool {
        work.short == Shortage::Told || work.removed_chunks >= self.options.reclaim_after_chunks
    }

    /// Whether so much was written since the last checkpoint that the next one must follow, also under load.
    fn must_cover(&self, work: &Work) -> bool {
        let bytes = self.core.options.checkpoint_bytes;
        if work.is_cramped() {
            return false;
        }
        let is_time = || {
            work.covered_at
                .is_none_or(|at| at.elapsed() >= self.options.checkpoint_gap)
        };
        work.uncovered >= bytes.saturating_mul(CHECKPOINT_FACTOR)
            || (work.uncovered >= bytes && is_time())
    }

    fn may_cover(&self, work: &Work) -> bool {
        let bytes = self.options.flush_min_bytes;
        work.uncovered >= bytes.min(self.core.options.checkpoint_bytes) && !work.is_cramped()
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

    fn find_settled(&self) {
        match self.core.settled_chunks() {
            Ok(found) => self.work.lock().sweeps.extend(found),
            Err(failure) => warn!(%failure, "cannot look for settled chunks; the next start does"),
        }
    }

    fn sweep(&self, log: LogId, mut offsets: Range<u64>) {
        loop {
            match self.core.sweep(log, &offsets, SWEEP_KEYS) {
                Ok((next, removed)) => {
                    let mut work = self.work.lock();
                    work.count_removed(removed);
                    match next {
                        Some(next) if !work.stopping => offsets.start = next,
                        // The next start finds what is left.
                        Some(_) | None => return,
                    }
                }
                Err(failure) => {
                    debug!(log = log.0, %failure, "postponed a sweep");
                    self.work.lock().sweeps.push_back((log, offsets));
                    self.rest(RETRY_AFTER, |work| work.reopened);
                    return;
                }
            }
        }
    }

    fn sweep_removed(&self, log: LogId) {
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
        self.rest(self.options.quiet, Work::must_sweep);
        let mut work = self.work.lock();
        let quiet = work.is_quiet_since(written);
        let short = work.short == Shortage::Told;
        if work.stopping || !(quiet || short) {
            return; // the next look starts from the bytes written by then
        }
        if short {
            drop(work);
            self.trim();
            work = self.work.lock();
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
        // Extents that are empty now become spare with the checkpoint.
        let reclaimed = self
            .cover()
            .and_then(|()| self.core.trim_extents(short))
            .and_then(|()| self.reclaim(min_bytes));
        if let Err(failure) = reclaimed {
            warn!(%failure, "postponed the freeing of disk space");
        }
    }

    /// Makes a checkpoint if the time since `written` was quiet. That frees memory, and the next start reads less of
    /// the log.
    fn consider_checkpoint(&self, written: u64) {
        let must = |work: &Work| work.uncovered >= self.core.options.checkpoint_bytes;
        self.rest(self.options.quiet, |work| work.must_sweep() || must(work));
        let work = self.work.lock();
        if work.stopping || must(&work) || !work.is_quiet_since(written) {
            return; // the next look starts from the bytes written by then
        }
        drop(work);
        self.checkpoint();
    }

    /// Makes an extent ready for the log if it has none, and grows so slowly that the extra writes do not matter.
    fn consider_spare(&self, written: u64) {
        let has_spare = self
            .core
            .open()
            .map_or(true, |open| open.extents.has_spare());
        if has_spare || self.core.is_short_of_space() || self.rest(SPARE_LOOK, |_| false) {
            return;
        }
        let grown = self.work.lock().written.wrapping_sub(written);
        if grown > SPARE_GROWTH_MAX {
            return; // the next look follows
        }
        let Ok(open) = self.core.open() else {
            return;
        };
        let pause = || self.rest(SPARE_PAUSE, |_| false);
        if let Err(failure) = open.extents.prepare_spare(pause) {
            warn!(%failure, "cannot prepare an extent");
        }
    }

    /// Removes all spare extents. That needs no space.
    fn trim(&self) {
        if let Err(failure) = self.core.trim_extents(true) {
            warn!(%failure, "cannot remove spare extents");
        }
    }

    fn checkpoint(&self) {
        if !self.core.has_room_to_flush() {
            self.trim();
        }
        if !self.core.has_room_to_flush() {
            // A flush would fail and close the database. Other work may make room.
            self.work.lock().cramped_until = Some(clock::monotonic() + RETRY_AFTER);
            return;
        }
        self.work.lock().cramped_until = None;
        if let Err(failure) = self.cover() {
            warn!(%failure, "postponed a checkpoint");
            self.rest(RETRY_AFTER, |work| work.reopened);
        }
    }

    /// A checkpoint: writes the memtables to tables.
    fn cover(&self) -> Result<(), StoreError> {
        let covered = {
            let mut work = self.work.lock();
            work.covered_at = Some(clock::monotonic());
            std::mem::take(&mut work.uncovered)
        };
        let deadline: Instant = clock::monotonic() + FLUSH_PATIENCE;
        let done = self
            .core
            .checkpoint(|| self.work.lock().stopping || clock::monotonic() > deadline);
        if matches!(done, Ok(true)) {
            self.core.copy_manifests();
            return Ok(());
        }
        self.work.lock().uncovered += covered;
        done.and(Err(StoreError::Closed))
    }

    /// Compacts twice: one merge finds the files without live chunks, the next one drops them. A merge runs
    /// only after a write, hence the checkpoints.
    fn reclaim(&self, min_bytes: u64) -> Result<(), StoreError> {
        let before = self.core.open()?.spaces.msgs.disk_space();
        if before < min_bytes {
            return Ok(());
        }
        for _ in 0..2 {
            self.cover()?;
            self.core
                .open()?
                .spaces
                .msgs
                .major_compact()
                .map_err(failed("compacting"))?;
        }
        self.cover()?; // old versions release their files
        let after = self.core.open()?.spaces.msgs.disk_space();
        debug!(before, after, "freed disk space");
        Ok(())
    }

    /// Waits for `time`, or until the thread must stop; true then. Ends earlier if `until` holds when the thread wakes, which
    /// a reopening makes it do.
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
