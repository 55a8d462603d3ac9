//! A lane: one log of a queue with its in-memory state. It knows which messages are ready, leased, dying or
//! settled, and which of them are resident. It knows no consumers, limits or times to live.
//!
//! Every offset below `next` is exactly one of:
//!
//! - *settled*: the message has left the queue for good;
//! - in a resident *block*, where its slot holds its state;
//! - *lost*: on disk and unreadable (`damage`);
//! - *cold*: ready, resting or dying, and on disk only. Cold messages cost no memory, so a backlog may have any
//!   length.
//!
//! In a lane with a history an acked message is settled, but stays on disk until its offset is *gone*. Until
//! then a rewind can make it cold and ready again (`rewindable`).

mod block; // the messages of one chunk in memory
mod damage; // messages that cannot be read
mod disk; // changes to write
mod dying; // dying messages
pub(super) mod history; // which acked messages a rewind can bring back
pub(super) mod leases; // handing out, ack and return
mod receive_records; // received messages, in memory and on disk
mod received_leases; // leases that receives gave
mod resident; // reading chunks back, and eviction
pub(super) mod resting; // returned messages that wait for a time
mod rewindable; // the history of this lane, and rewinding
mod settle; // messages leave for good
pub(super) mod turn; // the turn of a lease

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::model::{Lease, LogId, Message};
use crate::store::chunk::ChunkEncoder;
use crate::store::{LogState, RangeSet, ReceiveRecord, ReturnCount};

use super::chunk_state::ChunkState;
use super::durability::Durability;
use super::effects::Oldest;
use super::offsets::Offsets;

use block::{Block, Slot, SlotState, weight};
use history::History;
use receive_records::ReceiveRecords;

/// The head of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Nothing is ready.
    Empty,
    /// The next message, with this offset, is on disk only and has to be read.
    Cold(u64),
    /// The next message, with this offset, is in memory.
    Ready(u64),
}

/// The remaining work to restore receives from before the restart.
enum ToRestore {
    /// The restore has not begun.
    Receives(Vec<ReceiveRecord>),
    /// Leases that are not over, each with its deadline.
    Leases(VecDeque<(u64, Lease)>),
}

/// One log of a queue.
pub(super) struct Lane {
    log: LogId,
    durability: Durability,
    /// The offset of the next message that is enqueued.
    next: u64,
    settled: RangeSet,
    /// Resident blocks in offset order. The open ones are the last.
    blocks: VecDeque<Block>,
    /// No offset below is ready in the order of offsets.
    ready_from: u64,
    /// Messages from here on were enqueued by the current command.
    new_from: u64,
    /// Messages below are from before the last restart, and may have been handed out then.
    recovered_below: u64,
    /// Nothing that happened before the restart is forgotten.
    follows_orderly_end: bool,
    /// No message from this offset on was handed out.
    handed_out_below: u64,
    /// Return counts of cold messages from before the restart. A slot takes over its count.
    return_counts: BTreeMap<u64, ReturnCount>,
    /// How many deliveries of a message have failed, those before its dead-lettering included; only for
    /// messages with a slot that were handed out.
    failures: BTreeMap<u64, u32>,
    /// Messages that were received by handle.
    receives: ReceiveRecords,
    to_restore: ToRestore,
    /// Cold messages that cannot be read. They are neither ready nor settled, so their chunks stay on disk.
    lost: RangeSet,
    /// How many messages with a slot cannot be read.
    lost_slots: u64,
    /// Offsets of dying messages.
    dying: RangeSet,
    /// Bytes of the bodies of persistent dying messages.
    dying_bytes: u64,
    /// When the rests of resting messages end, by offset.
    resting: BTreeMap<u64, u64>,
    /// Bytes of the bodies of resting messages.
    resting_bytes: u64,
    /// Messages that are ready, the returned ones included.
    ready: u64,
    /// Messages whose slots are [`SlotState::Returned`].
    returned: u64,
    ready_bytes: u64,
    leased: u64,
    leased_bytes: u64,
    resident_bytes: u64,
    is_loading: bool,
    /// Settled and gone offsets, with their unwritten changes.
    offsets: Offsets,
    /// Parts of the log that may have chunks in which all messages are gone. The next batch tells the store.
    sweeps: Vec<Range<u64>>,
    /// Offsets of messages that may have been handed out before: rewound ones, and those that came in so.
    handed_out: RangeSet,
    /// `None` in a queue that is not rewindable.
    history: Option<Box<History>>,
}

impl Lane {
    pub(super) fn new(log: LogId, durability: Durability) -> Self {
        Lane {
            log,
            durability,
            next: 0,
            settled: RangeSet::default(),
            blocks: VecDeque::new(),
            ready_from: 0,
            new_from: 0,
            recovered_below: 0,
            follows_orderly_end: false,
            handed_out_below: 0,
            return_counts: BTreeMap::new(),
            failures: BTreeMap::new(),
            receives: ReceiveRecords::new(log),
            to_restore: ToRestore::Leases(VecDeque::new()),
            lost: RangeSet::new(),
            lost_slots: 0,
            dying: RangeSet::new(),
            dying_bytes: 0,
            resting: BTreeMap::new(),
            resting_bytes: 0,
            ready: 0,
            returned: 0,
            ready_bytes: 0,
            leased: 0,
            leased_bytes: 0,
            resident_bytes: 0,
            is_loading: false,
            offsets: Offsets::new(log, durability != Durability::Nothing),
            sweeps: Vec::new(),
            handed_out: RangeSet::new(),
            history: None,
        }
    }

