//! Dying messages: they have left the queue, and stay in their log until their dead letters are published.
//! They may be cold, so the lane has their offsets beside the slots.

use std::ops::Range;
use std::sync::Arc;

use crate::model::Message;

use super::Lane;
use super::block::SlotState;

impl Lane {
    /// The message leaves the queue. [`Lane::settle`] takes it out of the log.
    pub(in crate::broker::queue) fn start_dying(&mut self, offset: u64) {
        let Some(slot) = self.slot_mut(offset) else {
            return;
        };
        if matches!(
            slot.state,
            SlotState::Dying | SlotState::Settled | SlotState::Lost
        ) {
            return;
        }
        let was = std::mem::replace(&mut slot.state, SlotState::Dying);
        let (size, persistent) = (slot.size, slot.persistent);
        match was {
            SlotState::Leased => self.count_out_of_leased(size),
            SlotState::Resting => drop(self.end_rest(offset)),
            _ => {
                self.returned -= u64::from(was == SlotState::Returned);
                self.count_out_of_ready(size);
            }
        }
        self.dying.insert(offset);
        if persistent {
            self.dying_bytes += u64::from(size);
        }
    }

    /// A dying message, if it is in memory.
    pub(in crate::broker::queue) fn dying_message(&self, offset: u64) -> Option<&Arc<Message>> {
        self.slot(offset)?.message.as_ref()
    }

    /// Whether the dead letter of this message is unpublished.
    pub(in crate::broker::queue) fn is_dying(&self, offset: u64) -> bool {
        self.dying.contains(offset)
    }

    /// Removes lost cold messages of the range from the dying ones, and returns their number.
    pub(super) fn lose_dying(&mut self, range: Range<u64>) -> u64 {
        let all = self.dying.len();
        self.dying.remove_range(range);
        let lost = all - self.dying.len();
        // Their sizes are unknown, so the average counts.
        let share = u128::from(self.dying_bytes) * u128::from(lost);
        let bytes = share.checked_div(u128::from(all)).unwrap_or(0);
        self.dying_bytes -= u64::try_from(bytes).unwrap_or(self.dying_bytes);
        lost
    }
}
