//! A block: the messages of one stored chunk, as the queue sees them while they are in memory.
//! Knows which of its messages are ready, leased or settled; knows nothing of order between blocks,
//! of consumers or of the disk.

use std::sync::Arc;

use crate::broker::queue::chunk_state::ChunkState;
use crate::model::{Message, Ticket};

/// What a message in the queue is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) enum SlotState {
    /// Waits for a consumer, at its place.
    Ready,
    /// Waits for a consumer, at the place among the returned ones that its queue has given it.
    Returned,
    /// Somebody has it and has not settled it.
    Leased,
    /// Has left the queue, and leaves the log when its dead letter is published.
    Dying,
    /// Gone.
    Settled,
    /// On disk, and it cannot be read.
    Lost,
}

/// One message of a block.
#[derive(Debug)]
pub(in crate::broker::queue) struct Slot {
    /// The message; `None` when it is on disk only.
    pub(in crate::broker::queue) message: Option<Arc<Message>>,
    /// Bytes of the body: what counts in limits and listings.
    pub(in crate::broker::queue) size: u32,
    /// Milliseconds after the block's `first_ms` at which it was enqueued.
    pub(in crate::broker::queue) enqueued: u32,
    /// The turn of its lease: how often it came back unacked, and above [`TURN_RETURNS`] in how many rewinds.
    pub(in crate::broker::queue) turn: u32,
    pub(in crate::broker::queue) state: SlotState,
    /// How often a consumer failed that had it, as far as that counts (`model::Message::failures`).
    pub(in crate::broker::queue) failures: u8,
    /// It was handed out before.
    pub(in crate::broker::queue) redelivered: bool,
    /// It is to be there after a restart.
    pub(in crate::broker::queue) persistent: bool,
}

/// The part of a turn that says how often a message came back since it was last rewound. A rewound message starts over
/// with its delivery count, but no answer to a lease from before may settle it.
pub(in crate::broker::queue) const TURN_RETURNS: u32 = 0xf_ffff;

/// The turn of a message that has been in so many rewinds and did not come back since. It repeats after 4,096 of them.
pub(in crate::broker::queue) fn first_turn(rewinds: u32) -> u32 {
    rewinds.wrapping_mul(TURN_RETURNS + 1)
}

impl Slot {
    /// Whether it waits for a consumer.
    pub(in crate::broker::queue) fn waits(&self) -> bool {
        matches!(self.state, SlotState::Ready | SlotState::Returned)
    }

    /// How often it came back unacked.
    pub(in crate::broker::queue) fn returns(&self) -> u32 {
        self.turn & TURN_RETURNS
    }

    /// It comes back unacked; counts as far as it can.
    pub(in crate::broker::queue) fn count_return(&mut self) {
        if self.returns() < TURN_RETURNS {
            self.turn += 1;
        }
    }

    /// Whether somebody has it by the lease of this turn.
    pub(in crate::broker::queue) fn is_leased(&self, turn: u32) -> bool {
        self.state == SlotState::Leased && self.turn == turn
    }
}

/// The messages of one chunk.
#[derive(Debug)]
pub(in crate::broker::queue) struct Block {
    /// Offset of the first slot.
    pub(in crate::broker::queue) first: u64,
    /// When the first message was enqueued.
    pub(in crate::broker::queue) first_ms: u64,
    pub(in crate::broker::queue) slots: Vec<Slot>,
    /// Slots that are not settled.
    pub(in crate::broker::queue) unsettled: u32,
    pub(in crate::broker::queue) chunk: ChunkState,
    /// Some slot was leased or carries a delivery count, which the disk does not know.
    pub(in crate::broker::queue) touched: bool,
}

impl Block {
    /// The offset after the last slot.
    pub(in crate::broker::queue) fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Whether `offset` is one of its slots.
    pub(in crate::broker::queue) fn contains(&self, offset: u64) -> bool {
        self.first <= offset && offset < self.end()
    }

    /// The slot of `offset`, if it lies in this block.
    pub(in crate::broker::queue) fn slot(&self, offset: u64) -> Option<&Slot> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        self.slots.get(index)
    }

    /// The slot of `offset`, if it lies in this block.
    pub(in crate::broker::queue) fn slot_mut(&mut self, offset: u64) -> Option<&mut Slot> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)
    }

    /// The first offset at or after `from` that is ready at its place.
    pub(in crate::broker::queue) fn next_ready(&self, from: u64) -> Option<u64> {
        let skip = usize::try_from(from.saturating_sub(self.first)).ok()?;
        let ready = self
            .slots
            .iter()
            .skip(skip)
            .position(|slot| slot.state == SlotState::Ready)?;
        Some(self.first + (skip + ready) as u64)
    }

    /// Whether its chunk is still being gathered.
    pub(in crate::broker::queue) fn is_open(&self) -> bool {
        matches!(self.chunk, ChunkState::Open(_))
    }

    /// Whether the whole block could be forgotten and read again without losing anything.
    pub(in crate::broker::queue) fn is_evictable(&self, committed: Ticket) -> bool {
        !self.touched && matches!(self.chunk, ChunkState::Written(ticket) if ticket <= committed)
    }
}
