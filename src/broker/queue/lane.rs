//! One log of a queue: which of its messages are ready, leased or settled, which of them are in memory,
//! and what the disk has to be told about it. Knows nothing of consumers, limits or time to live.
//!
//! Every offset below `next` is exactly one of: settled; in a resident block; or *cold*, which means ready and
//! on disk only. Cold messages cost no memory, so a backlog may be of any length.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::model::{LogId, Message, Ticket};
use crate::store::chunk::{CHUNK_BYTES_MAX, ChunkEncoder};
use crate::store::{Batch, LogRecord, LogState, Op, RangeSet, StoredMessage, page_of};

use super::block::{Block, DeathReason, Slot, SlotState, Written};

/// What a message costs in memory besides its bytes, for the memory budget.
const SLOT_OVERHEAD: u64 = 160;

/// What is at the head of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Nothing is ready.
    Empty,
    /// The next message is on disk: read from this offset.
    Cold(u64),
    /// The next message.
    Ready(u64),
}

/// A message as a lease hands it out.
pub(super) struct Leased {
    pub(super) message: Arc<Message>,
    pub(super) redelivered: bool,
    pub(super) returns: u32,
}

/// One log of a queue.
pub(super) struct Lane {
    log: LogId,
    /// Whether what happens is to be known after a restart.
    durable: bool,
    /// Whether delivery counts are to be known after a restart.
    keeps_counts: bool,
    /// The next offset to be given out.
    next: u64,
    /// Settled offsets.
    settled: RangeSet,
    /// Settled offsets as a restart would see them: the above, and all transient messages.
    settled_on_disk: RangeSet,
    /// Resident blocks in offset order; open ones are the last.
    blocks: VecDeque<Block>,
    /// No offset below is ready.
    hint: u64,
    /// Messages below were there before the last restart, and may have been handed out then.
    recovered_below: u64,
    /// Delivery counts of messages not in memory, from before the restart.
    counts: BTreeMap<u64, u32>,
    /// Messages that die but have to be read from disk first.
    dying_cold: BTreeMap<u64, DeathReason>,
    ready: u64,
    ready_bytes: u64,
    leased: u64,
    leased_bytes: u64,
    /// Bytes of unsettled persistent messages: what the log's record says.
    durable_bytes: u64,
    resident_bytes: u64,
    /// A read is under way.
    loading: bool,
    /// For the disk: chunks whose messages are all settled, and other pending operations.
    removals: Vec<u64>,
    count_ops: Vec<Op>,
    dirty_pages: BTreeSet<u64>,
    written_pages: BTreeSet<u64>,
    record_dirty: bool,
    record_written: bool,
    /// Chunks below may still lie on disk after a purge.
    sweep_below: Option<u64>,
}

impl Lane {
    pub(super) fn new(log: LogId, durable: bool, keeps_counts: bool) -> Self {
        Lane {
            log,
            durable,
            keeps_counts,
            next: 0,
            settled: RangeSet::default(),
            settled_on_disk: RangeSet::default(),
            blocks: VecDeque::new(),
            hint: 0,
            recovered_below: 0,
            counts: BTreeMap::new(),
            dying_cold: BTreeMap::new(),
            ready: 0,
            ready_bytes: 0,
            leased: 0,
            leased_bytes: 0,
            durable_bytes: 0,
            resident_bytes: 0,
            loading: false,
            removals: Vec::new(),
            count_ops: Vec::new(),
            dirty_pages: BTreeSet::new(),
            written_pages: BTreeSet::new(),
            record_dirty: false,
            record_written: false,
            sweep_below: None,
        }
    }

    /// The lane as it was when the broker stopped. Whatever was leased is ready again.
    pub(super) fn recover(log: LogId, keeps_counts: bool, state: LogState) -> Self {
        let mut lane = Lane::new(log, true, keeps_counts);
        lane.next = state.record.next;
        lane.settled = state.settled;
        lane.settled.insert_range(0..state.record.floor);
        lane.settled_on_disk = lane.settled.clone();
        let floor = state.record.floor;
        for range in lane.settled.iter_in(floor..lane.next) {
            lane.written_pages
                .extend(page_of(range.start)..=page_of(range.end - 1));
        }
        lane.recovered_below = lane.next;
        lane.counts = state.counts.into_iter().collect();
        lane.ready = lane.next.saturating_sub(lane.settled.len());
        lane.ready_bytes = if lane.ready == 0 {
            0
        } else {
            state.record.bytes
        };
        lane.durable_bytes = lane.ready_bytes;
        lane.hint = lane.settled.first_gap(0);
        lane.record_written = true;
        lane.sweep_below = Some(lane.hint);
        lane
    }

