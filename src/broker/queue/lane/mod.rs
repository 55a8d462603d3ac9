//! One log of a queue: which of its messages are ready, leased or settled, and which of them are in memory.
//! Knows nothing of consumers, limits or time to live.
//!
//! Every offset below `next` is exactly one of: settled; in a resident block; *lost*, because the disk does not give it
//! back; or *cold*, which means ready or dying, and on disk only. Cold messages cost no memory, so a backlog may be of any length.
//! Where acked messages are kept, a settled message is on disk still until it is *gone*, and may become cold again.

pub(super) mod block; // the messages of one chunk in memory
mod damage; // messages that cannot be read
mod disk; // what the disk has to be told
pub(super) mod history; // which acked messages a rewind can bring back
mod memory; // what is in memory
pub(super) mod receive_records; // what is remembered of receives
mod received_leases; // leases that receives gave
mod rewindable; // acked messages, and how they become ready again

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::model::arguments::QueueKind;
use crate::model::{Lease, LogId, Message};
use crate::store::chunk::ChunkEncoder;
use crate::store::{LogState, RangeSet, ReceiveRecord, ReturnCount};

use super::chunk_state::ChunkState;
use super::durability::Durability;
use super::effects::Oldest;
use super::offsets::Offsets;

use block::{Block, Slot, SlotState};
use history::{History, SizedMessage};
use memory::weight;
use receive_records::ReceiveRecords;

/// What is at the head of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) enum Head {
    /// Nothing is ready.
    Empty,
    /// The next message is on disk: read from this offset.
    Cold(u64),
    /// The next message.
    Ready(u64),
}

/// A message as a lease hands it out.
pub(in crate::broker::queue) struct Leased {
    pub(in crate::broker::queue) message: Arc<Message>,
    pub(in crate::broker::queue) lease: Lease,
    pub(in crate::broker::queue) redelivered: bool,
    /// How often it came back before, as far as that counts.
    pub(in crate::broker::queue) returns: u32,
    /// When it was enqueued.
    pub(in crate::broker::queue) enqueued_ms: u64,
}

impl Leased {
    /// What a delivery tells: whether the message was handed out before, and how often it came back (the
    /// `x-delivery-count` of quorum queues). One that has been dead-lettered to a quorum queue brings along how often
    /// consumers failed that had it, until it comes back here for the first time.
    pub(in crate::broker::queue) fn reported(&self, kind: QueueKind) -> (bool, u32) {
        let brought = match (kind, self.returns) {
            (QueueKind::Quorum, 0) => self.message.failures,
            _ => return (self.redelivered, self.returns),
        };
        (self.redelivered || brought > 0, brought)
    }
}

/// Where a message waits that has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) enum ReturnTo {
    /// Where it was before.
    Position,
    /// Where its queue says ([`super::returns`]): the lane's own order passes it over.
    Returned,
}

/// A message that has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker::queue) struct Requeued {
    /// How often it has by now, as far as that counts.
    pub(in crate::broker::queue) returns: u32,
    /// The lease that it will have next.
    pub(in crate::broker::queue) next: Lease,
}

/// Why a message is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SettledBy {
    /// A consumer has dealt with it: it may be kept.
    Ack,
    /// It left otherwise, and never comes back.
    Removal,
}

/// One log of a queue.
pub(in crate::broker::queue) struct Lane {
    log: LogId,
    durability: Durability,
    /// The next offset to be given out.
    next: u64,
    /// Settled offsets.
    settled: RangeSet,
    /// Resident blocks in offset order; open ones are the last.
    blocks: VecDeque<Block>,
    /// No offset below is ready at its place.
    ready_from: u64,
    /// Messages from here on have come in this very turn.
    new_from: u64,
    /// Messages below were there before the last restart, and may have been handed out then.
    recovered_below: u64,
    /// How often messages that are not in memory came back, from before the restart.
    return_counts: BTreeMap<u64, ReturnCount>,
    /// Messages that were received by handle.
    receives: ReceiveRecords,
    /// Receives from before the restart, until [`Lane::restore_receives`].
    to_restore: Vec<ReceiveRecord>,
    /// Messages that cannot be read. They are neither ready nor settled, so their chunks stay.
    lost: RangeSet,
    /// The same of those that have a slot in a block.
    lost_slots: u64,
    /// Messages that have left the queue and whose dead letters are not published yet.
    dying: RangeSet,
    /// Bytes of the bodies of those of them that a restart finds.
    dying_bytes: u64,
    ready: u64,
    /// How many of these do not wait at their places.
    returned: u64,
    ready_bytes: u64,
    leased: u64,
    leased_bytes: u64,
    resident_bytes: u64,
    /// A read is under way.
    loading: bool,
    /// What the disk has to be told.
    offsets: Offsets,
    /// Chunks below may still lie on disk after a purge.
    sweep_below: Option<u64>,
    /// Where chunks may lie that nobody reads again.
    sweeps: Vec<Range<u64>>,
    /// What was rewound, and so was handed out before.
    rewound: RangeSet,
    /// What is kept of acked messages, if anything.
    history: Option<Box<History>>,
}

