//! Messages of a queue that are not to be delivered yet: a log of their own, and when each is due. When its time
//! comes a message moves to its lane; both ends of the move are in one batch. Knows nothing of consumers.
//!
//! The log holds the messages. In memory are the times of all of them, and the messages that are due first, as many as
//! there is room for; the others are read some time before they are due, those that will be wanted together at once.
//! They may be due in any order, so what has to leave memory is written once more in the order of its times, unless it
//! lies well enough as it is: a read then brings what is wanted and little else. After a restart the times are read back
//! from the log, chunk by chunk, while the queue already works.

mod outbox; // chunks on their way to the store
mod scatter; // whether messages lie well in the store
mod spans; // the chunks of which messages are in memory
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;

use crate::model::{LogId, Message, Ticket};
use crate::store::{Batch, LogState, RangeSet, StoredMessage};

use super::budget::{QUEUE_RESIDENT_BYTES_MAX, QUEUE_RESIDENT_BYTES_MIN};
use super::durability::Durability;
use super::effects::{Effects, Pick, Picked};
use super::offsets::Offsets;

use outbox::Outbox;
use scatter::{Piece, is_scattered};
use spans::Spans;

/// How many messages move in one turn, so that other commands get between.
const MOVES_MAX: usize = 4096;
/// How many bytes of them leave memory in one turn: some chunks.
const LEAVE_BYTES_MAX: u64 = 1024 * 1024;

/// How long before it is due a message has to be read, and how far ahead others are read with it. The more are read at
/// once, the fewer reads it takes.
const READ_BY_MS: u64 = 2_000;
const READ_AHEAD_MS: u64 = 10_000;
/// How many messages one read brings at most.
const PICK_MAX: usize = 16 * 1024;

/// Of four parts of a queue's memory, so many may be taken by its delayed messages.
const ROOM_QUARTERS: u64 = 3;

/// What a message costs in memory besides its bytes.
const HELD_OVERHEAD: u64 = 256;

/// How long to wait for the store to have what fills the memory, so that it can leave.
const STORED_WAIT_MS: u64 = 10;
/// Among how many of the messages that are due last one is looked for that may leave memory for others.
const LOOKED_AT: usize = 64;

/// Times for which room is kept whatever there is.
const SPARE: usize = 64;

/// When a message is due, and where it lies. In the order in which they leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    /// On the broker's time line.
    at_ms: u64,
    offset: u64,
}

/// A message in memory.
struct Held {
    message: Arc<Message>,
    /// It lies where it will be read from. False for what was just published.
    in_place: bool,
}

/// Messages that are being read.
struct Reading {
    /// The first that is due.
    first: Due,
    /// In the order of their offsets.
    wanted: Vec<Due>,
}

/// The delayed messages of one queue. Each is in `near`, in `far` or being read; after a restart its time may be unread
/// still.
pub(in crate::broker::queue) struct Delayed {
    log: LogId,
    durability: Durability,
    /// The next offset to be given out.
    next: u64,
    settled: RangeSet,
    /// Bytes of the bodies of those that are not settled.
    bytes: u64,
    /// What the disk has to be told.
    offsets: Offsets,
    outbox: Outbox,
    /// Batches on their way, and the offset up to which each holds the log.
    in_flight: VecDeque<(Ticket, u64)>,
    /// What lies below is in the store.
    stored: u64,
    /// Messages in memory.
    near: BTreeMap<Due, Held>,
    near_bytes: u64,
    spans: Spans,
    /// Messages that are on disk only; the first is on top. There may be millions, and this is all that they cost in
    /// memory.
    far: BinaryHeap<Reverse<Due>>,
    reading: Option<Reading>,
    /// One that was read when there was no room for it, and how much it needs.
    refused: Option<(Due, u64)>,
    /// When it was last looked for something to read.
    looked_ms: u64,
    /// How many bytes may be in memory.
    room: u64,
    /// There were more; messages leave until half of the room is free.
    crowded: bool,
    /// All that may leave has, until the store has more.
    waits: bool,
    /// Offsets whose times are still to be read after a restart.
    unread: Range<u64>,
    /// They are being read.
    scanning: bool,
    /// Messages that cannot be read. They never become due, and their chunks stay.
    lost: RangeSet,
    /// Chunks below may lie in the store that nobody reads: of transient messages from before the restart.
    sweep_below: Option<u64>,
}

