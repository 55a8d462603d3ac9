//! The history of a lane: the acked messages that a rewind can bring back, within limits of time and bytes.
//! Does not know which messages are resident or on disk.
//!
//! The log is divided into *stretches* of up to 4,096 messages. Each has the times of its first and last
//! message and the bytes of its acked ones, and the disk has a record with these. A stretch expires as a
//! whole: when its last message is old enough, or when it is the oldest and the history has too many bytes.
//! So nothing is looked up per message, and a message stays at most a stretch longer than the limits say.
//!
//! When a stretch expires, its settled offsets are *gone*: they never come back. Offsets of it that are
//! settled later are gone at that moment.

mod rewound; // the bytes that a rewind brings back
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;

use crate::model::LogId;
use crate::store::{Batch, Op, RangeSet, StretchRecord};

/// A stretch ends with this many messages.
pub(in crate::broker::queue) const STRETCH_MESSAGES: u64 = 4096;
/// A stretch ends with this many bytes of bodies, or earlier where the limits are low.
const STRETCH_BYTES: u64 = 16 * 1024 * 1024;
/// The limits, of time and of bytes, hold at least this many stretches.
const STRETCHES_MIN: u64 = 32;
/// No stretch ends by time earlier than this.
const STRETCH_MS_MIN: u64 = 100;

/// Limits of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) struct HistoryLimits {
    /// How long after it was enqueued a message is rewindable, in milliseconds.
    pub(in crate::broker::queue) age_ms: u64,
    /// Maximum bytes of acked bodies; beyond it the oldest expire first.
    pub(in crate::broker::queue) bytes_max: Option<u64>,
}

impl HistoryLimits {
    fn stretch_bytes(self) -> u64 {
        let share = self.bytes_max.map(|max| max / STRETCHES_MIN);
        STRETCH_BYTES.min(share.unwrap_or(u64::MAX))
    }

    fn stretch_ms(self) -> u64 {
        (self.age_ms / STRETCHES_MIN).max(STRETCH_MS_MIN)
    }
}

/// One stretch: from its first offset to the first of the next stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    first: u64,
    /// No message of it was enqueued earlier.
    first_ms: u64,
    /// No message of it was enqueued later.
    last_ms: u64,
    /// Bytes of its acked messages.
    bytes: u64,
    /// The part of `bytes` that a restart finds.
    persistent_bytes: u64,
    /// The disk has to write its record.
    is_dirty: bool,
    /// The disk has a record of it.
    is_written: bool,
}

/// The offset and size of a message.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker::queue) struct SizedMessage {
    pub(in crate::broker::queue) offset: u64,
    /// Bytes of the body.
    pub(in crate::broker::queue) size: u32,
    /// A restart finds it.
    pub(in crate::broker::queue) persistent: bool,
}

/// The acked messages of a lane that a rewind can bring back.
pub(in crate::broker::queue) struct History {
    limits: HistoryLimits,
    /// Settled offsets that never come back.
    gone: RangeSet,
    /// Oldest first. The last one is open.
    stretches: VecDeque<Stretch>,
    /// Bytes of all messages of the open stretch.
    open_bytes: u64,
    /// The latest time at which a message was enqueued.
    last_ms: u64,
    /// The next message begins a stretch.
    is_sealed: bool,
    /// Bytes of the acked messages of all stretches.
    bytes: u64,
    /// Where the first stretch begins: messages below have expired.
    start: u64,
    /// Where stretches begin whose records the disk has to write.
    dirty: Vec<u64>,
    /// Where stretches began whose records the disk has to remove.
    removed: Vec<u64>,
}

impl History {
    /// A history for a lane that had none. All messages that are settled so far are gone.
    pub(super) fn begin(limits: HistoryLimits, settled: &RangeSet, next: u64, now_ms: u64) -> Self {
        let first_unsettled = settled.first_gap(0);
        let mut history = History::empty(limits, settled.clone(), next);
        history.last_ms = now_ms;
        if first_unsettled < next {
            // The times at which the backlog was enqueued are unknown here: it is one stretch.
            history.begin_stretch(first_unsettled, 0, now_ms);
            history.start = first_unsettled;
            history.is_sealed = true;
        }
        history
    }

