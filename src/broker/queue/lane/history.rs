//! What a lane keeps of the messages that were acked, so that they can be read again: for how long, how much of it,
//! and which never come back. Pure; knows nothing of what is in memory or on disk.
//!
//! The log is divided into *stretches* by marks, small ones beside the whole. A stretch goes as a whole: when its last
//! message is old enough, or when it is the oldest and too much is kept. So nothing is looked up per message, and
//! what is kept lasts at most a stretch longer than it has to.

use std::collections::VecDeque;
use std::ops::Range;

use crate::model::LogId;
use crate::store::{Batch, Op, RangeSet, StretchRecord};

/// A stretch ends with this many messages.
pub(in crate::broker::queue) const STRETCH_MESSAGES: u64 = 4096;
/// A stretch ends with this many bytes of bodies, or earlier where not much may be kept.
const STRETCH_BYTES: u64 = 16 * 1024 * 1024;
/// So many stretches at least make up what may be kept, by time and by bytes.
const STRETCHES_MIN: u64 = 32;
/// No stretch is closed earlier than this for its age.
const STRETCH_MS_MIN: u64 = 100;

/// How much a lane keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) struct HistoryLimits {
    /// For so long after it was enqueued a message can be read again, in milliseconds.
    pub(in crate::broker::queue) age_ms: u64,
    /// No more bytes of bodies are kept; the oldest go first.
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

/// One stretch: from its first offset to the next one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    first: u64,
    /// No message of it was enqueued earlier.
    first_ms: u64,
    /// Nor later.
    last_ms: u64,
    /// Bytes of acked messages that are kept.
    kept: u64,
    /// The part of `kept` that a restart finds.
    lasting: u64,
    /// The disk has to be told.
    is_dirty: bool,
    /// The disk knows it.
    is_written: bool,
}

/// A message of which only the size matters.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker::queue) struct SizedMessage {
    pub(in crate::broker::queue) offset: u64,
    /// Bytes of the body.
    pub(in crate::broker::queue) size: u32,
    /// A restart finds it.
    pub(in crate::broker::queue) persistent: bool,
}

/// Bytes that come back by a rewind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::broker::queue) struct Returned {
    pub(in crate::broker::queue) bytes: u64,
    /// The part of it that a restart finds.
    pub(in crate::broker::queue) lasting: u64,
}

/// What a lane keeps.
pub(in crate::broker::queue) struct History {
    limits: HistoryLimits,
    /// Settled offsets that never come back.
    gone: RangeSet,
    /// Oldest first.
    stretches: VecDeque<Stretch>,
    /// Bytes of the open, last stretch, and the latest time at which a message was enqueued.
    open_bytes: u64,
    last_ms: u64,
    /// The open stretch is closed: the next message begins another.
    is_sealed: bool,
    kept_bytes: u64,
    /// Messages below are too old to be kept when they are acked.
    from: u64,
    /// Where stretches begin that the disk has to be told of.
    dirty: Vec<u64>,
    /// Written marks that the disk has to forget.
    removed: Vec<u64>,
}

impl History {
    /// For a lane whose settled messages are not kept, and which begins to keep those that are settled from now on.
    pub(in crate::broker::queue) fn begin(
        limits: HistoryLimits,
        settled: &RangeSet,
        next: u64,
        now_ms: u64,
    ) -> Self {
        let from = settled.first_gap(0);
        let mut history = History::empty(limits, settled.clone(), next);
        history.last_ms = now_ms;
        if from < next {
            // When the messages that wait were enqueued is not known here.
            history.begin_stretch(from, 0, now_ms);
            history.from = from;
            history.is_sealed = true;
        }
        history
    }

