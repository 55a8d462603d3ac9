//! Leases that receives gave. No connection holds them: a receipt handle names one, and it lasts until its
//! deadline, over a restart, too. `receive_records` has their records.

use std::collections::BTreeMap;

use crate::broker::queue::budget::QUEUE_RESIDENT_BYTES_MIN;
use crate::broker::queue::durability::Durability;
use crate::broker::queue::receive::receipt_handle::HandleFields;
use crate::model::{Lease, Ticket};
use crate::store::{ReceiveRecord, ReceivedLease, ReturnCount, ReturnDetails, StoredMessage};

use super::block::SlotState;
use super::leases::{ReturnTo, Returned, stored_failures};
use super::{Lane, ToRestore};

impl Lane {
    /// Takes over the receives from before the restart. [`Lane::restore_next`] restores the leases that have
    /// not ended. `is_over` says whether a lease has ended, given its deadline and the failures before it.
    fn begin_restore(&mut self, receives: Vec<ReceiveRecord>, is_over: &impl Fn(u64, u32) -> bool) {
        let mut last: BTreeMap<u64, (u64, Lease)> = BTreeMap::new();
        let lane = self.log.lane();
        for receive in receives {
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
        // Check return counts before reads move them to the slots.
        last.retain(|offset, (until_ms, lease)| {
            let count = self.return_counts.get(offset).copied().unwrap_or_default();
            self.receives.set_unaccepted(*offset, count.uncounted);
            let came_back = count.turn > lease.turn;
            if !came_back {
                self.wake(*offset); // it was received after its rest
            }
            if !came_back && is_over(*until_ms, stored_failures(count)) {
                self.return_cold(*lease);
                return false;
            }
            !came_back
        });
        self.to_restore = ToRestore::Leases(last.into_values().collect());
    }

    /// Restores leases from before the restart, and gives each with its deadline to `leased`. Returns the
    /// offset of a cold message, since leased messages need a slot: the chunk that holds it is given to
    /// [`Lane::restore_from`].
    pub(in crate::broker::queue) fn restore_next(
        &mut self,
        is_over: impl Fn(u64, u32) -> bool,
        mut leased: impl FnMut(u64, Lease),
    ) -> Option<u64> {
        if let ToRestore::Receives(receives) = &mut self.to_restore {
            let receives = std::mem::take(receives);
            self.begin_restore(receives, &is_over);
        }
        while let ToRestore::Leases(leases) = &self.to_restore
            && let Some((until_ms, lease)) = leases.front().copied()
        {
            if self.locate(lease.offset).is_err() {
                return Some(lease.offset);
            }
            self.next_lease_to_restore();
            if self.lease_again(lease) {
                leased(until_ms, lease);
            } else {
                self.return_cold(lease);
            }
        }
        None
    }

    /// Takes in the chunk that [`Lane::restore_next`] asked for. A message that cannot be read is ready
    /// instead.
    pub(in crate::broker::queue) fn restore_from(
        &mut self,
        chunks: Vec<(u64, Vec<StoredMessage>)>,
    ) -> Option<(u64, Lease)> {
        let (until_ms, lease) = self.next_lease_to_restore()?;
        for (first, messages) in chunks {
            self.load(first, messages);
        }
        // Leased messages need no body in memory.
        self.evict(QUEUE_RESIDENT_BYTES_MIN, Ticket(0), None);
        if self.lease_again(lease) {
            return Some((until_ms, lease));
        }
        self.return_cold(lease);
        None
    }

    fn next_lease_to_restore(&mut self) -> Option<(u64, Lease)> {
        match &mut self.to_restore {
            ToRestore::Receives(_) => None,
            ToRestore::Leases(leases) => leases.pop_front(),
        }
    }

    /// The lease of a cold message ended while the broker was down.
    fn return_cold(&mut self, lease: Lease) {
        let before = self.return_counts.get(&lease.offset).copied();
        let count = ReturnCount {
            turn: lease.turn.saturating_add(1),
            uncounted: self.receives.unaccepted(lease.offset),
            details: Some(ReturnDetails {
                failures: before.map_or(0, stored_failures).saturating_add(1),
                rests_until_ms: None,
            }),
        };
        self.return_counts.insert(lease.offset, count);
        self.offsets.returned(lease.offset, count);
    }

    /// Leases a message that was leased before the restart. False if it has no slot, or is not ready.
    fn lease_again(&mut self, lease: Lease) -> bool {
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

    /// A receive has given this lease. Returns when the message was first received. [`Lane::end_receive`]
    /// follows.
    pub(in crate::broker::queue) fn received(&mut self, lease: Lease, now_ms: u64) -> u64 {
        let persistent = self.slot(lease.offset).is_some_and(|slot| slot.persistent);
        let durable = self.durability != Durability::Nothing && persistent;
        self.receives.received(lease, now_ms, durable)
    }

    /// The receive is complete, and its leases end at this time.
    pub(in crate::broker::queue) fn end_receive(&mut self, until_ms: u64) {
        self.receives.end_receive(until_ms);
    }

    /// The lease that a receipt handle names: the last lease that a receive gave of its message. It may have
    /// ended.
    pub(in crate::broker::queue) fn received_lease(&self, fields: HandleFields) -> Option<Lease> {
        let offset = fields.offset(self.next)?;
        let turn = self
            .receives
            .turn(offset)
            .filter(|turn| fields.is_of(*turn))?;
        let lane = fields.lane;
        Some(Lease { offset, turn, lane })
    }

    /// A lease that a receive gave lasts until another time, which [`Lane::end_receive`] says. False if it
    /// had ended.
    pub(in crate::broker::queue) fn prolong(&mut self, lease: Lease) -> bool {
        let is_current = self.holds(lease);
        if is_current {
            self.receives.prolonged(lease);
        }
        is_current
    }

    /// Ends a lease of a receive that no client accepted: the message is ready again, and this return does
    /// not count.
    pub(in crate::broker::queue) fn return_unaccepted(&mut self, lease: Lease) {
        if self.holds(lease) {
            self.requeue(lease, ReturnTo::Position, Returned::Unaccepted);
        }
    }
}