impl Delayed {
    pub(in crate::broker::queue) fn new(log: LogId, durability: Durability) -> Self {
        Delayed {
            log,
            durability,
            next: 0,
            settled: RangeSet::new(),
            bytes: 0,
            offsets: Offsets::new(log, durability != Durability::Nothing),
            outbox: Outbox::default(),
            in_flight: VecDeque::new(),
            stored: 0,
            near: BTreeMap::new(),
            near_bytes: 0,
            spans: Spans::default(),
            far: BinaryHeap::new(),
            reading: None,
            refused: None,
            looked_ms: 0,
            room: room_of(QUEUE_RESIDENT_BYTES_MAX),
            crowded: false,
            waits: false,
            unread: 0..0,
            scanning: false,
            lost: RangeSet::new(),
            sweep_below: None,
        }
    }

    pub(in crate::broker::queue) fn recover(
        log: LogId,
        durability: Durability,
        state: LogState,
    ) -> Self {
        let mut delayed = Delayed::new(log, durability);
        let record = state.record;
        delayed.next = record.next;
        delayed.stored = record.next;
        delayed.settled = state.settled;
        delayed.settled.insert_range(0..record.floor);
        delayed.bytes = record.bytes;
        let settled = delayed.settled.clone();
        delayed.offsets = Offsets::recover(log, record, settled, RangeSet::new(), record.bytes);
        delayed.unread = delayed.settled.first_gap(0)..record.next;
        let transient = durability == Durability::Persistent && record.next > 0;
        delayed.sweep_below = transient.then_some(record.next);
        delayed
    }

    /// Puts a message that is due after its `delay_ms`.
    pub(in crate::broker::queue) fn push(&mut self, now_ms: u64, message: &Arc<Message>) {
        let offset = self.next;
        self.bytes += message.body.len() as u64;
        match self.write(now_ms, message) {
            true => self.spans.begin(offset),
            false => self.spans.extend(offset),
        }
        let due = Due {
            at_ms: due_ms(now_ms, message),
            offset,
        };
        // Those that came with it, in one buffer, may leave memory long before.
        self.hold(due, Arc::new(message.copied()), false);
    }

    /// Takes the messages that are due by now, in the order of their times. Stops at one that has to be read first.
    pub(in crate::broker::queue) fn take_due(&mut self, now_ms: u64) -> Vec<Arc<Message>> {
        let mut taken = Vec::new();
        while let Some((due, _)) = self.near.first_key_value()
            && due.at_ms <= now_ms
            && self.is_next(*due)
            && taken.len() < MOVES_MAX
            && let Some((due, held)) = self.near.pop_first()
        {
            self.near_bytes = self.near_bytes.saturating_sub(weight(&held.message));
            self.bytes = self.bytes.saturating_sub(held.message.body.len() as u64);
            self.settle(due.offset, &held.message);
            taken.push(Arc::new(Message {
                delay_ms: None,
                ..Message::clone(&held.message)
            }));
        }
        taken
    }

    /// Drops all messages and returns how many there were.
    pub(in crate::broker::queue) fn purge(&mut self) -> u64 {
        let purged = self.len();
        self.settled.insert_range(0..self.next);
        self.bytes = 0;
        self.offsets.purged(0..self.next, 0);
        self.near.clear();
        self.near_bytes = 0;
        self.far = BinaryHeap::new();
        self.spans = Spans::default();
        self.outbox.cut(); // no span goes on
        // What is being read belongs to nothing any more.
        self.reading = None;
        self.refused = None;
        self.unread = self.next..self.next;
        self.sweep_below = (purged > 0).then_some(self.next).or(self.sweep_below);
        purged
    }

    /// When to look again: when a message is due or to be read. The end of a read looks as well.
    pub(in crate::broker::queue) fn next_due_ms(&self) -> Option<u64> {
        let near = self.near.first_key_value().map(|(due, _)| *due);
        let near_ms = near.filter(|due| self.is_next(*due)).map(|due| due.at_ms);
        let far_ms = self.first_far().and_then(|far| {
            let read_by_ms = far.at_ms.saturating_sub(READ_BY_MS);
            match self.reading {
                Some(_) => None,
                None if self.may_read() => Some(read_by_ms),
                None if near.is_some_and(|near| near < far) => None,
                None => Some(read_by_ms.max(self.looked_ms + STORED_WAIT_MS)),
            }
        });
        near_ms.into_iter().chain(far_ms).min()
    }