    pub(super) fn ready(&self) -> u64 {
        self.ready
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

    /// The next offset to be given out.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The first offset at or after `from` that is not settled.
    pub(super) fn first_unsettled(&self, from: u64) -> u64 {
        self.settled.first_gap(from)
    }

    pub(super) fn is_settled(&self, offset: u64) -> bool {
        self.settled.contains(offset)
    }

    pub(super) fn is_loading(&self) -> bool {
        self.loading
    }

    /// Whether a read is under way; set by the caller when it starts one.
    pub(super) fn loading_mut(&mut self) -> &mut bool {
        &mut self.loading
    }

    /// Puts a message at the end and returns its offset.
    pub(super) fn push(&mut self, now_ms: u64, message: &Arc<Message>) -> u64 {
        let offset = self.next;
        let size = u32::try_from(message.body.len()).unwrap_or(u32::MAX);
        let persistent = message.persistent && self.durable;
        let fits = self.blocks.back().is_some_and(|block| {
            matches!(&block.written, Written::Open(encoder) if encoder.has_room_for(message.size()))
        });
        if !fits {
            self.blocks.push_back(Block {
                first: offset,
                first_ms: now_ms,
                slots: Vec::new(),
                unsettled: 0,
                written: Written::Open(ChunkEncoder::new()),
                touched: false,
            });
        }
        if let Some(block) = self.blocks.back_mut() {
            if let Written::Open(encoder) = &mut block.written {
                encoder.push(now_ms, message);
            }
            block.unsettled += 1;
            block.slots.push(Slot {
                message: Some(Arc::clone(message)),
                size,
                enqueued: u32::try_from(now_ms.saturating_sub(block.first_ms)).unwrap_or(u32::MAX),
                returns: 0,
                state: SlotState::Ready,
                redelivered: false,
                persistent,
            });
        }
        self.next += 1;
        self.ready += 1;
        self.ready_bytes += u64::from(size);
        self.resident_bytes += weight(message);
        if persistent {
            self.durable_bytes += u64::from(size);
        } else {
            self.settle_on_disk(offset..offset + 1);
        }
        self.record_dirty = true;
        offset
    }

    /// What is next to be handed out.
    pub(super) fn head(&mut self) -> Head {
        while self.hint < self.next {
            match self.locate(self.hint) {
                Ok(index) => {
                    let Some(block) = self.blocks.get(index) else {
                        return Head::Empty;
                    };
                    match block.next_ready(self.hint) {
                        Some(offset) => {
                            self.hint = offset;
                            let resident = block
                                .slot(offset)
                                .is_some_and(|slot| slot.message.is_some());
                            return if resident {
                                Head::Ready(offset)
                            } else {
                                Head::Cold(offset)
                            };
                        }
                        None => self.hint = block.end(),
                    }
                }
                Err(index) => {
                    let gap_end = self
                        .blocks
                        .get(index)
                        .map_or(self.next, |block| block.first);
                    let cold = self.settled.first_gap(self.hint);
                    if cold < gap_end {
                        self.hint = cold;
                        return Head::Cold(cold);
                    }
                    self.hint = gap_end;
                }
            }
        }
        Head::Empty
    }

    /// The ready message at `offset`, which [`Lane::head`] gave: its message and when it was enqueued.
    pub(super) fn peek(&self, offset: u64) -> Option<(&Arc<Message>, u64)> {
        let block = self.blocks.get(self.locate(offset).ok()?)?;
        let slot = block.slot(offset)?;
        Some((
            slot.message.as_ref()?,
            block.first_ms + u64::from(slot.enqueued),
        ))
    }

    /// Hands out the ready message at `offset`.
    pub(super) fn lease(&mut self, offset: u64) -> Option<Leased> {
        let index = self.locate(offset).ok()?;
        let block = self.blocks.get_mut(index)?;
        let slot = block
            .slot_mut(offset)
            .filter(|slot| slot.state == SlotState::Ready)?;
        let message = slot.message.clone()?;
        slot.state = SlotState::Leased;
        let size = slot.size;
        let leased = Leased {
            message,
            redelivered: slot.redelivered,
            returns: slot.returns,
        };
        block.touched = true;
        self.count_ready_to_leased(size);
        self.hint = offset + 1;
        Some(leased)
    }

    /// Ends a lease, or takes a ready message out: it is gone. False if it was gone already.
    pub(super) fn settle(&mut self, offset: u64) -> bool {
        let Ok(index) = self.locate(offset) else {
            return false;
        };
        let Some(block) = self.blocks.get_mut(index) else {
            return false;
        };
        let Some(slot) = block.slot_mut(offset) else {
            return false;
        };
        let size = slot.size;
        match std::mem::replace(&mut slot.state, SlotState::Settled) {
            SlotState::Settled => return false,
            SlotState::Ready => {
                self.ready -= 1;
                self.ready_bytes = self.ready_bytes.saturating_sub(u64::from(size));
            }
            SlotState::Leased | SlotState::Dying(_) => {
                self.leased -= 1;
                self.leased_bytes = self.leased_bytes.saturating_sub(u64::from(size));
            }
        }
        if let Some(message) = slot.message.take() {
            self.resident_bytes = self.resident_bytes.saturating_sub(weight(&message));
        }
        let (returns, persistent) = (slot.returns, slot.persistent);
        block.unsettled -= 1;
        let empty_first = (block.unsettled == 0 && !block.is_open()).then_some(block.first);
        if let Some(first) = empty_first {
            self.removals.push(first);
            self.blocks.remove(index);
        }
        if returns > 0 && self.keeps_counts {
            self.count_ops.push(Op::RemoveCount {
                log: self.log,
                offset,
            });
        }
        self.settled.insert(offset);
        if persistent {
            self.durable_bytes = self.durable_bytes.saturating_sub(u64::from(size));
            self.settle_on_disk(offset..offset + 1);
        }
        self.record_dirty = true;
        true
    }

    /// Ends a lease: the message waits again at its old place. Returns how often it has come back by now if
    /// `counted`, `None` if it was not leased.
    pub(super) fn requeue(&mut self, offset: u64, counted: bool) -> Option<u32> {
        let index = self.locate(offset).ok()?;
        let slot = self.blocks.get_mut(index)?.slot_mut(offset)?;
        if slot.state != SlotState::Leased {
            return None;
        }
        slot.state = SlotState::Ready;
        slot.redelivered = true;
        if counted {
            slot.returns = slot.returns.saturating_add(1);
            if self.keeps_counts {
                self.count_ops.push(Op::PutCount {
                    log: self.log,
                    offset,
                    count: slot.returns,
                });
            }
        }
        let (size, returns) = (slot.size, slot.returns);
        self.leased -= 1;
        self.leased_bytes = self.leased_bytes.saturating_sub(u64::from(size));
        self.ready += 1;
        self.ready_bytes += u64::from(size);
        self.hint = self.hint.min(offset);
        Some(returns)
    }

    /// Marks a message as leaving by `reason`, and returns it if it is in memory; else it comes out of
    /// [`Lane::load`] when it has been read.
    pub(super) fn doom(&mut self, offset: u64, reason: DeathReason) -> Option<Arc<Message>> {
        let index = self.locate(offset).ok()?;
        let block = self.blocks.get_mut(index)?;
        block.touched = true;
        let slot = block.slot_mut(offset)?;
        let was = std::mem::replace(&mut slot.state, SlotState::Dying(reason));
        let (size, message) = (slot.size, slot.message.clone());
        match was {
            SlotState::Ready => self.count_ready_to_leased(size),
            SlotState::Leased | SlotState::Dying(_) => {}
            SlotState::Settled => {
                slot.state = SlotState::Settled;
                return None;
            }
        }
        if message.is_none() {
            self.dying_cold.insert(offset, reason);
        }
        message
    }

    /// The first message that dies and must be read from disk for it.
    pub(super) fn first_dying_cold(&self) -> Option<u64> {
        self.dying_cold.first_key_value().map(|(offset, _)| *offset)
    }

    /// Takes in one chunk read from the store. Messages that were to die and can do so now go to `doomed`.
    pub(super) fn load(
        &mut self,
        first: u64,
        messages: Vec<StoredMessage>,
        doomed: &mut Vec<(u64, Arc<Message>, DeathReason)>,
    ) {
        if messages.is_empty() {
            return;
        }
        match self.locate(first) {
            Ok(index) => self.refill(index, messages, doomed),
            Err(index) => self.insert_block(index, first, messages),
        }
    }

    /// From where to read ahead: the first message on disk, if fewer than `bytes` are in memory before it.
    pub(super) fn read_ahead(&self, bytes: u64) -> Option<u64> {
        let mut index = match self.locate(self.hint) {
            Ok(index) | Err(index) => index,
        };
        let (mut at, mut seen) = (self.hint, 0);
        while seen < bytes && at < self.next {
            let block_first = self
                .blocks
                .get(index)
                .map_or(self.next, |block| block.first);
            if at < block_first {
                let cold = self.settled.first_gap(at);
                if cold < block_first {
                    return Some(cold);
                }
            }
            let block = self.blocks.get(index)?;
            seen += CHUNK_BYTES_MAX as u64;
            at = block.end();
            index += 1;
        }
        None
    }

    /// Lets go of memory until at most `target` bytes are resident: the newest blocks first, then bodies of
    /// leased messages. Only what the store can give back goes; the head stays.
    pub(super) fn shrink(&mut self, target: u64, committed: Ticket) {
        let mut index = self.blocks.len();
        while self.resident_bytes > target && index > 1 {
            index -= 1;
            let Some(block) = self.blocks.get_mut(index) else {
                break;
            };
            if block.is_open()
                || matches!(block.written, Written::Stored(ticket) if ticket > committed)
            {
                continue;
            }
            let evict = block.is_evictable(committed) && !block.contains(self.hint);
            let mut freed = 0;
            for slot in &mut block.slots {
                if evict || slot.state == SlotState::Leased {
                    freed += slot.message.take().map_or(0, |message| weight(&message));
                }
            }
            self.resident_bytes = self.resident_bytes.saturating_sub(freed);
            if evict {
                self.blocks.remove(index);
            }
        }
    }

    /// Settles every ready message and returns how many there were.
    pub(super) fn purge(&mut self) -> u64 {
        let purged = self.ready;
        let mut from = 0;
        let mut kept_bytes = 0;
        let mut kept = Vec::new();
        for block in &mut self.blocks {
            let first = block.first;
            for (offset, slot) in (first..).zip(block.slots.iter_mut()) {
                match slot.state {
                    SlotState::Ready => {
                        slot.state = SlotState::Settled;
                        block.unsettled -= 1;
                        if let Some(message) = slot.message.take() {
                            self.resident_bytes =
                                self.resident_bytes.saturating_sub(weight(&message));
                        }
                    }
                    SlotState::Leased | SlotState::Dying(_) => {
                        kept.push(offset);
                        if slot.persistent {
                            kept_bytes += u64::from(slot.size);
                        }
                    }
                    SlotState::Settled => {}
                }
            }
        }
        for offset in kept.into_iter().chain([self.next]) {
            self.settled.insert_range(from..offset);
            self.settle_on_disk(from..offset);
            from = offset + 1;
        }
        let removals = &mut self.removals;
        self.blocks.retain(|block| {
            let gone = block.unsettled == 0 && !block.is_open();
            if gone {
                removals.push(block.first);
            }
            !gone
        });
        self.ready = 0;
        self.ready_bytes = 0;
        self.durable_bytes = kept_bytes;
        self.hint = self.next;
        self.counts.clear();
        self.sweep_below = Some(self.next);
        self.record_dirty = true;
        purged
    }

    /// The offset below which chunks can be swept from the store, once there is something to sweep.
    pub(super) fn take_sweep(&mut self) -> Option<u64> {
        let below = self.sweep_below?;
        let floor = self.settled.first_gap(0);
        if floor >= below {
            self.sweep_below = None;
        }
        (floor > 0 && floor >= below).then_some(floor)
    }

    /// Whether the disk has to be told anything.
    pub(super) fn is_dirty(&self) -> bool {
        self.record_dirty || !self.count_ops.is_empty()
    }

    /// Moves everything that the disk has to be told into `batch`, which will be committed as `ticket`.
    pub(super) fn collect(&mut self, ticket: Ticket, batch: &mut Batch) {
        self.record_dirty = false;
        let mut wrote = self.collect_chunks(ticket, batch);
        for first in self.removals.drain(..) {
            batch.push(Op::RemoveChunk {
                log: self.log,
                first,
            });
        }
        for op in self.count_ops.drain(..) {
            batch.push(op);
        }
        if self.durable {
            self.collect_pages(batch);
            wrote = true;
        }
        // A log that is not durable needs its record just once: a restart finds the log by it, and drops it.
        if wrote && (self.durable || !self.record_written) {
            self.record_written = true;
            let record = LogRecord {
                next: self.next,
                floor: self.settled_on_disk.first_gap(0),
                bytes: self.durable_bytes,
            };
            batch.push(Op::PutLog {
                log: self.log,
                record,
            });
        }
    }

    /// Closes the open blocks. One whose messages are all settled by now is never written.
    fn collect_chunks(&mut self, ticket: Ticket, batch: &mut Batch) -> bool {
        let mut index = self
            .blocks
            .iter()
            .rposition(|block| !block.is_open())
            .map_or(0, |last| last + 1);
        let mut wrote = false;
        while let Some(block) = self.blocks.get_mut(index) {
            if block.unsettled == 0 {
                self.blocks.remove(index);
                continue;
            }
            if let Written::Open(encoder) = &mut block.written {
                batch.push(Op::PutChunk {
                    log: self.log,
                    first: block.first,
                    chunk: encoder.finish(),
                });
                block.written = Written::Stored(ticket);
                wrote = true;
            }
            index += 1;
        }
        wrote
    }

    fn collect_pages(&mut self, batch: &mut Batch) {
        let floor = self.settled_on_disk.first_gap(0);
        let floor_page = page_of(floor);
        for page in std::mem::take(&mut self.dirty_pages) {
            if page >= floor_page {
                batch.push(Op::PutPage {
                    log: self.log,
                    page,
                    settled: self.settled_on_disk.page(page),
                });
                self.written_pages.insert(page);
            }
        }
        while let Some(page) = self
            .written_pages
            .first()
            .copied()
            .filter(|page| *page < floor_page)
        {
            self.written_pages.remove(&page);
            batch.push(Op::RemovePage {
                log: self.log,
                page,
            });
        }
    }

    fn settle_on_disk(&mut self, range: Range<u64>) {
        if !self.durable || range.is_empty() {
            return;
        }
        self.settled_on_disk.insert_range(range.clone());
        // What the floor has passed needs no page: the log's record says it.
        let floor = self.settled_on_disk.first_gap(0);
        if range.end > floor {
            let pages = page_of(range.start.max(floor))..=page_of(range.end - 1);
            self.dirty_pages.extend(pages);
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

    fn count_ready_to_leased(&mut self, size: u32) {
        self.ready -= 1;
        self.ready_bytes = self.ready_bytes.saturating_sub(u64::from(size));
        self.leased += 1;
        self.leased_bytes += u64::from(size);
    }

    /// Gives the bodies back to slots that let go of theirs.
    fn refill(
        &mut self,
        index: usize,
        messages: Vec<StoredMessage>,
        doomed: &mut Vec<(u64, Arc<Message>, DeathReason)>,
    ) {
        let Some(block) = self.blocks.get_mut(index) else {
            return;
        };
        for stored in messages {
            let Some(slot) = block.slot_mut(stored.offset) else {
                continue;
            };
            if slot.message.is_some() || slot.state == SlotState::Settled {
                continue;
            }
            self.resident_bytes += weight(&stored.message);
            slot.message = Some(Arc::clone(&stored.message));
            if let SlotState::Dying(reason) = slot.state
                && self.dying_cold.remove(&stored.offset).is_some()
            {
                doomed.push((stored.offset, stored.message, reason));
            }
        }
    }

    /// Makes a cold chunk resident.
    fn insert_block(&mut self, index: usize, first: u64, messages: Vec<StoredMessage>) {
        let first_ms = messages.first().map_or(0, |stored| stored.enqueued_ms);
        let mut block = Block {
            first,
            first_ms,
            slots: Vec::with_capacity(messages.len()),
            unsettled: 0,
            written: Written::Stored(Ticket(0)),
            touched: false,
        };
        for stored in messages {
            let settled = self.settled.contains(stored.offset);
            let size = u32::try_from(stored.message.body.len()).unwrap_or(u32::MAX);
            let returns = self.counts.remove(&stored.offset).unwrap_or(0);
            block.touched |= returns > 0;
            if !settled {
                block.unsettled += 1;
                self.resident_bytes += weight(&stored.message);
            }
            block.slots.push(Slot {
                size,
                enqueued: u32::try_from(stored.enqueued_ms.saturating_sub(first_ms))
                    .unwrap_or(u32::MAX),
                returns,
                state: if settled {
                    SlotState::Settled
                } else {
                    SlotState::Ready
                },
                redelivered: stored.offset < self.recovered_below,
                persistent: stored.message.persistent && self.durable,
                message: (!settled).then_some(stored.message),
            });
        }
        if block.unsettled == 0 {
            self.removals.push(first);
            self.record_dirty = true;
        } else {
            self.blocks.insert(index, block);
        }
    }
}

/// What a message costs in memory.
fn weight(message: &Message) -> u64 {
    message.size() as u64 + SLOT_OVERHEAD
}
