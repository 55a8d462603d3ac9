//! Removing what is settled or deleted, in small batches for the background: chunks below a floor, and everything that
//! a removed log has left.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use super::{Core, Open, corrupt, failed};
use crate::model::LogId;
use crate::store::{LogRecord, StoreError, chunk, keys};

/// Removed and swept logs that are remembered.
const SWEPT_LOGS_MAX: usize = 4096;

/// What is known of removed logs and chunks.
#[derive(Default)]
pub(super) struct Removed {
    /// Logs to which nothing is written any more.
    pub(super) dead: HashSet<LogId>,
    /// Those of them that are swept, oldest first. They are remembered for a while, lest a change that was on its
    /// way when the log was removed bring it back.
    pub(super) swept: VecDeque<LogId>,
    /// Where the sweep of a log goes on: everything before is removed, and would cost time to skip.
    cursors: HashMap<LogId, u64>,
}

impl Removed {
    fn sweep_ended(&mut self, log: LogId) {
        self.cursors.remove(&log);
        self.swept.push_back(log);
        if self.swept.len() > SWEPT_LOGS_MAX
            && let Some(forgotten) = self.swept.pop_front()
        {
            self.dead.remove(&forgotten);
        }
    }
}

impl Core {
    /// Removed logs that are not swept to the end, as far as they are not known yet.
    pub(super) fn load_tombs(&self) -> Result<Vec<LogId>, StoreError> {
        let mut remains = Vec::new();
        for entry in self.open()?.state.prefix([keys::TOMB]) {
            let key = entry.key().map_err(failed("reading"))?;
            if let Some((_, log, _)) = keys::parse_state(&key) {
                remains.push(log);
            }
        }
        let mut removed = self.removed();
        removed.cursors.clear();
        remains.retain(|log| removed.dead.insert(*log));
        Ok(remains)
    }

    /// See [`Store::sweep`].
    pub(super) fn sweep(&self, log: LogId, below: u64, max: usize) -> Result<bool, StoreError> {
        let open = self.open()?;
        let Some(value) = open
            .state
            .get(keys::of_log(keys::RECORD, log))
            .map_err(failed("reading"))?
        else {
            return Ok(true); // a removed log is swept on its own
        };
        let record = LogRecord::decode(&value).map_err(corrupt("log record", log))?;
        let below = below.min(record.floor);
        let from = self.cursor(log);
        let mut gone = Vec::new();
        let mut done = true;
        if from < below {
            for entry in open.msgs.range(keys::chunks(log, from..=below - 1)) {
                gone.push(first_of(&entry.key().map_err(failed("reading"))?)?);
                if gone.len() > max {
                    done = false;
                    break;
                }
            }
        }
        // The last one found may reach over `below`; the others end where the next begins.
        let mut cursor = gone.pop();
        if done
            && let Some(first) = cursor
            && first.saturating_add(open.messages_at(log, first)?) <= below
        {
            gone.push(first);
            cursor = Some(first + 1);
        }
        let mut writes = open.batch(gone.len());
        for first in gone {
            writes.remove_weak(&open.msgs, keys::chunk(log, first));
        }
        writes.commit().map_err(failed("sweeping"))?;
        if let Some(cursor) = cursor {
            self.removed().cursors.insert(log, cursor);
        }
        Ok(done)
    }

    /// See [`Store::sweep_range`]. Tells also how many chunks were removed.
    pub(super) fn sweep_range(
        &self,
        log: LogId,
        range: Range<u64>,
        max: usize,
    ) -> Result<(Option<u64>, u64), StoreError> {
        let open = self.open()?;
        if range.is_empty() || self.removed().dead.contains(&log) {
            return Ok((None, 0));
        }
        let mut firsts = Vec::new();
        let chunks = keys::chunks(log, range.start..=range.end - 1);
        for entry in open.msgs.range(chunks).take(max.saturating_add(1)) {
            firsts.push(first_of(&entry.key().map_err(failed("reading"))?)?);
        }
        // The last one found may reach over the end; the others end where the next begins.
        let last = firsts.pop();
        let more = firsts.len() >= max;
        if !more
            && let Some(first) = last
            && first.saturating_add(open.messages_at(log, first)?) <= range.end
        {
            firsts.push(first);
        }
        let removed = firsts.len() as u64;
        let mut writes = open.batch(firsts.len());
        for first in firsts {
            writes.remove_weak(&open.msgs, keys::chunk(log, first));
        }
        writes.commit().map_err(failed("sweeping"))?;
        Ok((last.filter(|_| more), removed))
    }

    fn cursor(&self, log: LogId) -> u64 {
        self.removed().cursors.get(&log).copied().unwrap_or(0)
    }

    /// Removes up to `max` keys that a removed log has left; true when none is left and the log is forgotten.
    pub(in crate::store) fn sweep_removed(
        &self,
        log: LogId,
        max: usize,
    ) -> Result<bool, StoreError> {
        let open = self.open()?;
        let mut writes = open.batch(max);
        let mut cursor = self.cursor(log);
        for entry in open
            .msgs
            .range(keys::chunks(log, cursor..=u64::MAX))
            .take(max)
        {
            let key = entry.key().map_err(failed("reading"))?;
            cursor = first_of(&key)?;
            writes.remove_weak(&open.msgs, key);
        }
        for prefix in keys::PARTS {
            for entry in open.state.prefix(keys::of_log(prefix, log)).take(max) {
                writes.remove(&open.state, entry.key().map_err(failed("reading"))?);
            }
        }
        let done = writes.is_empty();
        if done {
            writes.remove(&open.state, keys::of_log(keys::TOMB, log));
        }
        writes.commit().map_err(failed("sweeping"))?;
        let mut removed = self.removed();
        if done {
            removed.sweep_ended(log);
        } else {
            removed.cursors.insert(log, cursor);
        }
        Ok(done)
    }
}

impl Open {
    fn messages_at(&self, log: LogId, first: u64) -> Result<u64, StoreError> {
        let data = self
            .msgs
            .get(keys::chunk(log, first))
            .map_err(failed("reading"))?;
        let count = data.map_or(Ok(0), |data| chunk::count(&data));
        count.map(u64::from).map_err(corrupt("chunk", log))
    }
}

fn first_of(key: &[u8]) -> Result<u64, StoreError> {
    keys::chunk_first(key).ok_or_else(|| StoreError::Corrupt(format!("chunk key {key:?}")))
}