    /// Asks for what has to be read: messages that are due soon, and times that are unknown.
    pub(in crate::broker::queue) fn read(&mut self, now_ms: u64, fx: &mut Effects) {
        if !self.unread.is_empty() && !self.scanning {
            self.scanning = true;
            fx.loads.push((self.log, self.unread.start));
        }
        self.looked_ms = now_ms;
        let first = self.first_far();
        if first.is_none_or(|first| first.at_ms > now_ms.saturating_add(READ_BY_MS)) {
            return;
        }
        let max_bytes = self.room / 4;
        let usual = self.usual_bytes() + HELD_OVERHEAD;
        let mut wanted = Vec::new();
        let mut bytes = 0;
        while self.may_read()
            && bytes < max_bytes
            && wanted.len() < PICK_MAX
            && let Some(due) = self.first_far()
            && due.at_ms <= now_ms.saturating_add(READ_AHEAD_MS)
        {
            self.far.pop();
            wanted.push(due);
            bytes += usual;
        }
        let Some(first) = wanted.first().copied() else {
            return;
        };
        if self.far.capacity() / 4 > self.far.len().max(SPARE) {
            self.far.shrink_to(2 * self.far.len());
        }
        wanted.sort_unstable_by_key(|due| due.offset);
        fx.picks.push(Pick {
            log: self.log,
            offsets: wanted.iter().map(|due| due.offset).collect(),
            max_bytes,
        });
        self.reading = Some(Reading { first, wanted });
    }

    /// Takes in messages that were to be read. What is missing is read again: it was too much at once, or the disk did
    /// not answer.
    pub(in crate::broker::queue) fn picked(&mut self, chunks: Vec<Picked>) {
        let Some(reading) = self.reading.take() else {
            return;
        };
        let messages = chunks.into_iter().flat_map(|picked| {
            let chunk = picked.chunk;
            let messages = picked.messages.into_iter();
            messages.map(move |stored| (chunk.clone(), stored))
        });
        let mut messages = messages.peekable();
        let mut found = BTreeMap::new();
        for due in reading.wanted {
            while messages
                .next_if(|(_, stored)| stored.offset < due.offset)
                .is_some()
            {}
            match messages.next_if(|(_, stored)| stored.offset == due.offset) {
                Some((chunk, stored)) => {
                    found.insert(due, (chunk, stored.message));
                }
                None => self.far.push(Reverse(due)),
            }
        }
        for (due, (chunk, message)) in found {
            let bytes = weight(&message);
            if self.has_room_for(due, bytes) {
                self.spans.hold(chunk);
                self.hold(due, message, true);
            } else {
                if self.first_far().is_none_or(|first| due < first) {
                    self.refused = Some((due, bytes));
                }
                self.far.push(Reverse(due));
            }
        }
    }

    /// Takes in chunks that were read for their times.
    pub(in crate::broker::queue) fn scanned(&mut self, chunks: Vec<(u64, Vec<StoredMessage>)>) {
        self.scanning = false;
        for (first, messages) in chunks {
            let end = first + messages.len() as u64;
            let unknown = messages.iter().filter(|stored| {
                self.unread.contains(&stored.offset) && !self.settled.contains(stored.offset)
            });
            self.far.extend(unknown.map(|stored| {
                Reverse(Due {
                    at_ms: due_ms(stored.enqueued_ms, &stored.message),
                    offset: stored.offset,
                })
            }));
            if first <= self.unread.start {
                self.unread.start = self.settled.first_gap(self.unread.start.max(end));
            }
        }
    }