    /// The lane as the disk has it. Leased messages are ready again; those that were received by handle are
    /// leased anew by [`Lane::restore_receives`]. The history stays until [`Lane::set_history_limits`] sets
    /// its limits.
    pub(super) fn recover(log: LogId, durability: Durability, state: LogState) -> Self {
        let mut lane = Lane::new(log, durability);
        lane.next = state.record.next;
        lane.settled = state.settled;
        lane.settled.insert_range(0..state.record.floor);
        lane.follows_orderly_end = state.handed_out_below.is_some();
        lane.handed_out_below = state.handed_out_below.unwrap_or(lane.next).min(lane.next);
        lane.recovered_below = lane.handed_out_below;
        lane.new_from = lane.next;
        lane.return_counts = state.counts.into_iter().collect();
        lane.ready = lane.next.saturating_sub(lane.settled.len());
        lane.ready_bytes = if lane.ready == 0 {
            0
        } else {
            state.record.bytes
        };
        lane.ready_from = lane.settled.first_gap(0);
        let unsettled_bytes = lane.ready_bytes;
        lane.recover_rests();
        let mut gone = state.gone;
        gone.insert_range(0..state.record.history_from.unwrap_or(0));
        lane.offsets = Offsets::recover(
            log,
            state.record,
            lane.settled.clone(),
            gone.clone(),
            unsettled_bytes,
        );
        if state.record.history_from.is_some() {
            let history = History::recover(gone, &state.stretches, lane.next);
            lane.history = Some(Box::new(history));
        }
        lane.to_restore = ToRestore::Receives(state.receives);
        lane
    }

    pub(super) fn ready(&self) -> u64 {
        self.ready
    }

    /// Whether any message is ready in the order of offsets.
    pub(super) fn waits_in_order(&self) -> bool {
        self.ready > self.returned
    }

    /// Whether the message at `offset` may have been handed out before the last restart.
    pub(super) fn is_recovered(&self, offset: u64) -> bool {
        offset < self.recovered_below
    }

    /// The offset from which on no message was handed out.
    pub(super) fn handed_out_below(&self) -> u64 {
        self.handed_out_below
    }

    /// Whether the message at `offset` may have died before the last restart, in a batch that a crash has taken.
    pub(super) fn may_have_died(&self, offset: u64) -> bool {
        self.is_recovered(offset) && !self.follows_orderly_end
    }

    /// Messages that are enqueued from now on belong to the next command.
    pub(super) fn end_command(&mut self) {
        self.new_from = self.next;
        if !self.handed_out.is_empty() {
            self.handed_out.remove_below(self.gone_floor());
        }
    }

    /// Whether the current command enqueued the message at `offset`.
    pub(super) fn is_new(&self, offset: u64) -> bool {
        offset >= self.new_from
    }

    pub(super) fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    pub(super) fn leased(&self) -> u64 {
        self.leased
    }

    pub(super) fn leased_bytes(&self) -> u64 {
        self.leased_bytes
    }

    pub(super) fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    pub(super) fn log(&self) -> LogId {
        self.log
    }

    /// The offset of the next message that is enqueued.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The first message that is not settled, if it is in memory.
    pub(super) fn head_message(&self) -> Option<&Arc<Message>> {
        let offset = self.first_unsettled(0);
        self.block_at(offset)?.slot(offset)?.message.as_ref()
    }

    /// When the first message that is not settled was enqueued; `None` if all are settled.
    pub(super) fn oldest(&self) -> Option<Oldest> {
        let offset = self.first_unsettled(0);
        let enqueued_ms = self
            .block_at(offset)
            .and_then(|block| Some(block.enqueued_ms(block.slot(offset)?)));
        (offset < self.next).then_some(match enqueued_ms {
            Some(enqueued_ms) => Oldest::Enqueued(enqueued_ms),
            None => Oldest::OnDisk(self.log, offset),
        })
    }

