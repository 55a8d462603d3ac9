//! Messages of a queue that are not to be delivered yet: a log of their own, and when each is due. When its time
//! comes a message moves to its lane; both ends of the move are in one batch. Knows nothing of consumers.
//!
//! The log holds the messages, so only their times are in memory. After a restart the times are read back from the
//! log, chunk by chunk, while the queue already works.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use crate::model::{LogId, Message, Ticket};
use crate::store::{Batch, LogState, StoredMessage};

use super::keeps::Keeps;
use super::lane::Lane;

/// How many messages move in one turn, so that other commands get between.
const MOVES_MAX: usize = 4096;

/// Times for which room is kept whatever there is.
const SPARE: usize = 64;

/// The delayed messages of one queue.
pub(super) struct Delayed {
    lane: Lane,
    /// When each is due, Unix ms, and its offset; the first is on top. There may be millions, and this is all that they
    /// cost in memory.
    due: BinaryHeap<Reverse<(u64, u64)>>,
    /// Offsets whose times are still to be read after a restart.
    unread: Range<u64>,
}

impl Delayed {
    pub(super) fn new(log: LogId, keeps: Keeps) -> Self {
        Delayed {
            lane: Lane::new(log, keeps),
            due: BinaryHeap::new(),
            unread: 0..0,
        }
    }

    pub(super) fn recover(log: LogId, keeps: Keeps, state: LogState) -> Self {
        let lane = Lane::recover(log, keeps, state);
        let unread = lane.first_unsettled(0)..lane.next();
        Delayed {
            lane,
            due: BinaryHeap::new(),
            unread,
        }
    }

    /// Puts a message that is due after its `delay_ms`.
    pub(super) fn push(&mut self, now_ms: u64, message: &Arc<Message>) {
        let offset = self.lane.push(now_ms, message);
        self.due.push(Reverse((due_ms(now_ms, message), offset)));
    }

    /// Takes the messages that are due by now, in the order of their times. Stops at one that has to be read first.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Vec<Arc<Message>> {
        let mut taken = Vec::new();
        while let Some(&Reverse((due_ms, offset))) = self.due.peek()
            && due_ms <= now_ms
            && taken.len() < MOVES_MAX
        {
            let Some((message, _)) = self.lane.peek(offset) else {
                break;
            };
            taken.push(Arc::new(Message {
                delay_ms: None,
                ..Message::clone(message)
            }));
            self.due.pop();
            self.lane.settle(offset);
        }
        if self.due.capacity() / 4 > self.due.len().max(SPARE) {
            self.due.shrink_to(2 * self.due.len());
        }
        taken
    }

    /// When to look again; `None` while a read is under way, which looks when it ends.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.due
            .peek()
            .filter(|_| !self.lane.is_loading())
            .map(|Reverse((due_ms, _))| *due_ms)
    }

    /// From where to read, if a message is due that is not in memory or times are unknown, and no read is under way.
    pub(super) fn wanted(&mut self, now_ms: u64) -> Option<(LogId, u64)> {
        let first = self.due.peek().map(|Reverse(first)| *first);
        let cold =
            first.filter(|(due_ms, offset)| *due_ms <= now_ms && self.lane.peek(*offset).is_none());
        let from = cold
            .map(|(_, offset)| offset)
            .or_else(|| (!self.unread.is_empty()).then_some(self.unread.start))?;
        (!std::mem::replace(self.lane.loading_mut(), true)).then_some((self.lane.log(), from))
    }

    /// Takes in what was read.
    pub(super) fn loaded(&mut self, chunks: Vec<(u64, Vec<StoredMessage>)>) {
        *self.lane.loading_mut() = false;
        for (first, messages) in chunks {
            let end = first + messages.len() as u64;
            let unknown = messages.iter().filter(|stored| {
                self.unread.contains(&stored.offset) && !self.lane.is_settled(stored.offset)
            });
            self.due.extend(unknown.map(|stored| {
                let due_ms = due_ms(stored.enqueued_ms, &stored.message);
                Reverse((due_ms, stored.offset))
            }));
            if first <= self.unread.start {
                self.unread.start = self.lane.first_unsettled(self.unread.start.max(end));
            }
            self.lane.load(first, messages, &mut Vec::new());
        }
    }

    /// Whether the message at `offset` has not left yet.
    pub(super) fn expects(&self, offset: u64) -> bool {
        !self.lane.is_settled(offset)
    }

    pub(super) fn len(&self) -> u64 {
        self.lane.ready()
    }

    pub(super) fn log(&self) -> LogId {
        self.lane.log()
    }

    pub(super) fn resident_bytes(&self) -> u64 {
        self.lane.resident_bytes()
    }

    pub(super) fn shrink(&mut self, target: u64, committed: Ticket) {
        self.lane.shrink(target, committed);
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.lane.is_dirty()
    }

    pub(super) fn collect(&mut self, ticket: Ticket, batch: &mut Batch) {
        self.lane.collect(ticket, batch);
    }
}

fn due_ms(enqueued_ms: u64, message: &Message) -> u64 {
    enqueued_ms.saturating_add(message.delay_ms.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::tests::with;
    use super::*;
    use crate::model::QueueId;

    /// Bytes of memory that a million delayed messages may cost.
    const MILLION_BYTES_MAX: usize = 100 * 1024 * 1024;

    #[test]
    fn a_million_of_them_cost_little_memory_and_none_when_they_are_gone() {
        let log = QueueId(1).delayed_log();
        let mut delayed = Delayed::new(log, Keeps::Everything);
        let message = with("delayed", |message| message.delay_ms = Some(1_000));
        let count = 100_000;
        for n in 0..count {
            // In no order.
            delayed.push(n * 7919 % count, &message);
            if n % 1_000 == 999 {
                let mut batch = Batch {
                    ticket: Ticket(n),
                    ..Batch::default()
                };
                delayed.collect(Ticket(n), &mut batch);
                delayed.shrink(0, Ticket(n));
            }
        }
        let times = delayed.due.capacity() * size_of::<Reverse<(u64, u64)>>();
        let resident = usize::try_from(delayed.resident_bytes()).expect("not much");
        assert!((times + resident) * 10 < MILLION_BYTES_MAX / 2);
        // What is in memory still can be taken without a store to read from.
        let mut rest = Delayed::new(log, Keeps::Everything);
        for n in 0..count {
            rest.push(n * 7919 % count, &message);
        }
        let mut taken = 0;
        while taken < count {
            let now_ms = 2 * count;
            taken += rest.take_due(now_ms).len() as u64;
        }
        assert!(rest.due.capacity() <= 4 * SPARE);
        assert_eq!((rest.len(), rest.next_due_ms()), (0, None));
    }
}