    /// What was kept when the broker stopped. `gone` has in it everything below the record's `kept_from`. Nothing is
    /// let go before the limits are told.
    pub(in crate::broker::queue) fn recover(
        gone: RangeSet,
        marks: &[(u64, StretchRecord)],
        next: u64,
    ) -> Self {
        let limits = HistoryLimits {
            age_ms: u64::MAX,
            bytes_max: None,
        };
        let mut history = History::empty(limits, gone, next);
        for (first, mark) in marks {
            history.kept_bytes += mark.bytes;
            history.last_ms = history.last_ms.max(mark.last_ms);
            history.stretches.push_back(Stretch {
                first: *first,
                first_ms: mark.first_ms,
                last_ms: mark.last_ms,
                kept: mark.bytes,
                lasting: mark.bytes,
                is_dirty: false,
                is_written: true,
            });
        }
        history.from = marks.first().map_or(next, |(first, _)| *first);
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
            kept_bytes: 0,
            from: next,
            dirty: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// From now on other limits hold.
    pub(in crate::broker::queue) fn set_limits(&mut self, limits: HistoryLimits) {
        self.limits = limits;
    }

    /// Settled offsets that never come back.
    pub(in crate::broker::queue) fn gone(&self) -> &RangeSet {
        &self.gone
    }

    /// No message below can be read again.
    pub(in crate::broker::queue) fn from(&self) -> u64 {
        self.from
    }

    /// Bytes of bodies that are kept.
    pub(in crate::broker::queue) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// A message is enqueued. Returns the time at which it counts as enqueued: never before those that were enqueued
    /// earlier, also by an earlier release whose clock was ahead, because times are searched for.
    pub(in crate::broker::queue) fn enqueued(
        &mut self,
        offset: u64,
        now_ms: u64,
        size: u32,
    ) -> u64 {
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
            self.from = first;
        }
        self.stretches.push_back(Stretch {
            first,
            first_ms,
            last_ms,
            kept: 0,
            lasting: 0,
            is_dirty: true,
            is_written: false,
        });
        self.dirty.push(first);
        self.is_sealed = false;
        self.open_bytes = 0;
    }

    /// Closes the open stretch, so that what is enqueued from now on is not in it.
    pub(in crate::broker::queue) fn seal(&mut self) {
        self.is_sealed = true;
    }

    /// A message was acked. False if it is too old to be kept.
    pub(in crate::broker::queue) fn keep(&mut self, message: SizedMessage) -> bool {
        if message.offset < self.from {
            return false;
        }
        let Some(index) = self.stretch_of(message.offset) else {
            return false;
        };
        if let Some(stretch) = self.stretches.get_mut(index) {
            let size = u64::from(message.size);
            stretch.kept += size;
            self.kept_bytes += size;
            if message.persistent {
                stretch.lasting += size;
                if !std::mem::replace(&mut stretch.is_dirty, true) {
                    self.dirty.push(stretch.first);
                }
            }
        }
        true
    }

    /// Settled messages that never come back.
    pub(in crate::broker::queue) fn discard(&mut self, range: Range<u64>) {
        self.gone.insert_range(range);
    }

    /// Drops the oldest stretch if it is to go: its offsets. What of it is settled never comes back, and what is
    /// settled of it later neither. `next` is the lane's next offset.
    pub(in crate::broker::queue) fn drop_oldest(
        &mut self,
        now_ms: u64,
        next: u64,
    ) -> Option<Range<u64>> {
        let too_old = self.next_drop_ms().is_some_and(|due| due <= now_ms);
        let too_much = self
            .limits
            .bytes_max
            .is_some_and(|max| self.kept_bytes > max);
        if !too_old && !too_much {
            return None;
        }
        let stretch = self.stretches.pop_front()?;
        self.kept_bytes = self.kept_bytes.saturating_sub(stretch.kept);
        if stretch.is_written {
            self.removed.push(stretch.first);
        }
        let end = self.stretches.front().map_or(next, |after| after.first);
        self.from = end;
        Some(stretch.first..end)
    }

    /// When the oldest stretch is to be dropped: when its last message is older than it has to be kept.
    pub(in crate::broker::queue) fn next_drop_ms(&self) -> Option<u64> {
        let oldest = self.stretches.front()?;
        Some(
            oldest
                .last_ms
                .saturating_add(self.limits.age_ms)
                .saturating_add(1),
        )
    }

    /// The stretch in which the first message enqueued at or after `ms` lies, or at whose end it begins.
    pub(in crate::broker::queue) fn stretch_at_time(&self, ms: u64, next: u64) -> Range<u64> {
        let after = self
            .stretches
            .partition_point(|stretch| stretch.first_ms < ms);
        match after.checked_sub(1) {
            Some(index) => self.bounds(index, next),
            None => self.from..self.from,
        }
    }

