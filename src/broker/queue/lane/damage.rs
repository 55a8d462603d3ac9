//! Lost messages: they are on disk and unreadable. The lane skips them, and their chunks stay.

use std::ops::Range;

use super::Lane;
use super::block::SlotState;

impl Lane {
    /// Marks the cold messages of an unreadable range as lost. Returns their number.
    pub(in crate::broker::queue) fn lose(&mut self, range: Range<u64>) -> u64 {
        let before = self.damaged();
        let range = range.start..range.end.min(self.next);
        let mut at = range.start;
        while at < range.end {
            match self.locate(at) {
                Ok(index) => at = self.lose_slots(index, &range),
                Err(index) => {
                    let block = self.blocks.get(index);
                    let end = block.map_or(range.end, |block| block.first.min(range.end));
                    self.lose_cold(at..end);
                    at = end;
                }
            }
        }
        self.damaged() - before
    }

    /// Number of lost messages.
    pub(in crate::broker::queue) fn damaged(&self) -> u64 {
        self.lost.len() + self.lost_slots
    }

    /// Offsets of lost messages.
    pub(in crate::broker::queue) fn lost(&self) -> Vec<Range<u64>> {
        let mut lost = self.lost.clone();
        for block in self.blocks.iter().filter(|_| self.lost_slots > 0) {
            for (offset, slot) in (block.first..).zip(&block.slots) {
                if slot.state == SlotState::Lost {
                    lost.insert(offset);
                }
            }
        }
        lost.iter().collect()
    }

    /// Whether the disk should have this message, as far as is known.
    pub(in crate::broker::queue) fn expects(&self, offset: u64) -> bool {
        !self.settled.contains(offset)
            && !self.lost.contains(offset)
            && self
                .slot(offset)
                .is_none_or(|slot| slot.state != SlotState::Lost)
    }

    /// The first offset at or after `from` that is neither settled nor lost.
    pub(super) fn first_unsettled(&self, from: u64) -> u64 {
        let mut offset = self.settled.first_gap(from);
        while self.lost.contains(offset) {
            offset = self.settled.first_gap(self.lost.first_gap(offset));
        }
        offset
    }

    /// A message has been read. If it was lost, it is ready again.
    pub(super) fn found_again(&mut self, offset: u64, size: u32) {
        if self.lost.contains(offset) {
            self.lost.remove_range(offset..offset + 1);
            self.ready += 1;
            self.ready_bytes += u64::from(size);
            self.ready_from = self.ready_from.min(offset);
        }
    }

    fn lose_cold(&mut self, range: Range<u64>) {
        let unsettled: Vec<Range<u64>> = self.settled.gaps_in(range).collect();
        for gap in unsettled {
            let dying = self.lose_dying(gap.clone());
            let resting: Vec<u64> = self.resting.range(gap.clone()).map(|(at, _)| *at).collect();
            for offset in &resting {
                self.end_rest(*offset);
            }
            let lost = self.lost.insert_range(gap) - dying - resting.len() as u64;
            // Their sizes are unknown, so the average counts.
            let share = u128::from(self.ready_bytes) * u128::from(lost);
            let bytes = share.checked_div(u128::from(self.ready)).unwrap_or(0);
            let left = u128::from(self.ready_bytes).saturating_sub(bytes);
            self.ready_bytes = u64::try_from(left).unwrap_or(0);
            self.ready = self.ready.saturating_sub(lost);
        }
        if self.ready == 0 {
            self.ready_bytes = 0;
        }
    }

    /// Loses the slots of a block that wait for their bodies to be read. Returns where the block ends.
    fn lose_slots(&mut self, index: usize, range: &Range<u64>) -> u64 {
        let Some(block) = self.blocks.get_mut(index) else {
            return range.end;
        };
        let mut lost = Vec::new();
        for (offset, slot) in (block.first..).zip(&mut block.slots) {
            let needs_body = matches!(
                slot.state,
                SlotState::Ready | SlotState::Returned | SlotState::Dying
            );
            if range.contains(&offset) && slot.message.is_none() && needs_body {
                lost.push((offset, slot.state, slot.size, slot.persistent));
                slot.state = SlotState::Lost;
            }
        }
        block.touched |= !lost.is_empty();
        let end = block.end();
        self.lost_slots += lost.len() as u64;
        for (offset, was, size, persistent) in lost {
            if was == SlotState::Dying {
                self.count_out_of_dying(offset, size, persistent);
            } else {
                self.returned -= u64::from(was == SlotState::Returned);
                self.count_out_of_ready(size);
            }
        }
        end
    }
}
