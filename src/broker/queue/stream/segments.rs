//! The segments of a stream's log: runs of whole chunks that retention drops as one. Each has the times of
//! its first and last message and its bytes. So the segments also say where in the log a time lies. Knows no
//! message.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use crate::model::LogId;
use crate::store::{Batch, Op, Segment};

/// Maximum number of segments. One more, and each two neighbours become one. So the index of the longest log
/// takes half a megabyte, and retention drops less than a thousandth of a log as one.
const SEGMENTS_MAX: usize = 16 * 1024;

/// The segments of one log, the open one last.
#[derive(Debug)]
pub(in crate::broker::queue) struct Segments {
    list: VecDeque<Segment>,
    /// A segment with this many bytes is closed.
    segment_bytes: u64,
    /// Bytes of all segments.
    bytes: u64,
    /// First offsets of segments that the disk has to write.
    changed: BTreeSet<u64>,
    /// First offsets of segments that the disk has to remove.
    removed: Vec<u64>,
}

impl Segments {
    pub(in crate::broker::queue) fn new(segment_bytes: u64) -> Segments {
        Segments::recover(Vec::new(), segment_bytes)
    }

    /// The segments as the disk has them.
    pub(in crate::broker::queue) fn recover(list: Vec<Segment>, segment_bytes: u64) -> Segments {
        Segments {
            bytes: list.iter().map(|segment| segment.bytes).sum(),
            list: list.into(),
            segment_bytes,
            changed: BTreeSet::new(),
            removed: Vec::new(),
        }
    }

    /// Closes segments at another size from now on.
    pub(in crate::broker::queue) fn set_segment_bytes(&mut self, segment_bytes: u64) {
        self.segment_bytes = segment_bytes;
    }

    /// Bytes of properties and bodies.
    pub(in crate::broker::queue) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(in crate::broker::queue) fn len(&self) -> usize {
        self.list.len()
    }

    /// When the oldest message was enqueued.
    pub(in crate::broker::queue) fn first_ms(&self) -> Option<u64> {
        self.list.front().map(|segment| segment.first_ms)
    }

    /// When the newest message was enqueued.
    pub(in crate::broker::queue) fn last_ms(&self) -> Option<u64> {
        self.list.back().map(|segment| segment.last_ms)
    }

    /// A chunk begins at `offset`. If the open segment is full, a new one begins with it.
    pub(in crate::broker::queue) fn begin_chunk(&mut self, offset: u64, now_ms: u64) {
        let full = self
            .list
            .back()
            .is_none_or(|open| open.bytes >= self.segment_bytes);
        if !full {
            return;
        }
        if self.list.len() >= SEGMENTS_MAX {
            self.merge();
        }
        self.list.push_back(Segment {
            first: offset,
            first_ms: now_ms,
            last_ms: now_ms,
            bytes: 0,
        });
        self.changed.insert(offset);
    }

    /// A message of `bytes` was added to the chunk that began last.
    pub(in crate::broker::queue) fn add(&mut self, now_ms: u64, bytes: u64) {
        if let Some(open) = self.list.back_mut() {
            open.last_ms = open.last_ms.max(now_ms);
            open.bytes += bytes;
            self.bytes += bytes;
            self.changed.insert(open.first);
        }
    }

    /// Drops the oldest segments while all together have more than `bytes_max`, and those whose messages are
    /// all older than `oldest_ms`. Never drops the open one. Returns the first offset that is left, if any
    /// segment was dropped.
    pub(in crate::broker::queue) fn retain(
        &mut self,
        bytes_max: Option<u64>,
        oldest_ms: Option<u64>,
    ) -> Option<u64> {
        let mut dropped = false;
        while self.list.len() > 1
            && let Some(front) = self.list.front()
            && (bytes_max.is_some_and(|max| self.bytes > max)
                || oldest_ms.is_some_and(|oldest| front.last_ms < oldest))
        {
            self.bytes = self.bytes.saturating_sub(front.bytes);
            self.removed.push(front.first);
            self.changed.remove(&front.first);
            self.list.pop_front();
            dropped = true;
        }
        dropped
            .then(|| self.list.front().map(|front| front.first))
            .flatten()
    }

    /// When the last message of the oldest closed segment was enqueued. That segment is the next to be
    /// dropped.
    pub(in crate::broker::queue) fn next_to_age_ms(&self) -> Option<u64> {
        (self.list.len() > 1)
            .then(|| self.list.front().map(|front| front.last_ms))
            .flatten()
    }

    /// Offsets within which, or at whose end, the first message is that was enqueued at `ms` or later. `next`
    /// is the offset after the last message.
    pub(in crate::broker::queue) fn around(&self, ms: u64, next: u64) -> Range<u64> {
        let after = self.list.partition_point(|segment| segment.last_ms < ms);
        let Some(holder) = self.list.get(after) else {
            return next..next;
        };
        if holder.first_ms >= ms {
            return holder.first..holder.first;
        }
        let end = self.list.get(after + 1).map_or(next, |later| later.first);
        holder.first..end
    }

    /// Whether there are changes to write.
    #[cfg(test)]
    pub(in crate::broker::queue) fn is_dirty(&self) -> bool {
        !self.changed.is_empty() || !self.removed.is_empty()
    }

