//! What the thread has to do, and what it does next. Pure.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::model::LogId;
use crate::store::fjall::apply::Progress;
use crate::store::fjall::options::FjallOptions;

/// Maximum number of bytes committed in a quiet time.
const QUIET_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Number of removed chunks after which the thread looks for sparse extents.
const EVACUATE_AFTER_CHUNKS: u64 = 1024;
/// A log that has grown by this many times the bytes of a checkpoint does not wait for the time between checkpoints.
const CHECKPOINT_FACTOR: u64 = 4;
/// How long after a try to free space another one follows although no chunk was removed: entries may have been purged, or
/// others have made room.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Work {
    /// Removed logs that are not fully swept.
    pub(super) logs: VecDeque<LogId>,
    /// Parts of logs to sweep.
    pub(super) sweeps: VecDeque<(LogId, Range<u64>)>,
    /// The chunks that a start would sweep are not known yet.
    pub(super) unsettled: bool,
    /// A sweep is under way, or extents are being counted.
    pub(super) is_sweeping: bool,
    /// Chunks removed since the last reclaim.
    pub(super) removed_chunks: u64,
    /// Chunks removed since the last look for sparse extents.
    pub(super) removed_since_look: u64,
    /// The chunks of earlier runs in extents are not counted yet.
    pub(super) uncounted: bool,
    /// Bytes of the log, to tell quiet times.
    pub(super) written: u64,
    /// Bytes of the log since the last checkpoint.
    pub(super) uncovered: u64,
    /// When that began.
    pub(super) covered_at: Option<Instant>,
    /// There was no room for a checkpoint; none is tried before.
    pub(super) cramped_until: Option<Instant>,
    /// Bytes of the log since the last look for a spare extent.
    pub(super) since_spare: u64,
    /// While space is short, even little space is freed.
    pub(super) short: Shortage,
    /// The database was reopened after a failure.
    pub(super) reopened: bool,
    pub(super) doing: Doing,
    pub(super) stopping: bool,
}

/// What the thread is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Doing {
    #[default]
    Working,
    /// It has no work.
    Asleep,
    /// It waits for a time, or for what comes earlier.
    Resting(Until),
}

/// What ends a rest before its time, besides the end of the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Nothing,
    /// The database was reopened.
    Reopened,
    MustSweep,
    /// A sweep or a checkpoint must follow.
    MustSweepOrCover,
}

/// Whether free space is below its limit, and whether this thread has acted on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shortage {
    #[default]
    None,
    Told,
    /// Acted on at this time. Another try is worthwhile after more chunks were removed, or some time.
    Tried(Instant),
}

/// The next piece of work.
pub(super) enum Task {
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
    /// Takes what was applied.
    pub(super) fn count(&mut self, progress: Progress) {
        self.written = self.written.wrapping_add(progress.bytes);
        self.uncovered = self.uncovered.saturating_add(progress.bytes);
        self.since_spare = self.since_spare.saturating_add(progress.bytes);
        self.count_removed(progress.removed_chunks);
        self.logs.extend(progress.removed_logs);
        self.sweeps.extend(progress.sweeps);
    }

    /// Free space is below its limit.
    pub(super) fn note_shortage(&mut self, now: Instant) {
        let may_help = match self.short {
            Shortage::None | Shortage::Told => true,
            Shortage::Tried(at) => {
                self.removed_chunks > 0 || now.saturating_duration_since(at) >= TRY_AGAIN_AFTER
            }
        };
        if may_help {
            self.short = Shortage::Told;
        }
    }

    /// More extents may be sparse than could be emptied.
    pub(super) fn must_evacuate(&mut self) {
        self.removed_since_look = EVACUATE_AFTER_CHUNKS;
    }

    pub(super) fn count_removed(&mut self, chunks: u64) {
        self.removed_chunks += chunks;
        self.removed_since_look += chunks;
    }

    /// Takes the next piece of work.
    pub(super) fn next(&mut self, options: &FjallOptions, now: Instant) -> Option<Task> {
        self.is_sweeping = false;
        if self.stopping {
            return Some(Task::Stop);
        }
        if std::mem::take(&mut self.uncounted) {
            self.is_sweeping = true;
            return Some(Task::CountExtents);
        }
        if self.must_cover(options, now) {
            return Some(Task::Checkpoint);
        }
        if let Some(log) = self.logs.pop_front() {
            return Some(Task::SweepRemoved(log));
        }
        if let Some((log, offsets)) = self.sweeps.pop_front() {
            self.is_sweeping = true;
            return Some(Task::Sweep(log, offsets));
        }
        if std::mem::take(&mut self.unsettled) {
            self.is_sweeping = true;
            return Some(Task::FindSettled);
        }
        if self.removed_since_look >= EVACUATE_AFTER_CHUNKS {
            self.removed_since_look = 0;
            return Some(Task::Evacuate);
        }
        let written = self.written;
        if self.since_spare >= options.maintenance.spare_after_bytes {
            self.since_spare = 0;
            return Some(Task::ConsiderSpare { written });
        }
        if self.is_reclaim_due(options) {
            return Some(Task::ConsiderReclaim { written });
        }
        self.may_cover(options, now)
            .then_some(Task::ConsiderCheckpoint { written })
    }

    /// Whether what was counted gives the thread something to do before it would look by itself.
    pub(super) fn must_wake(&self, options: &FjallOptions, now: Instant) -> bool {
        match self.doing {
            Doing::Working => false,
            Doing::Resting(until) => self.ends(until, options),
            Doing::Asleep => {
                self.must_sweep()
                    || self.removed_since_look >= EVACUATE_AFTER_CHUNKS
                    || self.since_spare >= options.maintenance.spare_after_bytes
                    || self.is_reclaim_due(options)
                    || self.may_cover(options, now)
            }
        }
    }

