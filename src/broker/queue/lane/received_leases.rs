//! Leases that receives gave. No connection holds them: a receipt handle names one, and it lasts until its deadline, over
//! a restart too. What is stored of them is in `receive_records`.

use std::collections::BTreeMap;

use crate::broker::queue::budget::QUEUE_RESIDENT_BYTES_MIN;
use crate::broker::queue::durability::Durability;
use crate::broker::queue::receive::receipt_handle::HandleFields;
use crate::model::{Lease, LogId, Ticket};
use crate::store::{ReceivedLease, ReturnCount, StoredMessage};

use super::Lane;
use super::block::SlotState;
use super::leases::ReturnTo;

impl Lane {
    /// Takes over the receives from before the restart and returns the leases that have not ended, each with its
    /// deadline. `is_over` says whether a lease has ended, given its deadline and turn. `read` gives the chunk that
    /// holds an offset, since leased messages need a slot; a message that cannot be read is ready instead.
    pub(in crate::broker::queue) fn restore_receives(
        &mut self,
        lane: u8,
        mut is_over: impl FnMut(u64, u32) -> bool,
        read: &mut dyn FnMut(LogId, u64) -> Vec<(u64, Vec<StoredMessage>)>,
    ) -> Vec<(u64, Lease)> {
        let mut last: BTreeMap<u64, (u64, Lease)> = BTreeMap::new();
        for receive in std::mem::take(&mut self.to_restore) {
            let (settled, next) = (&self.settled, self.next);
            let is_there = |offset| offset < next && !settled.contains(offset);
            self.receives.restore(&receive, is_there);
            for ReceivedLease { offset, turn, .. } in receive.leases {
                if is_there(offset) {
                    let lease = Lease { offset, turn, lane };
                    last.insert(offset, (receive.until_ms, lease));
                }
            }
        }
        // Return counts are looked at before anything is read, which moves them to the slots.
        last.retain(|offset, (until_ms, lease)| {
            let count = self.return_counts.get(offset).copied().unwrap_or_default();
            self.receives.set_unaccepted(*offset, count.uncounted);
            let came_back = count.turn > lease.turn;
            if !came_back && is_over(*until_ms, lease.turn) {
                self.return_cold(*lease);
                return false;
            }
            !came_back
        });
        let mut restored = Vec::new();
        for (until_ms, lease) in last.into_values() {
            if self.lease_again(lease, read) {
                restored.push((until_ms, lease));
            } else {
                self.return_cold(lease);
            }
        }
        restored
    }

    /// The lease of a cold message ended while the broker was down.
    fn return_cold(&mut self, lease: Lease) {
        let count = ReturnCount {
            turn: lease.turn.saturating_add(1),
            uncounted: self.receives.unaccepted(lease.offset),
        };
        self.return_counts.insert(lease.offset, count);
        self.offsets.returned(lease.offset, count);
    }

    /// Leases a message that was leased before the restart. False if it cannot be read.
    fn lease_again(
        &mut self,
        lease: Lease,
        read: &mut dyn FnMut(LogId, u64) -> Vec<(u64, Vec<StoredMessage>)>,
    ) -> bool {
        if self.locate(lease.offset).is_err() {
            for (first, messages) in read(self.log, lease.offset) {
                self.load(first, messages);
            }
            // Leased messages need no body in memory.
            self.evict(QUEUE_RESIDENT_BYTES_MIN, Ticket(0), None);
        }
        let block = self
            .locate(lease.offset)
            .ok()
            .and_then(|index| self.blocks.get_mut(index));
        let Some(block) = block else { return false };
        block.touched = true;
        let Some(slot) = block
            .slot_mut(lease.offset)
            .filter(|slot| slot.state == SlotState::Ready)
        else {
            return false;
        };
        slot.state = SlotState::Leased;
        slot.turn = lease.turn;
        let size = slot.size;
        self.count_ready_to_leased(size);
        true
    }

    /// A receive has given this lease. Returns when the message was first received. [`Lane::end_receive`] follows.
    pub(in crate::broker::queue) fn received(&mut self, lease: Lease, now_ms: u64) -> u64 {
        let persistent = self.slot(lease.offset).is_some_and(|slot| slot.persistent);
        let durable = self.durability != Durability::Nothing && persistent;
        self.receives.received(lease, now_ms, durable)
    }

    /// The receive is complete, and its leases end at this time.
    pub(in crate::broker::queue) fn end_receive(&mut self, until_ms: u64) {
        self.receives.end_receive(until_ms);
    }

    /// The lease that a handle names: the last one that a receive gave of its message. It may have ended.
    pub(in crate::broker::queue) fn received_lease(&self, fields: HandleFields) -> Option<Lease> {
        let offset = fields.offset(self.next)?;
        let turn = self
            .receives
            .turn(offset)
            .filter(|turn| fields.is_of(*turn))?;
        let lane = fields.lane;
        Some(Lease { offset, turn, lane })
    }

    /// A lease that a receive gave lasts until another time, which [`Lane::end_receive`] says. False if it had ended.
    pub(in crate::broker::queue) fn prolong(&mut self, lease: Lease) -> bool {
        let is_held = self.holds(lease);
        if is_held {
            self.receives.prolonged(lease);
        }
        is_held
    }

    /// Ends a lease of a receive that no client accepted: the message is ready again, and this return does not count.
    pub(in crate::broker::queue) fn return_unaccepted(&mut self, lease: Lease) {
        if self.holds(lease) {
            self.receives.count_unaccepted(lease);
            self.requeue(lease, ReturnTo::Position);
        }
    }
}