    /// These messages cannot be read: those of them that are on disk only are passed over from now on. Returns how
    /// many that are.
    pub(in crate::broker::queue) fn lose(&mut self, range: Range<u64>) -> u64 {
        let before = self.lost.len();
        if range.contains(&self.unread.start) {
            let end = range.end.min(self.unread.end);
            for gap in self.settled.gaps_in(self.unread.start..end) {
                self.lost.insert_range(gap);
            }
            self.unread.start = self.settled.first_gap(end).min(self.unread.end);
        }
        let lost = &mut self.lost;
        if let Some(reading) = &mut self.reading {
            for due in reading
                .wanted
                .extract_if(.., |due| range.contains(&due.offset))
            {
                lost.insert(due.offset);
            }
        }
        self.far.retain(|Reverse(due)| {
            let is_lost = range.contains(&due.offset);
            if is_lost {
                lost.insert(due.offset);
            }
            !is_lost
        });
        self.lost.len() - before
    }

    /// Messages that cannot be read.
    pub(in crate::broker::queue) fn damaged(&self) -> u64 {
        self.lost.len()
    }

    /// Their offsets.
    pub(in crate::broker::queue) fn lost(&self) -> Vec<Range<u64>> {
        self.lost.iter().collect()
    }

    /// Whether the message at `offset` has not left yet, and can be read as far as is known.
    pub(in crate::broker::queue) fn expects(&self, offset: u64) -> bool {
        !self.settled.contains(offset) && !self.lost.contains(offset)
    }

    pub(in crate::broker::queue) fn len(&self) -> u64 {
        self.next - self.settled.len() - self.lost.len()
    }

    /// Bytes of the bodies.
    pub(in crate::broker::queue) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(in crate::broker::queue) fn log(&self) -> LogId {
        self.log
    }

    pub(in crate::broker::queue) fn resident_bytes(&self) -> u64 {
        self.near_bytes
    }

    /// Durability to a part of what the queue may have in memory; the messages that are due last leave. Everything up to
    /// the batch `committed` is in the store.
    pub(in crate::broker::queue) fn evict(&mut self, queue_bytes: u64, committed: Ticket) {
        self.room = room_of(queue_bytes.max(QUEUE_RESIDENT_BYTES_MIN));
        while let Some((ticket, end)) = self.in_flight.front().copied()
            && ticket <= committed
        {
            self.stored = end;
            self.waits = false;
            self.in_flight.pop_front();
        }
        self.crowded |= self.near_bytes > self.room;
        if !self.crowded || self.waits {
            return;
        }
        let too_much = self.near_bytes.saturating_sub(self.room / 2);
        let leaving = self.latest(too_much.min(LEAVE_BYTES_MAX));
        // The next command goes on, or else the next batch.
        self.waits = leaving.is_empty();
        self.leave(&leaving);
        let enough = if self.waits { self.room } else { self.room / 2 };
        self.crowded = self.near_bytes > enough;
    }

    pub(in crate::broker::queue) fn is_dirty(&self) -> bool {
        self.offsets.is_dirty()
    }

    /// Moves everything that the disk has to be told into `batch`, which will be committed as `ticket`.
    pub(in crate::broker::queue) fn collect(&mut self, ticket: Ticket, batch: &mut Batch) {
        let mut wrote = false;
        for chunk in self.outbox.take() {
            self.spans.close(chunk.first);
            // One whose messages are all gone by now is never written.
            if self.settled.first_gap(chunk.first) < chunk.end {
                batch.push(chunk.put(self.log));
                wrote = true;
            }
        }
        self.in_flight.push_back((ticket, self.next));
        self.offsets.collect(self.next, wrote, batch);
    }

    /// The offset below which chunks can be swept from the store, once there is something to sweep.
    pub(in crate::broker::queue) fn take_sweep(&mut self) -> Option<u64> {
        let below = self.sweep_below?;
        let floor = self.settled.first_gap(0);
        if floor < below {
            return None;
        }
        self.sweep_below = None;
        Some(floor)
    }

    /// Appends to the log; true if a chunk begins with it.
    fn write(&mut self, now_ms: u64, message: &Message) -> bool {
        let size = u32::try_from(message.body.len()).unwrap_or(u32::MAX);
        let persistent = self.durability.covers(message);
        self.offsets.enqueued(self.next, size, persistent);
        let begins = self.outbox.push(self.next, now_ms, message);
        self.next += 1;
        begins
    }

    fn hold(&mut self, due: Due, message: Arc<Message>, in_place: bool) {
        self.near_bytes += weight(&message);
        self.near.insert(due, Held { message, in_place });
    }