    /// Whether a rest ends.
    pub(super) fn ends(&self, until: Until, options: &FjallOptions) -> bool {
        match until {
            Until::Nothing => false,
            Until::Reopened => self.reopened,
            Until::MustSweep => self.must_sweep(),
            Until::MustSweepOrCover => self.must_sweep() || self.is_checkpoint_full(options),
        }
    }

    /// Until when no checkpoint is tried, if there was no room for one.
    pub(super) fn cramped_until(&self, now: Instant) -> Option<Instant> {
        self.cramped_until.filter(|until| now < *until)
    }

    pub(super) fn is_quiet_since(&self, written: u64) -> bool {
        self.written.wrapping_sub(written) <= QUIET_BYTES_MAX && !self.must_sweep()
    }

    pub(super) fn must_sweep(&self) -> bool {
        !self.logs.is_empty() || !self.sweeps.is_empty()
    }

    /// Whether so much was written since the last checkpoint that one follows at the next occasion.
    pub(super) fn is_checkpoint_full(&self, options: &FjallOptions) -> bool {
        self.uncovered >= options.checkpoint_bytes
    }

    fn is_reclaim_due(&self, options: &FjallOptions) -> bool {
        self.short == Shortage::Told
            || self.removed_chunks >= options.maintenance.reclaim_after_chunks
    }

    /// Whether so much was written since the last checkpoint that the next one must follow, also under load.
    fn must_cover(&self, options: &FjallOptions, now: Instant) -> bool {
        if self.cramped_until(now).is_some() {
            return false;
        }
        let gap = options.maintenance.checkpoint_gap;
        let is_time = || {
            let since = |at| now.saturating_duration_since(at) >= gap;
            self.covered_at.is_none_or(since)
        };
        self.uncovered >= options.checkpoint_bytes.saturating_mul(CHECKPOINT_FACTOR)
            || (self.is_checkpoint_full(options) && is_time())
    }

    fn may_cover(&self, options: &FjallOptions, now: Instant) -> bool {
        let bytes = options.maintenance.flush_min_bytes;
        self.uncovered >= bytes.min(options.checkpoint_bytes) && self.cramped_until(now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn written(bytes: u64) -> Progress {
        Progress {
            bytes,
            ..Progress::default()
        }
    }

    #[test]
    fn a_checkpoint_comes_first_when_it_must_and_last_when_it_may() {
        let options = FjallOptions::default();
        let now = clock::monotonic();
        let mut work = Work::default();
        work.count(written(options.maintenance.flush_min_bytes));
        work.since_spare = 0;
        work.sweeps.push_back((LogId(1), 0..2));
        assert!(matches!(
            work.next(&options, now),
            Some(Task::Sweep(LogId(1), _))
        ));
        let may = work.next(&options, now);
        assert!(matches!(may, Some(Task::ConsiderCheckpoint { .. })));
        work.count(written(options.checkpoint_bytes));
        work.since_spare = 0;
        work.logs.push_back(LogId(1));
        assert!(matches!(work.next(&options, now), Some(Task::Checkpoint)));
        // Within the time between checkpoints only much more makes one follow.
        work.covered_at = Some(now);
        assert!(matches!(
            work.next(&options, now),
            Some(Task::SweepRemoved(LogId(1)))
        ));
        work.count(written(CHECKPOINT_FACTOR * options.checkpoint_bytes));
        assert!(matches!(work.next(&options, now), Some(Task::Checkpoint)));
        let later = now + Duration::from_secs(5);
        work.cramped_until = Some(later);
        work.since_spare = 0;
        assert!(work.next(&options, now).is_none(), "there is no room");
        assert!(matches!(work.next(&options, later), Some(Task::Checkpoint)));
    }

    #[test]
    fn space_is_freed_again_after_more_removals_or_some_time() {
        let now = clock::monotonic();
        let tried = || Work {
            short: Shortage::Tried(now),
            ..Work::default()
        };
        let mut work = Work::default();
        work.note_shortage(now);
        assert_eq!(work.short, Shortage::Told);
        let mut work = tried();
        work.note_shortage(now + TRY_AGAIN_AFTER / 2);
        assert_eq!(work.short, Shortage::Tried(now));
        work.note_shortage(now + TRY_AGAIN_AFTER);
        assert_eq!(work.short, Shortage::Told);
        let mut work = tried();
        work.count_removed(1);
        work.note_shortage(now);
        assert_eq!(work.short, Shortage::Told);
    }

    #[test]
    fn a_rest_ends_with_what_it_waits_for_only() {
        let options = FjallOptions::default();
        let now = clock::monotonic();
        let rests = |until| Work {
            doing: Doing::Resting(until),
            ..Work::default()
        };
        let mut sweep = Progress::default();
        sweep.sweeps.push((LogId(1), 0..2));
        let cases = [
            (Until::Nothing, false, false),
            (Until::Reopened, false, false),
            (Until::MustSweep, true, false),
            (Until::MustSweepOrCover, true, true),
        ];
        for (until, by_sweep, by_bytes) in cases {
            let mut work = rests(until);
            assert!(!work.must_wake(&options, now));
            work.count(Progress {
                sweeps: sweep.sweeps.clone(),
                ..Progress::default()
            });
            assert_eq!(work.must_wake(&options, now), by_sweep, "{until:?}");
            let mut work = rests(until);
            work.count(written(options.checkpoint_bytes));
            assert_eq!(work.must_wake(&options, now), by_bytes, "{until:?}");
            work.doing = Doing::Asleep;
            assert!(work.must_wake(&options, now));
            work.doing = Doing::Working;
            assert!(!work.must_wake(&options, now));
        }
    }
}