    /// The history as the disk has it. `gone` includes everything below the record's `history_from`. Nothing
    /// expires until the limits are set.
    pub(super) fn recover(gone: RangeSet, stretches: &[(u64, StretchRecord)], next: u64) -> Self {
        let limits = HistoryLimits {
            age_ms: u64::MAX,
            bytes_max: None,
        };
        let mut history = History::empty(limits, gone, next);
        for (first, record) in stretches {
            history.bytes += record.bytes;
            history.last_ms = history.last_ms.max(record.last_ms);
            history.stretches.push_back(Stretch {
                first: *first,
                first_ms: record.first_ms,
                last_ms: record.last_ms,
                bytes: record.bytes,
                persistent_bytes: record.bytes,
                is_dirty: false,
                is_written: true,
            });
        }
        history.start = stretches.first().map_or(next, |(first, _)| *first);
        history.is_sealed = true;
        history
    }

    fn empty(limits: HistoryLimits, gone: RangeSet, next: u64) -> Self {
        History {
            limits,
            gone,
            stretches: VecDeque::new(),
            open_bytes: 0,
            last_ms: 0,
            is_sealed: false,
            bytes: 0,
            start: next,
            dirty: Vec::new(),
            removed: Vec::new(),
        }
    }

    pub(super) fn set_limits(&mut self, limits: HistoryLimits) {
        self.limits = limits;
    }

    /// Settled offsets that never come back.
    pub(super) fn gone(&self) -> &RangeSet {
        &self.gone
    }

    /// No message below is rewindable.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Bytes of the bodies that a rewind can bring back.
    pub(in crate::broker::queue) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A message is enqueued. Returns the time at which it counts as enqueued. Rewinds search for times, so
    /// they never fall within a log, even if an earlier release wrote times that are ahead of the clock.
    pub(super) fn enqueued(&mut self, offset: u64, now_ms: u64, size: u32) -> u64 {
        let ms = self.last_ms.max(now_ms);
        let is_full = self.is_sealed
            || self.stretches.back().is_none_or(|open| {
                offset - open.first >= STRETCH_MESSAGES
                    || self.open_bytes >= self.limits.stretch_bytes()
                    || ms.saturating_sub(open.first_ms) >= self.limits.stretch_ms()
            });
        if is_full {
            self.begin_stretch(offset, ms, ms);
        }
        if let Some(open) = self.stretches.back_mut() {
            open.last_ms = ms;
            if !std::mem::replace(&mut open.is_dirty, true) {
                self.dirty.push(open.first);
            }
        }
        self.open_bytes += u64::from(size);
        self.last_ms = ms;
        ms
    }

    fn begin_stretch(&mut self, first: u64, first_ms: u64, last_ms: u64) {
        if self.stretches.is_empty() {
            self.start = first;
        }
        self.stretches.push_back(Stretch {
            first,
            first_ms,
            last_ms,
            bytes: 0,
            persistent_bytes: 0,
            is_dirty: true,
            is_written: false,
        });
        self.dirty.push(first);
        self.is_sealed = false;
        self.open_bytes = 0;
    }

    /// Closes the open stretch, so that messages enqueued from now on are not in it.
    pub(super) fn seal(&mut self) {
        self.is_sealed = true;
    }

    /// Adds an acked message. False if its stretch has expired.
    pub(super) fn add(&mut self, message: SizedMessage) -> bool {
        if message.offset < self.start {
            return false;
        }
        let Some(index) = self.stretch_of(message.offset) else {
            return false;
        };
        if let Some(stretch) = self.stretches.get_mut(index) {
            let size = u64::from(message.size);
            stretch.bytes += size;
            self.bytes += size;
            if message.persistent {
                stretch.persistent_bytes += size;
                if !std::mem::replace(&mut stretch.is_dirty, true) {
                    self.dirty.push(stretch.first);
                }
            }
        }
        true
    }

    /// These settled offsets never come back.
    pub(super) fn add_gone(&mut self, range: Range<u64>) {
        self.gone.insert_range(range);
    }

