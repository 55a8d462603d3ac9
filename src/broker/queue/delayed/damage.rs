//! Lost delayed messages. They hold up no others.

use std::cmp::Reverse;
use std::ops::Range;

use super::Delayed;

impl Delayed {
    /// Marks the cold messages of an unreadable range as lost. Returns their number.
    pub(in crate::broker::queue) fn lose(&mut self, range: Range<u64>) -> u64 {
        let before = self.lost.len();
        if range.contains(&self.unscanned.start) {
            let end = range.end.min(self.unscanned.end);
            for gap in self.settled.gaps_in(self.unscanned.start..end) {
                self.lost.insert_range(gap);
            }
            self.unscanned.start = self.settled.first_gap(end).min(self.unscanned.end);
        }
        let lost = &mut self.lost;
        if let Some(pick) = &mut self.pending_pick {
            for due in pick
                .wanted
                .extract_if(.., |due| range.contains(&due.offset))
            {
                lost.insert(due.offset);
            }
        }
        self.on_disk.retain(|Reverse(due)| {
            let is_lost = range.contains(&due.offset);
            if is_lost {
                lost.insert(due.offset);
            }
            !is_lost
        });
        self.lost.len() - before
    }

    /// Number of lost messages.
    pub(in crate::broker::queue) fn damaged(&self) -> u64 {
        self.lost.len()
    }

    /// Offsets of lost messages.
    pub(in crate::broker::queue) fn lost(&self) -> Vec<Range<u64>> {
        self.lost.iter().collect()
    }

    /// Whether the disk should have the message at `offset`, as far as is known.
    pub(in crate::broker::queue) fn expects(&self, offset: u64) -> bool {
        !self.settled.contains(offset) && !self.lost.contains(offset)
    }
}
