//! What is remembered of removed logs, and how far the sweep of each log has come.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::model::LogId;

/// Removed and swept logs that are remembered.
const SWEPT_LOGS_MAX: usize = 4096;

/// What is known of removed logs and chunks.
#[derive(Default)]
pub(super) struct RemovedLogs {
    /// Logs to which nothing is written any more.
    pub(super) dead: HashSet<LogId>,
    /// Those of them that are swept, oldest first. They are remembered for a while, lest a change that was on its
    /// way when the log was removed bring it back.
    pub(super) swept: VecDeque<LogId>,
    /// Where the sweep of a log goes on: everything before is removed, and would cost time to skip.
    pub(super) cursors: HashMap<LogId, u64>,
}

impl RemovedLogs {
    pub(super) fn sweep_ended(&mut self, log: LogId) {
        self.cursors.remove(&log);
        self.swept.push_back(log);
        if self.swept.len() > SWEPT_LOGS_MAX
            && let Some(forgotten) = self.swept.pop_front()
        {
            self.dead.remove(&forgotten);
        }
    }
}
