//! Removed logs, and the progress of the sweep of each log.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use crate::model::LogId;

/// Maximum number of remembered swept logs.
const SWEPT_LOGS_MAX: usize = 4096;

/// Removed logs, and where sweeps continue.
#[derive(Default)]
pub(super) struct RemovedLogs {
    /// Removed logs; the store drops writes to them.
    pub(super) dead: HashSet<LogId>,
    /// Fully swept ones among them, oldest first. They are remembered for a while, so that a change that was
    /// under way during the removal does not bring a log back.
    pub(super) swept: VecDeque<LogId>,
    /// Swept logs whose tombstones go after the next checkpoint.
    pub(super) unmarked: Vec<LogId>,
    /// Offset at which the sweep of a log continues. All chunks before it are removed, and skipping the
    /// removed keys would cost time.
    pub(super) cursors: HashMap<LogId, u64>,
    /// Parts of logs that were swept since the last checkpoint: log, start and end. A reopening undoes that.
    pub(super) uncovered: HashMap<(LogId, u64), u64>,
}

impl RemovedLogs {
    /// Notes that a part of a log was swept.
    pub(super) fn part_swept(&mut self, log: LogId, offsets: Range<u64>) {
        let end = self.uncovered.entry((log, offsets.start)).or_default();
        *end = offsets.end.max(*end);
    }

    pub(super) fn sweep_ended(&mut self, log: LogId) {
        self.cursors.remove(&log);
        self.unmarked.push(log);
    }

    pub(super) fn tomb_removed(&mut self, log: LogId) {
        self.swept.push_back(log);
        if self.swept.len() > SWEPT_LOGS_MAX
            && let Some(forgotten) = self.swept.pop_front()
        {
            self.dead.remove(&forgotten);
        }
    }
}
