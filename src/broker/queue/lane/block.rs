//! A block: the messages of one chunk while they are resident, a slot for each. Knows no other blocks, no
//! consumers and no disk.

use std::sync::Arc;

use crate::broker::queue::chunk_state::ChunkState;
use crate::model::{Message, Ticket};

use super::turn::{self, RETURNS_MAX};

/// Memory that a message takes besides its bytes, for the memory budget.
const SLOT_OVERHEAD: u64 = 160;

/// The state of a message that has a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotState {
    /// Ready, in the order of offsets.
    Ready,
    /// Ready, in the order that the queue keeps for returned messages.
    Returned,
    /// Resting: it has returned, and is ready again at a later time.
    Resting,
    /// Leased: a client has it and has not answered.
    Leased,
    /// Dying: it has left the queue, and leaves the log when its dead letter is published.
    Dying,
    Settled,
    /// Lost: on disk, where it cannot be read.
    Lost,
}

impl SlotState {
    /// Whether the body may leave memory before those of others: no consumer gets the message next.
    pub(super) fn needs_no_body(self) -> bool {
        matches!(
            self,
            SlotState::Leased | SlotState::Resting | SlotState::Dying
        )
    }
}

/// One message of a block.
#[derive(Debug)]
pub(super) struct Slot {
    /// `None` when the message is on disk only.
    pub(super) message: Option<Arc<Message>>,
    /// Bytes of the body, as limits and listings count them.
    pub(super) size: u32,
    /// When it was enqueued, in milliseconds after the block's `first_ms`.
    pub(super) enqueued_after_ms: u32,
    /// The turn of its current or next lease (see [`turn`]).
    pub(super) turn: u32,
    pub(super) state: SlotState,
    /// It was handed out before.
    pub(super) redelivered: bool,
    /// A restart finds it.
    pub(super) persistent: bool,
}

impl Slot {
    /// Whether it waits for a consumer.
    pub(super) fn waits(&self) -> bool {
        matches!(self.state, SlotState::Ready | SlotState::Returned)
    }

    /// How often it came back unacked since it was last rewound.
    pub(super) fn returns(&self) -> u32 {
        turn::returns(self.turn)
    }

    /// Counts a return, up to the highest number that a turn can hold.
    pub(super) fn count_return(&mut self) {
        if self.returns() < RETURNS_MAX {
            self.turn += 1;
        }
    }

    /// Whether the lease of this turn is current.
    pub(super) fn is_leased(&self, turn: u32) -> bool {
        self.state == SlotState::Leased && self.turn == turn
    }
}

/// The messages of one chunk.
#[derive(Debug)]
pub(super) struct Block {
    /// Offset of the first slot.
    pub(super) first: u64,
    /// When the first message was enqueued.
    pub(super) first_ms: u64,
    pub(super) slots: Vec<Slot>,
    /// Slots that are not settled.
    pub(super) unsettled: u32,
    pub(super) chunk: ChunkState,
    /// Some slot was leased or carries a delivery count. The chunk on disk says nothing of that, so the block
    /// must stay resident.
    pub(super) touched: bool,
}

impl Block {
    /// The offset after the last slot.
    pub(super) fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub(super) fn contains(&self, offset: u64) -> bool {
        self.first <= offset && offset < self.end()
    }

    pub(super) fn slot(&self, offset: u64) -> Option<&Slot> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        self.slots.get(index)
    }

    pub(super) fn slot_mut(&mut self, offset: u64) -> Option<&mut Slot> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)
    }

    /// When the message of a slot of this block was enqueued.
    pub(super) fn enqueued_ms(&self, slot: &Slot) -> u64 {
        self.first_ms + u64::from(slot.enqueued_after_ms)
    }

    /// The first offset at or after `from` that is ready in the order of offsets.
    pub(super) fn next_ready(&self, from: u64) -> Option<u64> {
        let skip = usize::try_from(from.saturating_sub(self.first)).ok()?;
        let ready = self
            .slots
            .iter()
            .skip(skip)
            .position(|slot| slot.state == SlotState::Ready)?;
        Some(self.first + (skip + ready) as u64)
    }

    /// Whether its chunk is still being gathered.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.chunk, ChunkState::Open(_))
    }

    /// Whether the store can give the chunk back: its batch is committed.
    pub(super) fn is_stored(&self, committed: Ticket) -> bool {
        matches!(self.chunk, ChunkState::Written(ticket) if ticket <= committed)
    }

    /// Whether the whole block can be dropped from memory and read again without losing anything.
    pub(super) fn is_evictable(&self, committed: Ticket) -> bool {
        !self.touched && self.is_stored(committed)
    }
}

/// Bytes that a resident message counts for in the memory budget.
pub(super) fn weight(message: &Message) -> u64 {
    message.size() as u64 + SLOT_OVERHEAD
}
