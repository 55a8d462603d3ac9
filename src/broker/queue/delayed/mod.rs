//! The delayed messages of a queue: a log of their own, in which messages wait for their time. When it comes,
//! a message moves to its lane. Both ends of the move are in one batch. Knows nothing of consumers.
//!
//! In memory are the times of all messages, and the messages that are due first, as many as are allowed. The
//! others are on disk only and are read some seconds ahead, many in one read (`read_ahead`). After a restart
//! a *scan* of the log brings back the times, chunk by chunk, while the queue already works.
//!
//! Messages may be due in any order. Then the next ones are scattered over all chunks, and each chunk would
//! be read again and again, for one message at a time. So eviction takes the messages that are due last and,
//! if they lie scattered, appends them to the log once more in the order of their times (`evict`). That makes
//! runs as in a merge sort: reading on means reading on in every run. Messages with one delay, or a few, lie
//! in order and are written once.

mod damage; // messages that cannot be read
mod evict; // which messages leave memory
mod message; // when a message is due
mod open_chunks; // chunks that are gathered for the next batch
mod read_ahead; // reading messages before they are due
mod resident_chunks; // the chunks of resident messages
mod scatter; // whether messages lie scattered over the log
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::model::{LogId, Message, Ticket};
use crate::store::{Batch, LogState, Op, RangeSet};

use super::budget::QUEUE_RESIDENT_BYTES_MAX;
use super::durability::Durability;
use super::offsets::Offsets;

use message::{DelayedMessage, Due, Recovered, due_ms, weight};
use open_chunks::OpenChunks;
use resident_chunks::ResidentChunks;

/// Maximum number of messages that move in one command, so that other commands run in between.
const MOVES_MAX: usize = 4096;

/// Share of the queue's memory for delayed messages, in quarters.
const ALLOWED_QUARTERS: u64 = 3;

/// Messages that are being read.
struct PendingPick {
    /// The one that is due first.
    first: Due,
    /// In the order of their offsets.
    wanted: Vec<Due>,
}

/// The delayed messages of one queue. Each is resident, on disk only or being read. After a restart its time
/// may still be unknown.
pub(super) struct Delayed {
    log: LogId,
    durability: Durability,
    /// The offset of the next message that is written.
    next: u64,
    settled: RangeSet,
    /// Bytes of the bodies of messages that are not settled.
    bytes: u64,
    /// Settled offsets, with their unwritten changes.
    offsets: Offsets,
    open_chunks: OpenChunks,
    /// Batches that are not committed yet, each with the log's end in it.
    in_flight: VecDeque<(Ticket, u64)>,
    /// The store has everything below.
    stored: u64,
    resident: BTreeMap<Due, DelayedMessage>,
    resident_bytes: u64,
    resident_chunks: ResidentChunks,
    /// Messages that are on disk only; the next one is on top. There may be millions, and this is all the
    /// memory that they take.
    on_disk: BinaryHeap<Reverse<Due>>,
    pending_pick: Option<PendingPick>,
    /// A message that was read when it did not fit into memory, and its bytes.
    unfit: Option<(Due, u64)>,
    /// Time of the last search for messages to read.
    looked_ms: u64,
    /// Maximum bytes of resident messages.
    allowed_bytes: u64,
    /// Memory was over `allowed_bytes`. Messages are evicted until half of that is free.
    is_evicting: bool,
    /// Everything that can be evicted is. The next commit lets eviction go on.
    awaits_commit: bool,
    /// Offsets whose times are still to be read after a restart.
    unscanned: Range<u64>,
    is_scanning: bool,
    /// Messages that cannot be read. They never become due, and their chunks stay.
    lost: RangeSet,
    /// A purge has left chunks below, which the next batch sweeps.
    purged_below: Option<u64>,
    recovered: Recovered,
}

impl Delayed {
    pub(super) fn new(log: LogId, durability: Durability) -> Self {
        Delayed {
            log,
            durability,
            next: 0,
            settled: RangeSet::new(),
            bytes: 0,
            offsets: Offsets::new(log, durability != Durability::Nothing),
            open_chunks: OpenChunks::default(),
            in_flight: VecDeque::new(),
            stored: 0,
            resident: BTreeMap::new(),
            resident_bytes: 0,
            resident_chunks: ResidentChunks::default(),
            on_disk: BinaryHeap::new(),
            pending_pick: None,
            unfit: None,
            looked_ms: 0,
            allowed_bytes: allowed_bytes(QUEUE_RESIDENT_BYTES_MAX),
            is_evicting: false,
            awaits_commit: false,
            unscanned: 0..0,
            is_scanning: false,
            lost: RangeSet::new(),
            purged_below: None,
            recovered: Recovered::default(),
        }
    }

    /// The log as the disk has it at a start.
    pub(super) fn recover(
        log: LogId,
        durability: Durability,
        state: LogState,
        now_ms: u64,
    ) -> Self {
        let mut delayed = Delayed::new(log, durability);
        let record = state.record;
        delayed.recovered = Recovered {
            below: state.handed_out_below.unwrap_or(record.next),
            at_ms: now_ms,
        };
        delayed.next = record.next;
        delayed.stored = record.next;
        delayed.settled = state.settled;
        delayed.settled.insert_range(0..record.floor);
        delayed.bytes = record.bytes;
        let settled = delayed.settled.clone();
        delayed.offsets = Offsets::recover(log, record, settled, RangeSet::new(), record.bytes);
        delayed.unscanned = delayed.settled.first_gap(0)..record.next;
        delayed
    }