    /// The stretch in which an offset lies; empty if it begins there, as then all of it is meant.
    pub(in crate::broker::queue) fn stretch_at(&self, offset: u64, next: u64) -> Range<u64> {
        let offset = offset.max(self.from);
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

    /// What can be read again from `from` on, given what is settled. In order.
    pub(in crate::broker::queue) fn kept_from(
        &self,
        from: u64,
        settled: &RangeSet,
    ) -> Vec<Range<u64>> {
        let from = from.max(self.from);
        settled
            .iter_in(from..u64::MAX)
            .flat_map(|range| self.gone.gaps_in(range))
            .collect()
    }

    /// What is kept from `from` on comes back. `scanned` are the messages of
    /// the stretch that `from` lies in, from there on, as far as they were looked up; what is not among them is
    /// taken at the average of its stretch. `next` is the lane's next offset.
    pub(in crate::broker::queue) fn rewound(
        &mut self,
        from: u64,
        settled: &RangeSet,
        scanned: &[SizedMessage],
        next: u64,
    ) -> Returned {
        let mut returned = Returned::default();
        let first_whole = self
            .stretches
            .partition_point(|stretch| stretch.first < from);
        if let Some(partial) = first_whole.checked_sub(1) {
            let part = from..self.bounds(partial, next).end;
            let out = self.partly(partial, part, settled, scanned, next);
            self.take_from(partial, out, &mut returned);
        }
        for index in first_whole..self.stretches.len() {
            self.take_from(
                index,
                Returned {
                    bytes: u64::MAX,
                    lasting: u64::MAX,
                },
                &mut returned,
            );
        }
        returned
    }

    /// The bytes kept in `part` of a stretch.
    fn partly(
        &self,
        index: usize,
        part: Range<u64>,
        settled: &RangeSet,
        scanned: &[SizedMessage],
        next: u64,
    ) -> Returned {
        let Some(stretch) = self.stretches.get(index) else {
            return Returned::default();
        };
        let kept_in =
            |range: Range<u64>| settled.count_in(range.clone()) - self.gone.count_in(range);
        let mut out = Returned::default();
        let mut unknown = kept_in(part.clone());
        for message in scanned {
            let is_kept = part.contains(&message.offset)
                && settled.contains(message.offset)
                && !self.gone.contains(message.offset);
            if is_kept {
                let size = u64::from(message.size);
                out.bytes += size;
                out.lasting += if message.persistent { size } else { 0 };
                unknown = unknown.saturating_sub(1);
            }
        }
        if unknown > 0 {
            let of = kept_in(self.bounds(index, next)).max(1);
            let share = |bytes: u64| {
                let share = u128::from(bytes) * u128::from(unknown) / u128::from(of);
                u64::try_from(share).unwrap_or(bytes)
            };
            out.bytes += share(stretch.kept);
            out.lasting += share(stretch.lasting);
        }
        out
    }

    /// Moves at most `out` from what a stretch keeps to `returned`.
    fn take_from(&mut self, index: usize, out: Returned, returned: &mut Returned) {
        let Some(stretch) = self.stretches.get_mut(index) else {
            return;
        };
        let (bytes, lasting) = (
            out.bytes.min(stretch.kept),
            out.lasting.min(stretch.lasting),
        );
        if lasting > 0 && !std::mem::replace(&mut stretch.is_dirty, true) {
            self.dirty.push(stretch.first);
        }
        stretch.kept -= bytes;
        stretch.lasting -= lasting;
        self.kept_bytes = self.kept_bytes.saturating_sub(bytes);
        returned.bytes += bytes;
        returned.lasting += lasting;
    }

    /// Everything is forgotten, as nothing is to be kept any more; the disk learns it with the next batch.
    pub(in crate::broker::queue) fn forget(&mut self) -> Vec<u64> {
        let written = self.stretches.drain(..).filter(|it| it.is_written);
        let mut removed = std::mem::take(&mut self.removed);
        removed.extend(written.map(|it| it.first));
        removed
    }

    /// Moves the changes of marks into `batch`.
    pub(in crate::broker::queue) fn collect(&mut self, log: LogId, batch: &mut Batch) {
        for first in self.removed.drain(..) {
            batch.push(Op::RemoveStretch { log, first });
        }
        for first in self.dirty.drain(..) {
            // One that was dropped meanwhile was removed above.
            let index = self.stretches.binary_search_by_key(&first, |it| it.first);
            let Some(stretch) = index.ok().and_then(|index| self.stretches.get_mut(index)) else {
                continue;
            };
            stretch.is_dirty = false;
            stretch.is_written = true;
            let stretch = StretchRecord {
                first_ms: stretch.first_ms,
                last_ms: stretch.last_ms,
                bytes: stretch.lasting,
            };
            batch.push(Op::PutStretch {
                log,
                first,
                stretch,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeping(age_ms: u64, bytes_max: Option<u64>) -> History {
        let limits = HistoryLimits { age_ms, bytes_max };
        History::begin(limits, &RangeSet::new(), 0, 0)
    }

    fn sized(offset: u64, size: u32) -> SizedMessage {
        SizedMessage {
            offset,
            size,
            persistent: true,
        }
    }

    fn firsts(history: &History) -> Vec<u64> {
        let firsts = history.stretches.iter().map(|stretch| stretch.first);
        firsts.collect()
    }

    #[test]
    fn a_stretch_ends_by_messages_bytes_or_time() {
        for (age_ms, bytes_max, every_ms, size, expected) in [
            (1 << 40, None, 0, 1, vec![0, 4096, 8192]),
            (1 << 40, None, 0, 1 << 20, (0..10_000).step_by(16).collect()),
            (
                1 << 40,
                Some(3200),
                0,
                10,
                (0..10_000).step_by(10).collect(),
            ),
            (320_000, None, 5, 1, vec![0, 2000, 4000, 6000, 8000]),
            (1, None, 1, 1, (0..10_000).step_by(100).collect()),
        ] {
            let mut history = keeping(age_ms, bytes_max);
            for offset in 0..10_000 {
                let ms = history.enqueued(offset, 1_000 + offset * every_ms, size);
                assert_eq!(ms, 1_000 + offset * every_ms);
            }
            assert_eq!(
                firsts(&history),
                expected,
                "{age_ms} ms, {bytes_max:?} bytes"
            );
        }
    }

    #[test]
    fn a_clock_that_is_set_back_puts_no_message_before_the_last() {
        let mut history = keeping(1_000, None);
        assert_eq!(history.enqueued(0, 5_000, 1), 5_000);
        assert_eq!(history.enqueued(1, 3_000, 1), 5_000);
        assert_eq!(history.enqueued(2, 5_001, 1), 5_001);
    }

    #[test]
    fn the_oldest_stretch_goes_when_it_is_old_or_too_much_is_kept() {
        let mut history = keeping(1_000, Some(250));
        for offset in 0..3 {
            history.seal();
            history.enqueued(offset, 100 * offset, 100);
            assert!(history.keep(sized(offset, 100)));
        }
        assert_eq!(
            history.drop_oldest(200, 3),
            Some(0..1),
            "300 bytes are too many"
        );
        assert_eq!((history.kept_bytes(), history.from()), (200, 1));
        assert!(
            !history.keep(sized(0, 1)),
            "what goes with it is not kept later"
        );
        assert_eq!(history.next_drop_ms(), Some(1_101));
        assert_eq!(history.drop_oldest(1_100, 3), None);
        assert_eq!(history.drop_oldest(1_101, 3), Some(1..2));
        assert_eq!(history.drop_oldest(1_201, 3), Some(2..3));
        assert_eq!((history.kept_bytes(), history.from()), (0, 3));
        assert_eq!(history.next_drop_ms(), None);
    }

    #[test]
    fn places_lead_to_one_stretch() {
        let mut history = keeping(1_000_000, None);
        for (offset, ms) in [(0, 100), (1, 100), (2, 200), (3, 300), (4, 300)] {
            if offset % 2 == 0 {
                history.seal();
            }
            history.enqueued(offset, ms, 1);
        }
        assert_eq!(firsts(&history), [0, 2, 4]);
        for (ms, expected) in [
            (0, 0..0),
            (100, 0..0),
            (101, 0..2),
            (200, 0..2),
            (201, 2..4),
            (300, 2..4),
            (301, 4..5),
        ] {
            assert_eq!(history.stretch_at_time(ms, 5), expected, "{ms} ms");
        }
        for (offset, expected) in [(0, 0..0), (1, 0..2), (2, 2..2), (3, 2..4), (4, 4..4)] {
            assert_eq!(history.stretch_at(offset, 5), expected, "offset {offset}");
        }
    }

    #[test]
    fn what_was_not_measured_comes_back_at_the_average_of_its_stretch() {
        let mut history = keeping(1_000_000, None);
        let mut settled = RangeSet::new();
        for (offset, size) in (0..8).zip([10, 20, 30, 40, 50, 60, 70, 80]) {
            history.enqueued(offset, 1, size);
            assert!(history.keep(sized(offset, size)));
            settled.insert(offset);
        }
        let returned = history.rewound(6, &settled, &[sized(6, 70)], 8);
        // 70 are known; of the other the average of all eight is taken.
        assert_eq!(
            returned,
            Returned {
                bytes: 115,
                lasting: 115
            }
        );
        assert_eq!(history.kept_bytes(), 360 - 115);
        settled.remove_range(6..8);
        let returned = history.rewound(0, &settled, &[], 8);
        assert_eq!(returned.bytes, 245, "all that is left of it");
        assert_eq!(history.kept_bytes(), 0);
    }
}
