//! What the thread does: it carries out one piece of work after the other.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::{debug, error, warn};

use super::work::{Doing, Shortage, Task, Until, Work};
use crate::clock;
use crate::model::LogId;
use crate::store::StoreError;
use crate::store::fjall::checkpoint_file;
use crate::store::fjall::core::Core;
use crate::store::fjall::error::failed;
use crate::store::fjall::options::MaintenanceOptions;

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
/// How long a flush may take before the thread postpones its work.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);

/// What the thread shares with its handle.
pub(super) struct Shared {
    core: Arc<Core>,
    work: Mutex<Work>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn new(core: Arc<Core>, work: Work) -> Shared {
        Shared {
            core,
            work: Mutex::new(work),
            changed: Condvar::new(),
        }
    }

    /// Changes the work, and wakes the thread if `wakes` holds then.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Work) -> T,
        wakes: impl FnOnce(&Work) -> bool,
    ) -> T {
        let mut work = self.work.lock();
        let changed = change(&mut work);
        if wakes(&work) {
            work.doing = Doing::Working;
            self.changed.notify_all();
        }
        changed
    }

    /// Whether what was counted gives the thread something to do.
    pub(super) fn must_wake(&self, work: &Work) -> bool {
        work.must_wake(&self.core.options, clock::monotonic())
    }

    /// Whether every sweep that was asked for has ended, and the extents are counted.
    #[cfg(test)]
    pub(super) fn has_swept(&self) -> bool {
        let work = self.work.lock();
        !work.must_sweep() && !work.uncounted && !work.unsettled && !work.is_sweeping
    }

    pub(super) fn run(&self) {
        loop {
            match self.next_task() {
                Task::CountExtents => self.count_extents(),
                Task::Evacuate => self.evacuate(self.options().extent_slack_bytes),
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

    fn options(&self) -> &MaintenanceOptions {
        &self.core.options.maintenance
    }

    /// Waits for work.
    fn next_task(&self) -> Task {
        let mut work = self.work.lock();
        loop {
            let now = clock::monotonic();
            if let Some(task) = work.next(&self.core.options, now) {
                work.doing = Doing::Working;
                return task;
            }
            work.doing = Doing::Asleep;
            match work.cramped_until(now) {
                Some(until) => {
                    self.changed.wait_until(&mut work, until);
                }
                None => self.changed.wait(&mut work),
            }
        }
    }

    fn count_extents(&self) {
        if let Err(failure) = self.core.count_extents() {
            // Until the database is reopened, extents of earlier runs are not reused.
            warn!(%failure, "cannot count the chunks in extents");
        }
    }

    /// Empties sparse extents, some at a time: a checkpoint gives back what moving their chunks has taken.
    fn evacuate(&self, slack: u64) {
        loop {
            match self.core.evacuate(slack, || self.work.lock().stopping) {
                Ok(true) if self.core.has_room_to_flush() => {}
                Ok(_) => return,
                Err(failure) => {
                    warn!(%failure, "postponed the emptying of sparse extents");
                    return;
                }
            }
            if let Err(failure) = self.cover() {
                warn!(%failure, "postponed a checkpoint");
                return;
            }
            let mut work = self.work.lock();
            if work.must_sweep() {
                work.must_evacuate(); // after the sweeps
                return;
            }
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
                    self.rest(RETRY_AFTER, Until::Reopened);
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
                    self.rest(RETRY_AFTER, Until::Reopened);
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
        self.rest(self.options().quiet, Until::MustSweep);
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
        let removed = std::mem::take(&mut work.removed_chunks);
        let min_bytes = if short {
            work.short = Shortage::Tried(clock::monotonic());
            0
        } else {
            self.options().reclaim_min_bytes
        };
        drop(work);
        if let Err(failure) = self.free(short, removed, min_bytes) {
            warn!(%failure, "postponed the freeing of disk space");
        }
    }

    /// Frees what is empty first, which makes room to move chunks out of sparse extents.
    fn free(&self, short: bool, removed: u64, min_bytes: u64) -> Result<(), StoreError> {
        let slack = if short {
            self.core.hasten_freeing()?;
            0
        } else {
            self.options().extent_slack_bytes.min(min_bytes)
        };
        self.cover()?;
        self.core.trim_extents(short)?;
        self.evacuate(slack);
        self.core.trim_extents(short)?;
        match removed {
            0 => Ok(()),
            _ => self.reclaim(min_bytes),
        }
    }

    /// Makes a checkpoint if the time since `written` was quiet. That frees memory, and the next start reads less of
    /// the log.
    fn consider_checkpoint(&self, written: u64) {
        self.rest(self.options().quiet, Until::MustSweepOrCover);
        let work = self.work.lock();
        let must = work.is_checkpoint_full(&self.core.options);
        if work.stopping || must || !work.is_quiet_since(written) {
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
        if has_spare || self.core.is_short_of_space() || self.rest(SPARE_LOOK, Until::Nothing) {
            return;
        }
        let grown = self.work.lock().written.wrapping_sub(written);
        if grown > SPARE_GROWTH_MAX {
            return; // the next look follows
        }
        let Ok(open) = self.core.open() else {
            return;
        };
        let pause = || self.rest(SPARE_PAUSE, Until::Nothing);
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
            match checkpoint_file::is_unreadable(&failure) {
                true => error!(
                    %failure,
                    "a table of the database is damaged, so the log frees no space: start the broker again, which builds the \
                     database anew without loss"
                ),
                false => warn!(%failure, "postponed a checkpoint"),
            }
            self.rest(RETRY_AFTER, Until::Reopened);
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
        let (before, room) = {
            let open = self.core.open()?;
            let before = open.spaces.msgs.disk_space();
            (before, self.core.room_beside_checkpoint(&open))
        };
        if before < min_bytes || before > room {
            return Ok(()); // it writes as much anew
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

    /// Waits for `time`, or until the thread must stop; true then. `until` says what else ends it.
    fn rest(&self, time: Duration, until: Until) -> bool {
        let deadline = clock::monotonic() + time;
        let mut work = self.work.lock();
        work.reopened = false;
        while !work.stopping && !work.ends(until, &self.core.options) {
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                break;
            }
            work.doing = Doing::Resting(until);
            self.changed.wait_for(&mut work, left);
        }
        work.doing = Doing::Working;
        work.stopping
    }
}