    /// Adds a message that is due after its `delay_ms`.
    pub(super) fn push(&mut self, now_ms: u64, message: &Arc<Message>) {
        let offset = self.next;
        self.bytes += message.body.len() as u64;
        match self.write(now_ms, message) {
            true => self.resident_chunks.begin(offset),
            false => self.resident_chunks.extend(offset),
        }
        let due = Due {
            at_ms: due_ms(now_ms, message),
            offset,
        };
        // A copy, since others may share its read buffer and leave memory long before.
        self.insert_resident(due, Arc::new(message.copied()), false);
    }

    /// Takes out the messages that are due by now, in the order of their times. Stops at one that has to be
    /// read first.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Vec<Arc<Message>> {
        let mut taken = Vec::new();
        while let Some((due, _)) = self.resident.first_key_value()
            && due.at_ms <= now_ms
            && self.is_next(*due)
            && taken.len() < MOVES_MAX
            && let Some((due, delayed)) = self.resident.pop_first()
        {
            let message = delayed.message;
            self.resident_bytes = self.resident_bytes.saturating_sub(weight(&message));
            self.bytes = self.bytes.saturating_sub(message.body.len() as u64);
            self.settle(due.offset, &message);
            taken.push(Arc::new(Message {
                delay_ms: None,
                handed_out: self.recovered.may_have_handed_out(due),
                ..Message::clone(&message)
            }));
        }
        taken
    }

    /// Drops all messages and returns how many there were.
    pub(super) fn purge(&mut self) -> u64 {
        let purged = self.len();
        self.settled.insert_range(0..self.next);
        self.bytes = 0;
        self.offsets.purged(0..self.next, 0);
        self.resident.clear();
        self.resident_bytes = 0;
        self.on_disk = BinaryHeap::new();
        self.resident_chunks = ResidentChunks::default();
        self.open_chunks.cut(); // the chunk that grows is not known any more
        // The result of a read that is under way is then ignored.
        self.pending_pick = None;
        self.unfit = None;
        self.unscanned = self.next..self.next;
        self.purged_below = Some(self.next);
        purged
    }

    /// Number of messages that are neither settled nor lost.
    pub(super) fn len(&self) -> u64 {
        self.next - self.settled.len() - self.lost.len()
    }

    /// Bytes of the bodies.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn log(&self) -> LogId {
        self.log
    }

    pub(super) fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.offsets.is_dirty()
    }

    /// Moves all unwritten changes into `batch`, which will be committed as `ticket`.
    pub(super) fn collect(&mut self, ticket: Ticket, batch: &mut Batch) {
        let mut wrote = false;
        for chunk in self.open_chunks.take() {
            self.resident_chunks.close(chunk.first);
            // A chunk whose messages are all settled by now is never written.
            if self.settled.first_gap(chunk.first) < chunk.end {
                batch.push(chunk.put(self.log));
                wrote = true;
            }
        }
        let log = self.log;
        if let Some(below) = self.purged_below.take() {
            let offsets = 0..below;
            batch.push(Op::Sweep { log, offsets });
        }
        self.in_flight.push_back((ticket, self.next));
        self.offsets.collect(self.next, wrote, batch);
    }

    /// Appends to the log. True if a chunk begins with it.
    fn write(&mut self, now_ms: u64, message: &Message) -> bool {
        let size = u32::try_from(message.body.len()).unwrap_or(u32::MAX);
        let persistent = self.durability.covers(message);
        self.offsets.enqueued(self.next, size, persistent);
        let begins = self.open_chunks.push(self.next, now_ms, message);
        self.next += 1;
        begins
    }

    fn insert_resident(&mut self, due: Due, message: Arc<Message>, in_place: bool) {
        self.resident_bytes += weight(&message);
        self.resident
            .insert(due, DelayedMessage { message, in_place });
    }

    /// A resident message leaves the log.
    fn settle(&mut self, offset: u64, message: &Message) {
        let size = u32::try_from(message.body.len()).unwrap_or(u32::MAX);
        let persistent = self.durability.covers(message);
        self.settled.insert(offset);
        self.offsets.settled(offset, size, persistent);
        if let Some(chunk) = self.resident_chunks.remove(offset)
            && self.settled.first_gap(chunk.start) >= chunk.end
        {
            self.offsets.emptied(chunk.start);
        }
    }

    /// Whether all messages that are due before this one have left.
    fn is_next(&self, due: Due) -> bool {
        let picked = self.pending_pick.as_ref().map(|pick| pick.first);
        let earlier = picked.into_iter().chain(self.next_on_disk());
        earlier.min().is_none_or(|first| due < first)
    }

    fn next_on_disk(&self) -> Option<Due> {
        self.on_disk.peek().map(|Reverse(due)| *due)
    }
}

/// Maximum bytes of delayed messages in memory, of the `queue_bytes` that the whole queue may have.
fn allowed_bytes(queue_bytes: u64) -> u64 {
    queue_bytes / 4 * ALLOWED_QUARTERS
}
