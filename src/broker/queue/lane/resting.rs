//! Resting messages: they have returned, and wait for a time before they are ready again. They count neither as
//! ready nor as leased. After a restart they are cold, so the lane has their offsets beside the slots.

use crate::broker::queue::durability::Durability;
use crate::model::Lease;
use crate::store::{ReturnCount, ReturnDetails};

use super::Lane;
use super::block::SlotState;

/// How a message ends its rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) enum Woken {
    /// It waits as a returned message for this lease.
    Returned(Lease),
    /// It is cold, and ready at its old position.
    Cold,
}

impl Lane {
    /// Number of resting messages.
    pub(in crate::broker::queue) fn resting(&self) -> u64 {
        self.resting.len() as u64
    }

    /// Bytes of the bodies of resting messages.
    pub(in crate::broker::queue) fn resting_bytes(&self) -> u64 {
        self.resting_bytes
    }

    /// The resting messages with the ends of their rests.
    pub(in crate::broker::queue) fn rests(&self) -> impl Iterator<Item = (u64, u64)> {
        self.resting
            .iter()
            .map(|(offset, until_ms)| (*offset, *until_ms))
    }

    /// A message that has just returned rests until this time.
    pub(in crate::broker::queue) fn rest(&mut self, offset: u64, until_ms: u64) {
        let Some(slot) = self.slot_mut(offset).filter(|slot| slot.waits()) else {
            return;
        };
        let was = std::mem::replace(&mut slot.state, SlotState::Resting);
        let (size, turn) = (slot.size, slot.turn);
        self.returned -= u64::from(was == SlotState::Returned);
        self.count_out_of_ready(size);
        self.resting.insert(offset, until_ms);
        self.resting_bytes += u64::from(size);
        if self.durability == Durability::Everything {
            let details = ReturnDetails {
                failures: self.failures(offset).unwrap_or_default(),
                rests_until_ms: Some(until_ms),
            };
            let count = ReturnCount {
                turn,
                uncounted: self.receives.unaccepted(offset),
                details: Some(details),
            };
            self.offsets.returned(offset, count);
        }
    }

    /// Ends the rest of a message. `None` if it does not rest.
    pub(in crate::broker::queue) fn wake(&mut self, offset: u64) -> Option<Woken> {
        let size = self.end_rest(offset)?;
        self.ready += 1;
        self.ready_bytes += size;
        let lane = self.log.lane();
        let Some(slot) = self.slot_mut(offset) else {
            self.ready_from = self.ready_from.min(offset);
            return Some(Woken::Cold);
        };
        slot.state = SlotState::Returned;
        let turn = slot.turn;
        self.returned += 1;
        Some(Woken::Returned(Lease { offset, turn, lane }))
    }

    /// Takes over the rests that the disk has, when all messages count as ready. Sizes of cold messages are
    /// unknown, so the average counts.
    pub(super) fn recover_rests(&mut self) {
        let (settled, next) = (&self.settled, self.next);
        self.resting = self
            .return_counts
            .iter()
            .filter(|(offset, _)| **offset < next && !settled.contains(**offset))
            .filter_map(|(offset, count)| Some((*offset, count.details?.rests_until_ms?)))
            .collect();
        let resting = self.resting();
        let share = u128::from(self.ready_bytes) * u128::from(resting);
        let bytes = share.checked_div(u128::from(self.ready)).unwrap_or(0);
        self.resting_bytes = u64::try_from(bytes).unwrap_or(self.ready_bytes);
        self.ready_bytes -= self.resting_bytes;
        self.ready -= resting;
    }

    /// The message rests no more. Returns the bytes of its body, on average if it is cold.
    pub(super) fn end_rest(&mut self, offset: u64) -> Option<u64> {
        let resting = self.resting();
        self.resting.remove(&offset)?;
        let size = match self.slot(offset) {
            Some(slot) => u64::from(slot.size),
            None => self.resting_bytes.checked_div(resting).unwrap_or(0),
        };
        let size = if resting == 1 {
            self.resting_bytes
        } else {
            size.min(self.resting_bytes)
        };
        self.resting_bytes -= size;
        Some(size)
    }
}