    /// Drops the oldest stretch if it has expired, and returns its offsets. Those of them that are settled
    /// become gone. `next` is the lane's next offset.
    pub(super) fn drop_oldest(&mut self, now_ms: u64, next: u64) -> Option<Range<u64>> {
        let too_old = self.next_drop_ms().is_some_and(|due| due <= now_ms);
        let too_large = self.limits.bytes_max.is_some_and(|max| self.bytes > max);
        if !too_old && !too_large {
            return None;
        }
        let stretch = self.stretches.pop_front()?;
        self.bytes = self.bytes.saturating_sub(stretch.bytes);
        if stretch.is_written {
            self.removed.push(stretch.first);
        }
        let end = self.stretches.front().map_or(next, |after| after.first);
        self.start = end;
        Some(stretch.first..end)
    }

    /// When the last message of the oldest stretch will be too old.
    pub(in crate::broker::queue) fn next_drop_ms(&self) -> Option<u64> {
        let oldest = self.stretches.front()?;
        Some(
            oldest
                .last_ms
                .saturating_add(self.limits.age_ms)
                .saturating_add(1),
        )
    }

    /// The stretch that holds the first message enqueued at or after `ms`, unless that is the first of the
    /// next stretch.
    pub(in crate::broker::queue) fn stretch_at_time(&self, ms: u64, next: u64) -> Range<u64> {
        let after = self
            .stretches
            .partition_point(|stretch| stretch.first_ms < ms);
        match after.checked_sub(1) {
            Some(index) => self.bounds(index, next),
            None => self.start..self.start,
        }
    }

    /// The stretch that holds `offset`. Empty if the stretch begins with it, since then nothing has to be
    /// searched.
    pub(in crate::broker::queue) fn stretch_at(&self, offset: u64, next: u64) -> Range<u64> {
        let offset = offset.max(self.start);
        match self
            .stretch_of(offset)
            .map(|index| self.bounds(index, next))
        {
            Some(bounds) if bounds.start < offset => bounds,
            _ => offset..offset,
        }
    }

    fn bounds(&self, index: usize, next: u64) -> Range<u64> {
        let first = self.stretches.get(index).map_or(next, |it| it.first);
        let end = self.stretches.get(index + 1).map_or(next, |it| it.first);
        first..end
    }

    fn stretch_of(&self, offset: u64) -> Option<usize> {
        self.stretches
            .partition_point(|stretch| stretch.first <= offset)
            .checked_sub(1)
    }

    /// The rewindable offsets at or above `from`, in order, given all settled ones.
    pub(super) fn rewindable_from(&self, from: u64, settled: &RangeSet) -> Vec<Range<u64>> {
        let from = from.max(self.start);
        settled
            .iter_in(from..u64::MAX)
            .flat_map(|range| self.gone.gaps_in(range))
            .collect()
    }

    /// Drops all stretches. Returns where the records begin that the disk has to remove.
    pub(super) fn clear(&mut self) -> Vec<u64> {
        let written = self.stretches.drain(..).filter(|it| it.is_written);
        let mut removed = std::mem::take(&mut self.removed);
        removed.extend(written.map(|it| it.first));
        removed
    }

    /// Moves the changes of records into `batch`.
    pub(super) fn collect(&mut self, log: LogId, batch: &mut Batch) {
        for first in self.removed.drain(..) {
            batch.push(Op::RemoveStretch { log, first });
        }
        for first in self.dirty.drain(..) {
            // The record of a stretch that was dropped meanwhile is removed above.
            let index = self.stretches.binary_search_by_key(&first, |it| it.first);
            let Some(stretch) = index.ok().and_then(|index| self.stretches.get_mut(index)) else {
                continue;
            };
            stretch.is_dirty = false;
            stretch.is_written = true;
            let record = StretchRecord {
                first_ms: stretch.first_ms,
                last_ms: stretch.last_ms,
                bytes: stretch.persistent_bytes,
            };
            batch.push(Op::PutStretch {
                log,
                first,
                stretch: record,
            });
        }
    }
}
