//! A block: the messages of one stored chunk, as the queue sees them while they are in memory.
//! Knows which of its messages are ready, leased or settled; knows nothing of order between blocks,
//! of consumers or of the disk.

use std::sync::Arc;

use crate::model::{Message, Ticket};
use crate::store::chunk::ChunkEncoder;

/// Why a message leaves its queue other than by being acked; the `reason` of an `x-death` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// basic.reject or basic.nack with `requeue` false.
    Rejected,
    /// Its time to live has passed.
    Expired,
    /// The queue was longer than `x-max-length` or `x-max-length-bytes` allows.
    MaxLength,
    /// It was returned more often than `x-delivery-limit` allows.
    DeliveryLimit,
}

impl DeathReason {
    /// As RabbitMQ spells it in `x-death` headers.
    pub fn as_str(self) -> &'static str {
        match self {
            DeathReason::Rejected => "rejected",
            DeathReason::Expired => "expired",
            DeathReason::MaxLength => "maxlen",
            DeathReason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// What a message in the queue is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotState {
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
pub(super) struct Slot {
    /// The message; `None` when it is on disk only.
    pub(super) message: Option<Arc<Message>>,
    /// Bytes of the body: what counts in limits and listings.
    pub(super) size: u32,
    /// Milliseconds after the block's `first_ms` at which it was enqueued.
    pub(super) enqueued: u32,
    /// The turn of its lease: how often it came back unacked, and above [`TURN_RETURNS`] in how many rewinds.
    pub(super) turn: u32,
    pub(super) state: SlotState,
    /// How often a consumer failed that had it, as far as that counts (`model::Message::failures`).
    pub(super) failed: u8,
    /// It was handed out before.
    pub(super) redelivered: bool,
    /// It is to be there after a restart.
    pub(super) persistent: bool,
}

/// The part of a turn that says how often a message came back since it was last rewound. A rewound message starts over
/// with its delivery count, but no answer to a lease from before may settle it.
pub(super) const TURN_RETURNS: u32 = 0xf_ffff;

/// The turn of a message that has been in so many rewinds and did not come back since. It repeats after 4,096 of them.
pub(super) fn first_turn(rewinds: u32) -> u32 {
    rewinds.wrapping_mul(TURN_RETURNS + 1)
}

impl Slot {
    /// Whether it waits for a consumer.
    pub(super) fn waits(&self) -> bool {
        matches!(self.state, SlotState::Ready | SlotState::Returned)
    }

    /// How often it came back unacked.
    pub(super) fn returns(&self) -> u32 {
        self.turn & TURN_RETURNS
    }

    /// It comes back unacked; counts as far as it can.
    pub(super) fn count_return(&mut self) {
        if self.returns() < TURN_RETURNS {
            self.turn += 1;
        }
    }

    /// Whether somebody has it by the lease of this turn.
    pub(super) fn is_leased(&self, turn: u32) -> bool {
        self.state == SlotState::Leased && self.turn == turn
    }
}

/// Where a block's chunk is.
#[derive(Debug)]
pub(super) enum Written {
    /// Still gathered: goes to disk with the next group commit.
    Open(ChunkEncoder),
    /// Handed to the committer with this batch (readable when that is committed); the second field
    /// says whether it was read from or written to the store at all.
    Stored(Ticket),
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
    pub(super) written: Written,
    /// Some slot was leased or carries a delivery count, which the disk does not know.
    pub(super) touched: bool,
}

impl Block {
    /// The offset after the last slot.
    pub(super) fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Whether `offset` is one of its slots.
    pub(super) fn contains(&self, offset: u64) -> bool {
        self.first <= offset && offset < self.end()
    }

    /// The slot of `offset`, if it lies in this block.
    pub(super) fn slot(&self, offset: u64) -> Option<&Slot> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        self.slots.get(index)
    }

    /// The slot of `offset`, if it lies in this block.
    pub(super) fn slot_mut(&mut self, offset: u64) -> Option<&mut Slot> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)
    }

    /// The first offset at or after `from` that is ready at its place.
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
        matches!(self.written, Written::Open(_))
    }

    /// Whether the whole block could be forgotten and read again without losing anything.
    pub(super) fn is_evictable(&self, committed: Ticket) -> bool {
        !self.touched && matches!(self.written, Written::Stored(ticket) if ticket <= committed)
    }
}