impl Lane {
    pub(in crate::broker::queue) fn new(log: LogId, durability: Durability) -> Self {
        Lane {
            log,
            durability,
            next: 0,
            settled: RangeSet::default(),
            blocks: VecDeque::new(),
            ready_from: 0,
            new_from: 0,
            recovered_below: 0,
            return_counts: BTreeMap::new(),
            receives: ReceiveRecords::new(log),
            to_restore: Vec::new(),
            lost: RangeSet::new(),
            lost_slots: 0,
            dying: RangeSet::new(),
            dying_bytes: 0,
            ready: 0,
            returned: 0,
            ready_bytes: 0,
            leased: 0,
            leased_bytes: 0,
            resident_bytes: 0,
            loading: false,
            offsets: Offsets::new(log, durability != Durability::Nothing),
            sweep_below: None,
            sweeps: Vec::new(),
            rewound: RangeSet::new(),
            history: None,
        }
    }

    /// The lane as it was when the broker stopped. Whatever was leased is ready again, but for what was received by
    /// handle: that [`Lane::restore_receives`] leases anew. What was kept still is, until [`Lane::set_history_limits`] says otherwise.
    pub(in crate::broker::queue) fn recover(
        log: LogId,
        durability: Durability,
        state: LogState,
    ) -> Self {
        let mut lane = Lane::new(log, durability);
        lane.next = state.record.next;
        lane.settled = state.settled;
        lane.settled.insert_range(0..state.record.floor);
        lane.recovered_below = lane.next;
        lane.new_from = lane.next;
        lane.return_counts = state.counts.into_iter().collect();
        lane.ready = lane.next.saturating_sub(lane.settled.len());
        lane.ready_bytes = if lane.ready == 0 {
            0
        } else {
            state.record.bytes
        };
        lane.ready_from = lane.settled.first_gap(0);
        let mut gone = state.gone;
        gone.insert_range(0..state.record.history_from.unwrap_or(0));
        lane.offsets = Offsets::recover(
            log,
            state.record,
            lane.settled.clone(),
            gone.clone(),
            lane.ready_bytes,
        );
        if state.record.history_from.is_some() {
            let history = History::recover(gone, &state.stretches, lane.next);
            lane.history = Some(Box::new(history));
        }
        // Once now, and once when all that was there then is gone: transient messages left chunks among the others.
        let floor = lane.gone_floor();
        lane.sweeps.extend((floor > 0).then_some(0..floor));
        lane.sweep_below = (floor < lane.next).then_some(lane.next);
        lane.to_restore = state.receives;
        lane
    }

    pub(in crate::broker::queue) fn ready(&self) -> u64 {
        self.ready
    }

    /// Whether anything waits at its place.
    pub(in crate::broker::queue) fn waits_in_order(&self) -> bool {
        self.ready > self.returned
    }

    /// The turn is over.
    pub(in crate::broker::queue) fn end_command(&mut self) {
        self.new_from = self.next;
    }

    /// Whether the message at `offset` has come in this very turn.
    pub(in crate::broker::queue) fn is_new(&self, offset: u64) -> bool {
        offset >= self.new_from
    }

    pub(in crate::broker::queue) fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    pub(in crate::broker::queue) fn leased(&self) -> u64 {
        self.leased
    }

    pub(in crate::broker::queue) fn leased_bytes(&self) -> u64 {
        self.leased_bytes
    }

    pub(in crate::broker::queue) fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    pub(in crate::broker::queue) fn log(&self) -> LogId {
        self.log
    }

