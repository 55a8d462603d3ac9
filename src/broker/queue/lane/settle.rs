//! Settles messages: they leave the lane for good, by an ack, a drop, a purge, or when their dead letters are
//! published.

use crate::broker::queue::durability::Durability;
use crate::model::Lease;
use crate::store::RangeSet;

use super::Lane;
use super::block::{Slot, SlotState, weight};
use super::history::SizedMessage;

/// Why a message is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SettledBy {
    /// A consumer has acked it: it goes into the history, if the lane has one.
    Ack,
    /// It left otherwise, and never comes back.
    Removal,
}

impl Lane {
    /// Ends a lease with an ack. False if it had ended.
    pub(in crate::broker::queue) fn ack_lease(&mut self, lease: Lease) -> bool {
        self.settle_slot(lease.offset, SettledBy::Ack, |slot| {
            slot.is_leased(lease.turn)
        })
    }

    /// Acks a message that was handed out without a need for an ack.
    pub(in crate::broker::queue) fn ack(&mut self, offset: u64) -> bool {
        self.settle_slot(offset, SettledBy::Ack, |_| true)
    }

    /// Removes a message for good, in any state. False if it was settled or lost.
    pub(in crate::broker::queue) fn settle(&mut self, offset: u64) -> bool {
        self.settle_slot(offset, SettledBy::Removal, |_| true)
    }

    fn settle_slot(
        &mut self,
        offset: u64,
        by: SettledBy,
        only_if: impl FnOnce(&Slot) -> bool,
    ) -> bool {
        let Ok(index) = self.locate(offset) else {
            return false;
        };
        let Some(block) = self.blocks.get_mut(index) else {
            return false;
        };
        let Some(slot) = block.slot_mut(offset).filter(|slot| only_if(slot)) else {
            return false;
        };
        if matches!(slot.state, SlotState::Settled | SlotState::Lost) {
            return false;
        }
        let was = std::mem::replace(&mut slot.state, SlotState::Settled);
        let (size, persistent, returns) = (slot.size, slot.persistent, slot.returns());
        if let Some(message) = slot.message.take() {
            self.resident_bytes = self.resident_bytes.saturating_sub(weight(&message));
        }
        block.unsettled -= 1;
        let empty = (block.unsettled == 0 && !block.is_open()).then(|| block.first..block.end());
        if empty.is_some() {
            self.blocks.remove(index);
        }
        match was {
            SlotState::Ready | SlotState::Returned => {
                self.returned -= u64::from(was == SlotState::Returned);
                self.count_out_of_ready(size);
            }
            SlotState::Dying => self.count_out_of_dying(offset, size, persistent),
            SlotState::Resting => drop(self.end_rest(offset)),
            SlotState::Leased | SlotState::Settled | SlotState::Lost => {
                self.count_out_of_leased(size)
            }
        }
        if !self.failures.is_empty() {
            self.failures.remove(&offset);
        }
        let received = self.receives.forget(offset);
        let counted = self.durability == Durability::Everything
            || (self.durability == Durability::Persistent && persistent && received);
        if returns > 0 && counted {
            self.offsets.forget_count(offset);
        }
        self.settled.insert(offset);
        self.offsets.settled(offset, size, persistent);
        if let Some(history) = &mut self.history {
            let message = SizedMessage {
                offset,
                size,
                persistent,
            };
            if by == SettledBy::Removal || !history.add(message) {
                history.add_gone(offset..offset + 1);
                self.offsets.gone(offset..offset + 1);
            }
        }
        if let Some(chunk) = empty
            && self.are_gone(chunk.clone())
        {
            self.offsets.emptied(chunk.start);
        }
        true
    }

    /// Settles every ready or resting message and returns how many there were. Leased, dying and lost ones stay.
    pub(in crate::broker::queue) fn purge(&mut self) -> u64 {
        let purged = self.ready + self.resting();
        let (stays, bytes) = self.purge_slots();
        self.receives.retain_only(&stays);
        self.failures.retain(|offset, _| stays.contains(*offset));
        self.purge_offsets(stays, bytes);
        for block in std::mem::take(&mut self.blocks) {
            if block.unsettled > 0 || block.is_open() {
                self.blocks.push_back(block);
            } else if self.are_gone(block.first..block.end()) {
                self.offsets.emptied(block.first);
            }
        }
        let lost = &self.lost;
        for (offset, _) in self
            .return_counts
            .extract_if(.., |offset, _| !lost.contains(*offset))
        {
            self.offsets.forget_count(offset);
        }
        self.sweep_gone(0..self.next);
        self.resting.clear();
        self.resting_bytes = 0;
        self.ready = 0;
        self.returned = 0;
        self.ready_bytes = 0;
        self.ready_from = self.next;
        purged
    }

    /// Settles the slots of ready and resting messages. Returns the offsets that stay unsettled, apart from lost cold
    /// ones, and the bytes of their persistent messages.
    fn purge_slots(&mut self) -> (RangeSet, u64) {
        let mut stays = self.dying.clone();
        let mut bytes = self.dying_bytes;
        for block in &mut self.blocks {
            let first = block.first;
            for (offset, slot) in (first..).zip(block.slots.iter_mut()) {
                match slot.state {
                    SlotState::Ready | SlotState::Returned | SlotState::Resting => {
                        slot.state = SlotState::Settled;
                        block.unsettled -= 1;
                        let counted = self.durability == Durability::Everything
                            || (slot.persistent && self.receives.is_known(offset));
                        if slot.returns() > 0 && counted {
                            self.offsets.forget_count(offset);
                        }
                        if let Some(message) = slot.message.take() {
                            self.resident_bytes =
                                self.resident_bytes.saturating_sub(weight(&message));
                        }
                    }
                    SlotState::Leased | SlotState::Lost => {
                        stays.insert(offset);
                        if slot.persistent {
                            bytes += u64::from(slot.size);
                        }
                    }
                    SlotState::Dying | SlotState::Settled => {}
                }
            }
        }
        (stays, bytes)
    }

    /// Settles all offsets except the lost ones and those that stay, which have `bytes` of persistent
    /// messages.
    fn purge_offsets(&mut self, mut stays: RangeSet, bytes: u64) {
        for range in self.lost.iter() {
            stays.insert_range(range);
        }
        for range in stays.gaps_in(0..self.next) {
            if let Some(history) = &mut self.history {
                // Messages that were acked before stay in the history.
                for gap in self.settled.gaps_in(range.clone()) {
                    history.add_gone(gap.clone());
                    self.offsets.gone(gap);
                }
            }
            self.settled.insert_range(range.clone());
            self.offsets.purged(range, bytes);
        }
        self.offsets.purged(self.next..self.next, bytes);
    }
}
