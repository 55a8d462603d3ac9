//! Handing messages out. A lease names a message and its turn. It ends when the message is acked, returns or
//! dies, and from then on the next lease has another turn, so an answer that comes too late changes nothing.

use std::sync::Arc;

use crate::broker::queue::consumer::ReturnCounts;
use crate::broker::queue::durability::Durability;
use crate::model::{Lease, Message};
use crate::store::{ReturnCount, ReturnDetails};

use super::block::SlotState;
use super::{Lane, turn};

/// A message as a lease hands it out.
pub(in crate::broker::queue) struct Leased {
    pub(in crate::broker::queue) message: Arc<Message>,
    pub(in crate::broker::queue) lease: Lease,
    pub(in crate::broker::queue) redelivered: bool,
    /// How often it came back before, without the receives that no client accepted.
    pub(in crate::broker::queue) returns: u32,
    /// How many of its deliveries failed.
    failures: u32,
    pub(in crate::broker::queue) enqueued_ms: u64,
}

impl Leased {
    /// The `redelivered` flag and the counts of a delivery. A dead letter brings its failures along, so it
    /// counts as redelivered. Until it comes back to this queue, they stand for its returns.
    pub(in crate::broker::queue) fn reported(&self) -> (bool, ReturnCounts) {
        let counts = ReturnCounts {
            acquired: match self.returns {
                0 => self.failures,
                returns => returns,
            },
            delivery: self.failures,
        };
        (self.redelivered || self.failures > 0, counts)
    }
}

/// How a return counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) enum Returned {
    /// As a return only.
    Unharmed,
    /// As a failed delivery, too.
    Failed,
    /// Not at all: no client accepted the receive.
    Unaccepted,
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
    /// How many of its deliveries have failed.
    pub(in crate::broker::queue) failures: u32,
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
        let failures = match self.failures.get(&offset) {
            Some(failures) => *failures,
            None if message.failures == 0 => 0,
            None => {
                self.failures.insert(offset, message.failures);
                message.failures
            }
        };
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
            failures,
            enqueued_ms: first_ms + u64::from(slot.enqueued_after_ms),
        };
        block.touched = true;
        self.handed_out_below = self.handed_out_below.max(offset + 1);
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
        how: Returned,
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
        let (size, turn, returns) = (slot.size, slot.turn, slot.returns());
        let persistent = slot.persistent;
        let failures = match how {
            Returned::Failed => self.count_failure(offset),
            Returned::Unharmed => self.failures.get(&offset).copied().unwrap_or_default(),
            Returned::Unaccepted => {
                self.receives.count_unaccepted(lease);
                self.failures.get(&offset).copied().unwrap_or_default()
            }
        };
        // A classic queue does not store delivery counts, except for received messages: after a restart the
        // handle of a lease that has ended must not fit the next one.
        let received = self.durability == Durability::Persistent && persistent;
        if self.durability == Durability::Everything || (received && self.receives.is_known(offset))
        {
            let uncounted = self.receives.unaccepted(offset);
            let all_failed = failures == returns.saturating_sub(uncounted);
            let details = ReturnDetails {
                failures,
                rests_until_ms: None,
            };
            let count = ReturnCount {
                turn,
                uncounted,
                details: (!all_failed).then_some(details),
            };
            self.offsets.returned(offset, count);
        }
        self.count_out_of_leased(size);
        self.ready += 1;
        self.ready_bytes += u64::from(size);
        match to {
            ReturnTo::Position => self.ready_from = self.ready_from.min(offset),
            ReturnTo::Returned => self.returned += 1,
        }
        Some(Requeued {
            failures,
            next: Lease { turn, ..lease },
        })
    }

    /// A delivery of the message has failed. Returns how many have.
    pub(in crate::broker::queue) fn count_failure(&mut self, offset: u64) -> u32 {
        let failures = self.failures.entry(offset).or_default();
        *failures = failures.saturating_add(1);
        *failures
    }

    /// How many deliveries of a message have failed, if it was ever handed out or brought failures along.
    pub(in crate::broker::queue) fn failures(&self, offset: u64) -> Option<u32> {
        self.failures.get(&offset).copied()
    }
}

/// The failures of a message whose return count was read from disk.
pub(super) fn stored_failures(count: ReturnCount) -> u32 {
    match count.details {
        Some(details) => details.failures,
        None => turn::returns(count.turn).saturating_sub(count.uncounted),
    }
}
