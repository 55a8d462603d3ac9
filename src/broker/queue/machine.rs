//! The two state machines that a queue can be: a work queue, whose messages are handed out once and settled, or a
//! stream, which is read and left as it is. The shell holds either and asks both the same.

use std::ops::Range;
use std::sync::Arc;

use crate::model::arguments::{QueueArguments, QueueKind};
use crate::model::{ConsumerId, Lease, LogId, Message, QueueId, Ticket};
use crate::store::{Batch, LogState, StoredMessage};

use super::channel_limiter::ChannelLimiter;
use super::consumer::{ConsumeError, Consumer, ConsumerInfo, Credit, NewConsumer};
use super::counts::Counts;
use super::effects::{Admission, Effects, Get, Picked, Settle};
use super::stream::{RUN_BYTES, Stream};
use super::work::WorkQueue;

/// What a queue is inside.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every queue is a work queue, and is reached by one pointer less"
)]
pub(super) enum Machine {
    Work(WorkQueue),
    Stream(Box<Stream>),
}

impl Machine {
    pub(super) fn new(
        id: QueueId,
        durable: bool,
        arguments: Arc<QueueArguments>,
        recovered: Vec<(LogId, LogState)>,
        now_ms: u64,
    ) -> Machine {
        match arguments.kind {
            QueueKind::Classic | QueueKind::Quorum => {
                Machine::Work(WorkQueue::new(id, durable, arguments, recovered, now_ms))
            }
            QueueKind::Stream => Machine::Stream(Box::new(Stream::new(id, &arguments, recovered))),
        }
    }

    /// Other arguments hold from now on. A stream has none that can be changed.
    pub(super) fn set_arguments(&mut self, arguments: Arc<QueueArguments>, now_ms: u64) {
        if let Machine::Work(state) = self {
            state.set_arguments(arguments, now_ms);
        }
    }

    /// The work queue, unless it is a stream.
    pub(super) fn work(&mut self) -> Option<&mut WorkQueue> {
        match self {
            Machine::Work(state) => Some(state),
            Machine::Stream(_) => None,
        }
    }

    /// The stream, if it is one.
    pub(super) fn stream(&mut self) -> Option<&mut Stream> {
        match self {
            Machine::Work(_) => None,
            Machine::Stream(stream) => Some(stream),
        }
    }

    pub(super) fn publish(
        &mut self,
        now_ms: u64,
        run: &[Arc<Message>],
        admission: Admission,
        rejected: &mut Vec<u32>,
        fx: &mut Effects,
    ) {
        match self {
            Machine::Work(state) => state.publish(now_ms, run, admission, rejected, fx),
            Machine::Stream(stream) => stream.publish(now_ms, run, fx),
        }
    }