    /// The next offset to be given out.
    pub(in crate::broker::queue) fn next(&self) -> u64 {
        self.next
    }

    /// The first message that is not settled; `None` if there is none.
    pub(in crate::broker::queue) fn oldest(&self) -> Option<Oldest> {
        let offset = self.first_unsettled(0);
        let block = self.locate(offset).ok();
        let block = block.and_then(|index| self.blocks.get(index));
        let enqueued_ms = block.and_then(|block| {
            let slot = block.slot(offset)?;
            Some(block.first_ms + u64::from(slot.enqueued))
        });
        (offset < self.next).then_some(match enqueued_ms {
            Some(enqueued_ms) => Oldest::Enqueued(enqueued_ms),
            None => Oldest::OnDisk(self.log, offset),
        })
    }

    /// Whether a read is under way; set by the caller when it starts one.
    pub(in crate::broker::queue) fn loading_mut(&mut self) -> &mut bool {
        &mut self.loading
    }

    /// Puts a message at the end and returns its offset.
    pub(in crate::broker::queue) fn push(&mut self, now_ms: u64, message: &Arc<Message>) -> u64 {
        let offset = self.next;
        let size = u32::try_from(message.body.len()).unwrap_or(u32::MAX);
        let now_ms = match &mut self.history {
            Some(history) => history.enqueued(offset, now_ms, size),
            None => now_ms,
        };
        let persistent = self.durability.covers(message);
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
                enqueued: u32::try_from(now_ms.saturating_sub(block.first_ms)).unwrap_or(u32::MAX),
                turn: 0,
                state: SlotState::Ready,
                failures: 0,
                redelivered: false,
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

    /// What is next to be handed out of those that wait at their places.
    pub(in crate::broker::queue) fn head(&mut self) -> Head {
        while self.ready_from < self.next {
            match self.locate(self.ready_from) {
                Ok(index) => {
                    let Some(block) = self.blocks.get(index) else {
                        return Head::Empty;
                    };
                    match block.next_ready(self.ready_from) {
                        Some(offset) => {
                            self.ready_from = offset;
                            let resident = block
                                .slot(offset)
                                .is_some_and(|slot| slot.message.is_some());
                            return if resident {
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

    /// A message that waits with this turn apart from the others' order; `None` if it does not.
    pub(in crate::broker::queue) fn returned_head(&self, offset: u64, turn: u32) -> Option<Head> {
        let block = self.blocks.get(self.locate(offset).ok()?)?;
        let slot = block.slot(offset)?;
        let waits = slot.state == SlotState::Returned && slot.turn == turn;
        waits.then_some(match slot.message {
            Some(_) => Head::Ready(offset),
            None => Head::Cold(offset),
        })
    }

    /// How often a consumer failed that had the message at `offset`.
    pub(in crate::broker::queue) fn failures(&self, offset: u64) -> u32 {
        let block = self.locate(offset).ok();
        let block = block.and_then(|index| self.blocks.get(index));
        block
            .and_then(|block| block.slot(offset))
            .map_or(0, |slot| u32::from(slot.failures))
    }

    /// The ready message at `offset`, which [`Lane::head`] gave: its message and when it was enqueued.
    pub(in crate::broker::queue) fn peek(&self, offset: u64) -> Option<(&Arc<Message>, u64)> {
        let block = self.blocks.get(self.locate(offset).ok()?)?;
        let slot = block.slot(offset)?;
        Some((
            slot.message.as_ref()?,
            block.first_ms + u64::from(slot.enqueued),
        ))
    }

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
            enqueued_ms: first_ms + u64::from(slot.enqueued),
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
        let block = self.locate(lease.offset).ok();
        let block = block.and_then(|index| self.blocks.get(index));
        block
            .and_then(|block| block.slot(lease.offset))
            .is_some_and(|slot| slot.is_leased(lease.turn))
    }

    /// Ends a lease: the message is acked. False if it had ended.
    pub(in crate::broker::queue) fn ack_lease(&mut self, lease: Lease) -> bool {
        self.settle_slot(lease.offset, SettledBy::Ack, |slot| {
            slot.is_leased(lease.turn)
        })
    }

    /// A message needs no ack: it counts as acked as it is handed out.
    pub(in crate::broker::queue) fn ack(&mut self, offset: u64) -> bool {
        self.settle_slot(offset, SettledBy::Ack, |_| true)
    }

    /// Takes a message out for good, whatever it is doing. False if it was gone already.
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
            SlotState::Leased | SlotState::Settled | SlotState::Lost => {
                self.count_out_of_leased(size)
            }
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
            if by == SettledBy::Removal || !history.keep(message) {
                history.discard(offset..offset + 1);
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

    /// Ends a lease: the message waits again. `None` if the lease had ended.
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
        // A classic queue does not keep delivery counts. But after a restart the handle of a lease that has ended must
        // not fit the next one.
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

    /// A consumer failed that has the message by this lease.
    pub(in crate::broker::queue) fn count_failure(&mut self, lease: Lease) {
        if let Ok(index) = self.locate(lease.offset)
            && let Some(block) = self.blocks.get_mut(index)
            && let Some(slot) = block.slot_mut(lease.offset)
            && slot.is_leased(lease.turn)
        {
            slot.failures = slot.failures.saturating_add(1);
        }
    }

    /// A message leaves the queue, and its log when [`Lane::settle`] says so.
    pub(in crate::broker::queue) fn start_dying(&mut self, offset: u64) {
        let Ok(index) = self.locate(offset) else {
            return;
        };
        let slot = self.blocks.get_mut(index);
        let Some(slot) = slot.and_then(|block| block.slot_mut(offset)) else {
            return;
        };
        if matches!(
            slot.state,
            SlotState::Dying | SlotState::Settled | SlotState::Lost
        ) {
            return;
        }
        let was = std::mem::replace(&mut slot.state, SlotState::Dying);
        let (size, persistent) = (slot.size, slot.persistent);
        match was {
            SlotState::Leased => self.count_out_of_leased(size),
            _ => {
                self.returned -= u64::from(was == SlotState::Returned);
                self.count_out_of_ready(size);
            }
        }
        self.dying.insert(offset);
        if persistent {
            self.dying_bytes += u64::from(size);
        }
    }

    /// A dying message, if it is in memory.
    pub(in crate::broker::queue) fn dying_message(&self, offset: u64) -> Option<&Arc<Message>> {
        let block = self.blocks.get(self.locate(offset).ok()?)?;
        let slot = block.slot(offset)?;
        slot.message.as_ref()
    }

    /// Settles every ready message and returns how many there were.
    pub(in crate::broker::queue) fn purge(&mut self) -> u64 {
        let purged = self.ready;
        let mut kept = self.dying.clone();
        let mut kept_bytes = self.dying_bytes;
        for block in &mut self.blocks {
            let first = block.first;
            for (offset, slot) in (first..).zip(block.slots.iter_mut()) {
                match slot.state {
                    SlotState::Ready | SlotState::Returned => {
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
                        kept.insert(offset);
                        if slot.persistent {
                            kept_bytes += u64::from(slot.size);
                        }
                    }
                    SlotState::Dying | SlotState::Settled => {}
                }
            }
        }
        self.receives.forget_but(&kept);
        let mut stays = self.lost.clone();
        for range in kept.iter() {
            stays.insert_range(range);
        }
        for range in stays.gaps_in(0..self.next) {
            if let Some(history) = &mut self.history {
                // What was acked before stays as it is.
                for gap in self.settled.gaps_in(range.clone()) {
                    history.discard(gap.clone());
                    self.offsets.gone(gap);
                }
            }
            self.settled.insert_range(range.clone());
            self.offsets.purged(range, kept_bytes);
        }
        self.offsets.purged(self.next..self.next, kept_bytes);
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
        self.ready = 0;
        self.returned = 0;
        self.ready_bytes = 0;
        self.ready_from = self.next;
        purged
    }

    /// The first message in a range without blocks that waits there.
    fn first_cold(&self, range: Range<u64>) -> Option<u64> {
        let mut at = range.start;
        loop {
            let unsettled = self.first_unsettled(at);
            at = self.dying.first_gap(unsettled);
            if at == unsettled {
                return (at < range.end).then_some(at);
            }
        }
    }

    /// The index of the block that holds `offset`, or where such a block would stand.
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

    fn count_out_of_ready(&mut self, size: u32) {
        self.ready -= 1;
        // What came back by a rewind may have been measured by an average only: no message has no bytes.
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