    /// Moves all unwritten changes into `batch`.
    pub(in crate::broker::queue) fn collect(&mut self, log: LogId, batch: &mut Batch) {
        for first in self.removed.drain(..) {
            batch.push(Op::RemoveSegment { log, first });
        }
        for first in std::mem::take(&mut self.changed) {
            let found = self.list.binary_search_by_key(&first, |found| found.first);
            if let Some(segment) = found.ok().and_then(|index| self.list.get(index)) {
                let segment = *segment;
                batch.push(Op::PutSegment { log, segment });
            }
        }
    }

    /// Merges each two neighbours.
    fn merge(&mut self) {
        let mut merged: VecDeque<Segment> = VecDeque::with_capacity(self.list.len());
        for (index, segment) in std::mem::take(&mut self.list).into_iter().enumerate() {
            match merged.back_mut().filter(|_| index % 2 == 1) {
                Some(earlier) => {
                    earlier.last_ms = segment.last_ms;
                    earlier.bytes += segment.bytes;
                    self.changed.insert(earlier.first);
                    self.changed.remove(&segment.first);
                    self.removed.push(segment.first);
                }
                None => merged.push_back(segment),
            }
        }
        self.list = merged;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::QueueId;

    const LOG: fn() -> LogId = || QueueId(1).log(0);

    /// Chunks of `count` messages of 10 bytes, one chunk a second.
    fn filled(chunks: u64, count: u64, segment_bytes: u64) -> Segments {
        let mut segments = Segments::new(segment_bytes);
        for chunk in 0..chunks {
            segments.begin_chunk(chunk * count, chunk * 1_000);
            for _ in 0..count {
                segments.add(chunk * 1_000, 10);
            }
        }
        segments
    }

    #[test]
    fn segments_close_at_whole_chunks() {
        assert_eq!(filled(6, 4, 40).len(), 6);
        assert_eq!(filled(6, 4, 41).len(), 3, "two chunks each");
        assert_eq!(filled(6, 4, 1_000).len(), 1);
        assert_eq!(filled(6, 4, 0).len(), 6, "at least a chunk");
    }

    #[test]
    fn whole_segments_are_dropped_by_bytes() {
        let mut segments = filled(6, 4, 40);
        assert_eq!(segments.retain(Some(240), None), None);
        assert_eq!(segments.retain(Some(239), None), Some(4));
        assert_eq!(segments.retain(Some(85), None), Some(16));
        assert_eq!(segments.bytes(), 80);
        assert_eq!(
            segments.retain(Some(0), None),
            Some(20),
            "the open one stays"
        );
        assert_eq!(segments.retain(Some(0), None), None);
    }

    #[test]
    fn whole_segments_are_dropped_by_age() {
        let mut segments = filled(6, 4, 41);
        assert_eq!(segments.next_to_age_ms(), Some(1_000));
        assert_eq!(segments.retain(None, Some(1_000)), None);
        assert_eq!(segments.retain(None, Some(1_001)), Some(8));
        assert_eq!(segments.retain(None, Some(1_000_000)), Some(16));
        assert_eq!(segments.next_to_age_ms(), None);
    }

    #[test]
    fn a_time_leads_to_one_segment() {
        let segments = filled(6, 4, 41);
        let cases = [
            (0, 0..0),
            (1, 0..8),
            (1_000, 0..8),
            (1_001, 8..8),
            (2_000, 8..8),
            (2_001, 8..16),
            (5_000, 16..24),
            (5_001, 24..24),
        ];
        for (ms, around) in cases {
            assert_eq!(segments.around(ms, 24), around, "{ms}");
        }
        assert_eq!(Segments::new(1).around(5, 0), 0..0);
    }

    #[test]
    fn neighbours_are_merged_when_there_are_too_many() {
        let mut segments = filled(SEGMENTS_MAX as u64, 1, 1);
        assert_eq!(segments.len(), SEGMENTS_MAX);
        let bytes = segments.bytes();
        segments.begin_chunk(SEGMENTS_MAX as u64, 99_000_000);
        segments.add(99_000_000, 10);
        assert_eq!(segments.len(), SEGMENTS_MAX / 2 + 1);
        assert_eq!(segments.bytes(), bytes + 10);
        assert_eq!(segments.around(2_500, 9_999_999), 2..4);
    }

    proptest! {
        /// After each step the changes lead the disk to the same segments.
        #[test]
        fn the_disk_has_the_segments_after_every_batch(steps in prop::collection::vec((0u8..5, 1u64..50), 1..120)) {
            let mut segments = Segments::new(60);
            let mut disk = std::collections::BTreeMap::new();
            let (mut next, mut now_ms) = (0, 0);
            for (step, amount) in steps {
                now_ms += amount;
                match step {
                    0..=2 => {
                        segments.begin_chunk(next, now_ms);
                        segments.add(now_ms, amount);
                        next += 1;
                    }
                    3 => { segments.retain(Some(amount * 10), None); }
                    _ => { segments.retain(None, Some(now_ms.saturating_sub(100))); }
                }
                let mut batch = Batch::default();
                segments.collect(LOG(), &mut batch);
                prop_assert!(!segments.is_dirty());
                for op in batch.ops {
                    match op {
                        Op::PutSegment { segment, .. } => { disk.insert(segment.first, segment); }
                        Op::RemoveSegment { first, .. } => { disk.remove(&first); }
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                let known: Vec<Segment> = disk.values().copied().collect();
                prop_assert_eq!(&known, &segments.list.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(Segments::recover(known, 60).bytes(), segments.bytes());
            }
        }
    }
}
