//! Messages of a queue that are not to be delivered yet: a log of their own, and when each is due. When its time
//! comes a message moves to its lane; both ends of the move are in one batch. Knows nothing of consumers.
//!
//! The log holds the messages, so only their times are in memory. After a restart the times are read back from the
//! log, chunk by chunk, while the queue already works.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::model::{LogId, Message, Ticket};
use crate::store::{Batch, LogState, StoredMessage};

use super::keeps::Keeps;
use super::lane::Lane;

/// How many messages move in one turn, so that other commands get between.
const MOVES_MAX: usize = 4096;

/// The delayed messages of one queue.
pub(super) struct Delayed {
    lane: Lane,
    /// When each is due, Unix ms, and its offset.
    due: BTreeSet<(u64, u64)>,
    /// Offsets whose times are still to be read after a restart.
    unread: Range<u64>,
}

impl Delayed {
    pub(super) fn new(log: LogId, keeps: Keeps) -> Self {
        Delayed {
            lane: Lane::new(log, keeps),
            due: BTreeSet::new(),
            unread: 0..0,
        }
    }

    pub(super) fn recover(log: LogId, keeps: Keeps, state: LogState) -> Self {
        let lane = Lane::recover(log, keeps, state);
        let unread = lane.first_unsettled(0)..lane.next();
        Delayed {
            lane,
            due: BTreeSet::new(),
            unread,
        }
    }

    /// Puts a message that is due after its `delay_ms`.
    pub(super) fn push(&mut self, now_ms: u64, message: &Arc<Message>) {
        let offset = self.lane.push(now_ms, message);
        self.due.insert((due_ms(now_ms, message), offset));
    }

    /// Takes the messages that are due by now, in the order of their times. Stops at one that has to be read first.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Vec<Arc<Message>> {
        let mut taken = Vec::new();
        while let Some(&(due_ms, offset)) = self.due.first()
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
            self.due.pop_first();
            self.lane.settle(offset);
        }
        taken
    }

    /// When to look again; `None` while a read is under way, which looks when it ends.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.due
            .first()
            .filter(|_| !self.lane.is_loading())
            .map(|(due_ms, _)| *due_ms)
    }

    /// From where to read, if a message is due that is not in memory or times are unknown, and no read is under way.
    pub(super) fn wanted(&mut self, now_ms: u64) -> Option<(LogId, u64)> {
        let cold = self
            .due
            .first()
            .filter(|(due_ms, offset)| *due_ms <= now_ms && self.lane.peek(*offset).is_none());
        let from = cold
            .map(|(_, offset)| *offset)
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
            self.due.extend(
                unknown.map(|stored| (due_ms(stored.enqueued_ms, &stored.message), stored.offset)),
            );
            if first <= self.unread.start {
                self.unread.start = self.lane.first_unsettled(self.unread.start.max(end));
            }
            self.lane.load(first, messages, &mut Vec::new());
        }
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
