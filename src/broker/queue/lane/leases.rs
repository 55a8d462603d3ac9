//! Handing messages out. A lease names a message and its turn. It ends when the message is acked, returns or
//! dies, and from then on the next lease has another turn, so an answer that comes too late changes nothing.

use std::sync::Arc;

use crate::broker::queue::durability::Durability;
use crate::model::arguments::QueueKind;
use crate::model::{Lease, Message};
use crate::store::ReturnCount;

use super::Lane;
use super::block::SlotState;

/// A message as a lease hands it out.
pub(in crate::broker::queue) struct Leased {
    pub(in crate::broker::queue) message: Arc<Message>,
    pub(in crate::broker::queue) lease: Lease,
    pub(in crate::broker::queue) redelivered: bool,
    /// How often it came back before, without the receives that no client accepted.
    pub(in crate::broker::queue) returns: u32,
    pub(in crate::broker::queue) enqueued_ms: u64,
}

impl Leased {
    /// The `redelivered` flag and the `x-delivery-count` (quorum queues) of a delivery. A message that was
    /// dead-lettered to a quorum queue brings its count of failures along. A delivery reports that count
    /// until the message comes back to this queue for the first time.
    pub(in crate::broker::queue) fn reported(&self, kind: QueueKind) -> (bool, u32) {
        let brought = match (kind, self.returns) {
            (QueueKind::Quorum, 0) => self.message.failures,
            _ => return (self.redelivered, self.returns),
        };
        (self.redelivered || brought > 0, brought)
    }
}

/// The place of a returned message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) enum ReturnTo {
    /// At its old position, in the order of offsets.
    Position,
    /// In the queue's own order of returned messages (`work/returns`); the lane's order skips it.
    Returned,
}

/// A message that has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) struct Requeued {
    /// How often it has come back by now, without the receives that no client accepted.
    pub(in crate::broker::queue) returns: u32,
    /// The lease that it will have next.
    pub(in crate::broker::queue) next: Lease,
}

impl Lane {
    /// Hands out the ready message at `offset`.
    pub(in crate::broker::queue) fn lease(&mut self, offset: u64) -> Option<Leased> {
        let index = self.locate(offset).ok()?;
        let block = self.blocks.get_mut(index)?;
        let first_ms = block.first_ms;
        let slot = block.slot_mut(offset).filter(|slot| slot.waits())?;
        let message = slot.message.clone()?;
        let was = std::mem::replace(&mut slot.state, SlotState::Leased);
        let size = slot.size;
        let leased = Leased {
            message,
            lease: Lease {
                offset,
                turn: slot.turn,
                lane: self.log.lane(),
            },
            redelivered: slot.redelivered,
            returns: slot
                .returns()
                .saturating_sub(self.receives.unaccepted(offset)),
            enqueued_ms: first_ms + u64::from(slot.enqueued_after_ms),
        };
        block.touched = true;
        self.count_ready_to_leased(size);
        match was {
            SlotState::Returned => self.returned -= 1,
            _ => self.ready_from = offset + 1,
        }
        Some(leased)
    }

    /// Whether this lease has not ended.
    pub(in crate::broker::queue) fn holds(&self, lease: Lease) -> bool {
        self.slot(lease.offset)
            .is_some_and(|slot| slot.is_leased(lease.turn))
    }

    /// Ends a lease: the message is ready again. `None` if the lease had ended.
    pub(in crate::broker::queue) fn requeue(
        &mut self,
        lease: Lease,
        to: ReturnTo,
    ) -> Option<Requeued> {
        let offset = lease.offset;
        let index = self.locate(offset).ok()?;
        let slot = self.blocks.get_mut(index)?.slot_mut(offset)?;
        if !slot.is_leased(lease.turn) {
            return None;
        }
        slot.state = match to {
            ReturnTo::Position => SlotState::Ready,
            ReturnTo::Returned => SlotState::Returned,
        };
        slot.redelivered = true;
        slot.count_return();
        // A classic queue does not store delivery counts, except for received messages: after a restart the
        // handle of a lease that has ended must not fit the next one.
        let received = self.durability == Durability::Persistent && slot.persistent;
        if self.durability == Durability::Everything || (received && self.receives.is_known(offset))
        {
            let count = ReturnCount {
                turn: slot.turn,
                uncounted: self.receives.unaccepted(offset),
            };
            self.offsets.returned(offset, count);
        }
        let (size, turn, returns) = (slot.size, slot.turn, slot.returns());
        self.count_out_of_leased(size);
        self.ready += 1;
        self.ready_bytes += u64::from(size);
        match to {
            ReturnTo::Position => self.ready_from = self.ready_from.min(offset),
            ReturnTo::Returned => self.returned += 1,
        }
        Some(Requeued {
            returns: returns.saturating_sub(self.receives.unaccepted(offset)),
            next: Lease { turn, ..lease },
        })
    }

    /// Counts a failure of the consumer that has this lease.
    pub(in crate::broker::queue) fn count_failure(&mut self, lease: Lease) {
        if let Some(slot) = self.slot_mut(lease.offset)
            && slot.is_leased(lease.turn)
        {
            slot.failures = slot.failures.saturating_add(1);
        }
    }

    /// Number of consumers that failed while they had the message at `offset`.
    pub(in crate::broker::queue) fn failures(&self, offset: u64) -> u32 {
        self.slot(offset).map_or(0, |slot| u32::from(slot.failures))
    }
}