    /// A message that was held leaves the log.
    fn settle(&mut self, offset: u64, message: &Message) {
        let size = u32::try_from(message.body.len()).unwrap_or(u32::MAX);
        let persistent = self.durability.covers(message);
        self.settled.insert(offset);
        self.offsets.settled(offset, size, persistent);
        if let Some(chunk) = self.spans.release(offset)
            && self.settled.first_gap(chunk.start) >= chunk.end
        {
            self.offsets.emptied(chunk.start);
        }
    }

    /// The messages in memory that are due last and that the store has: of so many bytes together, in the order of
    /// their times. The first of all stays.
    fn latest(&self, bytes_max: u64) -> Vec<Due> {
        let mut latest = Vec::new();
        let mut bytes = 0;
        let stored = |due: &Due| due.offset < self.stored;
        let others = self.near.iter().skip(1).rev();
        for (due, held) in others.filter(|(due, _)| stored(due)) {
            if bytes >= bytes_max || latest.len() >= MOVES_MAX {
                break;
            }
            bytes += weight(&held.message);
            latest.push(*due);
        }
        latest.reverse();
        latest
    }

    /// Lets go of messages that are in memory, in the order of their times. If they are scattered over the log, they are
    /// written anew at its end.
    fn leave(&mut self, leaving: &[Due]) {
        let piece = |due: &Due| {
            let held = self.near.get(due).filter(|held| !held.in_place)?;
            Some(Piece {
                chunk: self.spans.first_of(due.offset)?,
                bytes: held.message.size() as u64,
            })
        };
        let scattered = is_scattered(&leaving.iter().filter_map(piece).collect::<Vec<_>>());
        if scattered {
            self.outbox.cut();
        }
        for due in leaving {
            let Some(held) = self.near.remove(due) else {
                continue;
            };
            self.near_bytes = self.near_bytes.saturating_sub(weight(&held.message));
            if !scattered || held.in_place {
                self.spans.release(due.offset);
                self.far.push(Reverse(*due));
                continue;
            }
            let offset = self.next;
            let message = Message {
                delay_ms: None,
                ..Message::clone(&held.message)
            };
            self.write(due.at_ms, &message);
            self.settle(due.offset, &held.message);
            self.far.push(Reverse(Due { offset, ..*due }));
        }
        if scattered {
            self.outbox.cut();
        }
    }

    /// Whether no message has to leave before this one.
    fn is_next(&self, due: Due) -> bool {
        let reading = self.reading.as_ref().map(|reading| reading.first);
        let before = reading.into_iter().chain(self.first_far());
        before.min().is_none_or(|first| due < first)
    }

    fn first_far(&self) -> Option<Due> {
        self.far.peek().map(|Reverse(due)| *due)
    }

    /// Whether there is something to read and room for it.
    fn may_read(&self) -> bool {
        // What the store does not have yet cannot be read.
        let may = |first: &Due| self.reading.is_none() && first.offset < self.stored;
        let Some(first) = self.first_far().filter(may) else {
            return false;
        };
        match self.refused {
            Some((due, bytes)) if due == first => self.has_room_for(due, bytes),
            _ => self.near_bytes < self.room / 2 || self.precedes(first),
        }
    }

    /// Whether a message can be in memory. One that is due before others has their room, and there is always room for
    /// one.
    fn has_room_for(&self, due: Due, bytes: u64) -> bool {
        self.near_bytes + bytes <= self.room || self.near.is_empty() || self.precedes(due)
    }

    /// Whether it is due before others in memory that can leave.
    fn precedes(&self, due: Due) -> bool {
        let later = self.near.range((Bound::Excluded(due), Bound::Unbounded));
        let mut last = later.rev().take(LOOKED_AT);
        last.any(|(later, _)| later.offset < self.stored)
    }

    /// Bytes of a usual message.
    fn usual_bytes(&self) -> u64 {
        self.offsets.bytes().checked_div(self.len()).unwrap_or(0)
    }
}

/// How much of what a queue may have in memory its delayed messages may take.
fn room_of(queue_bytes: u64) -> u64 {
    queue_bytes / 4 * ROOM_QUARTERS
}

fn weight(message: &Message) -> u64 {
    message.size() as u64 + HELD_OVERHEAD
}

fn due_ms(enqueued_ms: u64, message: &Message) -> u64 {
    enqueued_ms.saturating_add(message.delay_ms.unwrap_or(0))
}