    pub(super) fn consume(
        &mut self,
        now_ms: u64,
        new: NewConsumer,
        fx: &mut Effects,
    ) -> Result<(), ConsumeError> {
        match self {
            Machine::Work(state) => state.consume(now_ms, new, fx)?,
            Machine::Stream(stream) => stream.consume(now_ms, new, fx),
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self, now_ms: u64, id: ConsumerId, fx: &mut Effects) -> bool {
        match self {
            Machine::Work(state) => state.cancel(now_ms, id, fx),
            Machine::Stream(stream) => stream.cancel(now_ms, id, fx),
        }
    }

    /// A stream forgets what it has handed out, so nothing can pass through a reader that is about to leave.
    pub(super) fn halt(&mut self, consumers: &[ConsumerId]) {
        if let Machine::Work(state) = self {
            state.halt(consumers);
        }
    }

    pub(super) fn leave(
        &mut self,
        now_ms: u64,
        consumers: &[ConsumerId],
        leases: &[Lease],
        fx: &mut Effects,
    ) -> bool {
        match self {
            Machine::Work(state) => state.leave_queue(now_ms, consumers, leases, fx),
            Machine::Stream(stream) => {
                let mut was_last = false;
                for id in consumers {
                    was_last |= stream.cancel(now_ms, *id, fx);
                }
                was_last
            }
        }
    }

    pub(super) fn grant(&mut self, now_ms: u64, credit: &[(ConsumerId, Credit)], fx: &mut Effects) {
        match self {
            Machine::Work(state) => state.grant(now_ms, credit, fx),
            Machine::Stream(stream) => stream.grant(now_ms, credit, fx),
        }
    }

    /// A channel's shared limit does not hold for streams.
    pub(super) fn poke(
        &mut self,
        now_ms: u64,
        limiter: &Arc<ChannelLimiter>,
        share: u32,
        fx: &mut Effects,
    ) {
        if let Machine::Work(state) = self {
            state.poke(now_ms, limiter, share, fx);
        }
    }

    /// To a stream every answer is just credit.
    pub(super) fn settle(
        &mut self,
        now_ms: u64,
        how: Settle,
        leases: &[Lease],
        credit: &[(ConsumerId, Credit)],
        fx: &mut Effects,
    ) {
        match self {
            Machine::Work(state) => state.settle(now_ms, how, leases, credit, fx),
            Machine::Stream(stream) => stream.grant(now_ms, credit, fx),
        }
    }

    /// Nothing can be taken out of a stream.
    pub(super) fn get(&mut self, now_ms: u64, no_ack: bool, fx: &mut Effects) -> Get {
        match self {
            Machine::Work(state) => state.get(now_ms, no_ack, fx),
            Machine::Stream(_) => Get::Empty,
        }
    }

    /// Nor dropped.
    pub(super) fn purge(&mut self, now_ms: u64, fx: &mut Effects) -> u64 {
        match self {
            Machine::Work(state) => state.purge(now_ms, fx),
            Machine::Stream(_) => 0,
        }
    }

    pub(super) fn loaded(
        &mut self,
        now_ms: u64,
        log: LogId,
        from: u64,
        chunks: Vec<(u64, Vec<StoredMessage>)>,
        fx: &mut Effects,
    ) {
        match self {
            Machine::Work(state) => state.loaded(now_ms, log, chunks, fx),
            Machine::Stream(stream) => stream.loaded(now_ms, log, from, chunks, fx),
        }
    }

    pub(super) fn picked(&mut self, now_ms: u64, chunks: Vec<Picked>, fx: &mut Effects) {
        match self {
            Machine::Work(state) => state.picked(now_ms, chunks, fx),
            Machine::Stream(stream) => stream.picked(now_ms, chunks, fx),
        }
    }

    /// These messages cannot be read: they are passed over. Returns how many that are.
    pub(super) fn lose(
        &mut self,
        now_ms: u64,
        log: LogId,
        range: Range<u64>,
        fx: &mut Effects,
    ) -> u64 {
        match self {
            Machine::Work(state) => state.lose(now_ms, log, range, fx),
            Machine::Stream(stream) => stream.lose(now_ms, log, range, fx),
        }
    }

    /// Messages that cannot be read, by log.
    pub(super) fn lost(&self) -> Vec<(LogId, Vec<Range<u64>>)> {
        match self {
            Machine::Work(state) => state.lost(),
            Machine::Stream(stream) => stream.lost(),
        }
    }

    /// Whether dead letters can be published now.
    pub(super) fn has_letters(&self) -> bool {
        match self {
            Machine::Work(state) => state.has_letters(),
            Machine::Stream(_) => false,
        }
    }

    /// Whether there are dead letters to be published, now or later.
    pub(super) fn is_dying(&self) -> bool {
        match self {
            Machine::Work(state) => state.deaths().0 > state.deaths().1,
            Machine::Stream(_) => false,
        }
    }

    pub(super) fn tick(&mut self, now_ms: u64, fx: &mut Effects) {
        match self {
            Machine::Work(state) => state.tick(now_ms, fx),
            Machine::Stream(stream) => stream.tick(now_ms, fx),
        }
    }

    pub(super) fn touch(&mut self, now_ms: u64) {
        if let Machine::Work(state) = self {
            state.touch(now_ms);
        }
    }

    pub(super) fn deadline_ms(&mut self, now_ms: u64) -> Option<u64> {
        match self {
            Machine::Work(state) => state.deadline_ms(now_ms),
            Machine::Stream(stream) => stream.deadline_ms(),
        }
    }

    /// Streams do not expire.
    pub(super) fn is_expired(&self, now_ms: u64) -> bool {
        match self {
            Machine::Work(state) => state.is_expired(now_ms),
            Machine::Stream(_) => false,
        }
    }

    pub(super) fn drain_consumers(&mut self) -> Vec<Consumer> {
        match self {
            Machine::Work(state) => state.drain_consumers(),
            Machine::Stream(stream) => stream.drain_consumers(),
        }
    }

    pub(super) fn served_consumer(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        match self {
            Machine::Work(state) => state.served_consumer(id),
            Machine::Stream(stream) => stream.served_consumer(id),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        match self {
            Machine::Work(state) => state.counts(),
            Machine::Stream(stream) => stream.counts(),
        }
    }

    pub(super) fn consumer_infos(&self) -> Vec<ConsumerInfo> {
        match self {
            Machine::Work(state) => state.consumer_infos(),
            Machine::Stream(stream) => stream.consumer_infos(),
        }
    }

    pub(super) fn resident_bytes(&self) -> u64 {
        match self {
            Machine::Work(state) => state.resident_bytes(),
            Machine::Stream(stream) => stream.resident_bytes(),
        }
    }

    pub(super) fn evict(&mut self, allowed: u64, committed: Ticket) {
        match self {
            Machine::Work(state) => state.evict(allowed, committed),
            Machine::Stream(stream) => stream.evict(allowed, committed),
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        match self {
            Machine::Work(state) => state.is_dirty(),
            Machine::Stream(stream) => stream.is_dirty(),
        }
    }

    pub(super) fn collect(&mut self, ticket: Ticket, batch: &mut Batch) {
        match self {
            Machine::Work(state) => state.collect(ticket, batch),
            Machine::Stream(stream) => stream.collect(ticket, batch),
        }
    }

    pub(super) fn logs(&self) -> Vec<LogId> {
        match self {
            Machine::Work(state) => state.logs().collect(),
            Machine::Stream(stream) => stream.logs().collect(),
        }
    }

    /// Whether a message that was to be read at `offset` must be there.
    pub(super) fn expects(&self, log: LogId, offset: u64) -> bool {
        match self {
            Machine::Work(state) => state.expects(log, offset),
            Machine::Stream(stream) => stream.expects(log, offset),
        }
    }

    /// How much one read is to bring.
    pub(super) fn read_bytes(&self) -> usize {
        match self {
            Machine::Work(state) => state.read_bytes(),
            Machine::Stream(_) => RUN_BYTES,
        }
    }
}