    /// Enqueues a message and returns its offset.
    pub(super) fn push(&mut self, now_ms: u64, message: &Arc<Message>) -> u64 {
        let offset = self.next;
        let size = u32::try_from(message.body.len()).unwrap_or(u32::MAX);
        let now_ms = match &mut self.history {
            Some(history) => history.enqueued(offset, now_ms, size),
            None => now_ms,
        };
        let persistent = self.durability.covers(message);
        if message.handed_out {
            self.handed_out.insert(offset);
            self.handed_out_below = self.handed_out_below.max(offset + 1);
        }
        let fits = self.blocks.back().is_some_and(|block| {
            matches!(&block.chunk, ChunkState::Open(encoder) if encoder.has_room_for(message.size()))
        });
        if !fits {
            self.blocks.push_back(Block {
                first: offset,
                first_ms: now_ms,
                slots: Vec::new(),
                unsettled: 0,
                chunk: ChunkState::Open(ChunkEncoder::new()),
                touched: false,
            });
        }
        if let Some(block) = self.blocks.back_mut() {
            if let ChunkState::Open(encoder) = &mut block.chunk {
                encoder.push(now_ms, message);
            }
            block.unsettled += 1;
            block.slots.push(Slot {
                message: Some(Arc::clone(message)),
                size,
                enqueued_after_ms: u32::try_from(now_ms.saturating_sub(block.first_ms))
                    .unwrap_or(u32::MAX),
                turn: 0,
                state: SlotState::Ready,
                redelivered: message.handed_out,
                persistent,
            });
        }
        self.next += 1;
        self.ready += 1;
        self.ready_bytes += u64::from(size);
        self.resident_bytes += weight(message);
        self.offsets.enqueued(offset, size, persistent);
        offset
    }

    /// The next ready message in the order of offsets. Skips returned messages.
    pub(super) fn head(&mut self) -> Head {
        while self.ready_from < self.next {
            match self.locate(self.ready_from) {
                Ok(index) => {
                    let Some(block) = self.blocks.get(index) else {
                        return Head::Empty;
                    };
                    match block.next_ready(self.ready_from) {
                        Some(offset) => {
                            self.ready_from = offset;
                            let is_resident = block
                                .slot(offset)
                                .is_some_and(|slot| slot.message.is_some());
                            return if is_resident {
                                Head::Ready(offset)
                            } else {
                                Head::Cold(offset)
                            };
                        }
                        None => self.ready_from = block.end(),
                    }
                }
                Err(index) => {
                    let gap_end = self
                        .blocks
                        .get(index)
                        .map_or(self.next, |block| block.first);
                    if let Some(cold) = self.first_cold(self.ready_from..gap_end) {
                        self.ready_from = cold;
                        return Head::Cold(cold);
                    }
                    self.ready_from = gap_end;
                }
            }
        }
        Head::Empty
    }

    /// The message at `offset`, if it waits as a returned message for the lease of this turn.
    pub(super) fn returned_head(&self, offset: u64, turn: u32) -> Option<Head> {
        let slot = self.slot(offset)?;
        let waits = slot.state == SlotState::Returned && slot.turn == turn;
        waits.then_some(match slot.message {
            Some(_) => Head::Ready(offset),
            None => Head::Cold(offset),
        })
    }

    /// A message in memory, and when it was enqueued.
    pub(super) fn peek(&self, offset: u64) -> Option<(&Arc<Message>, u64)> {
        let block = self.block_at(offset)?;
        let slot = block.slot(offset)?;
        Some((slot.message.as_ref()?, block.enqueued_ms(slot)))
    }

    /// The first ready message in a range that has no resident blocks.
    fn first_cold(&self, range: Range<u64>) -> Option<u64> {
        let mut at = range.start;
        loop {
            let unsettled = self.first_unsettled(at);
            at = self.dying.first_gap(unsettled);
            while self.resting.contains_key(&at) {
                at += 1;
            }
            if at == unsettled {
                return (at < range.end).then_some(at);
            }
        }
    }

    /// The index of the block that holds `offset`, or the index at which such a block would be inserted.
    fn locate(&self, offset: u64) -> Result<usize, usize> {
        // Most calls are about the oldest or the newest block.
        if let Some(front) = self.blocks.front()
            && offset < front.end()
        {
            return if front.first <= offset { Ok(0) } else { Err(0) };
        }
        let index = self.blocks.partition_point(|block| block.end() <= offset);
        match self.blocks.get(index) {
            Some(block) if block.first <= offset => Ok(index),
            _ => Err(index),
        }
    }

    fn block_at(&self, offset: u64) -> Option<&Block> {
        self.blocks.get(self.locate(offset).ok()?)
    }

    fn slot(&self, offset: u64) -> Option<&Slot> {
        self.block_at(offset)?.slot(offset)
    }

    fn slot_mut(&mut self, offset: u64) -> Option<&mut Slot> {
        let index = self.locate(offset).ok()?;
        self.blocks.get_mut(index)?.slot_mut(offset)
    }

    fn count_out_of_ready(&mut self, size: u32) {
        self.ready -= 1;
        // A rewind may have added an average instead of exact sizes. Without messages there are no bytes.
        self.ready_bytes = match self.ready {
            0 => 0,
            _ => self.ready_bytes.saturating_sub(u64::from(size)),
        };
    }

    fn count_out_of_leased(&mut self, size: u32) {
        self.leased -= 1;
        self.leased_bytes = self.leased_bytes.saturating_sub(u64::from(size));
    }

    fn count_out_of_dying(&mut self, offset: u64, size: u32, persistent: bool) {
        self.dying.remove_range(offset..offset + 1);
        if persistent {
            self.dying_bytes = self.dying_bytes.saturating_sub(u64::from(size));
        }
    }

    fn count_ready_to_leased(&mut self, size: u32) {
        self.count_out_of_ready(size);
        self.leased += 1;
        self.leased_bytes += u64::from(size);
    }
}
