//! The interface of the state machines that a queue can be: commands and the time go in, results and [`Effects`] come
//! out. A machine knows no socket, no lock, no disk and no clock, so whatever drives it - the shell, a test, a
//! simulation - gets the same answers to the same commands.
//!
//! There are two kinds. A work queue hands each message out until a consumer acks it; consumers of a stream
//! read its messages, and the stream retains them. Each subject is a trait of its own. Its default methods
//! answer for a kind that lacks the subject.
//!
//! The driver of a machine
//! 1. makes it of the logs that recovery found, and answers [`Receiving::next_to_restore`] until it returns
//!    `None`;
//! 2. gives it commands; after each one it answers [`Effects::permit`] until that is `None`, then carries out
//!    the rest;
//! 3. collects what it has to write ([`Stored::collect`]) when it is dirty, in batches whose tickets rise, and tells it
//!    which of them are durable ([`Stored::durable_up_to`]) if it wants to know;
//! 4. calls [`Machine::tick`] when its deadline has come.
//!
//! All times are milliseconds on the broker's time line.

use std::ops::Range;
use std::sync::Arc;

use crate::model::arguments::QueueArguments;
use crate::model::{ConsumerId, Lease, LogId, Message, Ticket};
use crate::store::Batch;

use super::consumer::{ChannelLimit, ConsumeError, ConsumerInfo, Credit, LimiterId, NewConsumer};
use super::counts::{Counts, StreamExtent};
use super::death::{Dead, DeathCounts};
use super::effects::{Acknowledgement, Admission, Chunks, Effects, Enqueued, Get, Oldest, Picked};
use super::receive::receipt_handle::ReceiptHandle;
use super::rewind::plan::{RewindError, RewindPosition, RewindSearch};
use super::rewind::rewind_to::RewindTo;

/// A queue as a state machine.
pub(super) trait Machine: Stored + Receiving + DeadLettering + Rewinding + Send {
    /// Applies other effective arguments from now on, and does what is due by them. A lease that has begun keeps its end.
    fn reconfigure(&mut self, now_ms: u64, arguments: Arc<QueueArguments>, fx: &mut Effects);

    /// Enqueues a run of messages.
    fn publish(
        &mut self,
        now_ms: u64,
        run: &[Arc<Message>],
        admission: Admission,
        fx: &mut Effects,
    ) -> Enqueued;

    /// Registers a consumer.
    fn consume(
        &mut self,
        now_ms: u64,
        new: NewConsumer,
        limit: Option<ChannelLimit>,
        fx: &mut Effects,
    ) -> Result<(), ConsumeError>;

    /// Stops deliveries to consumers that are about to [`Machine::leave`]; they keep their places. A stream
    /// needs no halt: it does not take back messages that one reader could pass on to the next.
    fn halt(&mut self, _consumers: &[ConsumerId]) {}

    /// Removes consumers and ends `leases`, which they or their channels hold, before it delivers anything.
    /// Their other leases stay. True if the last consumer has left.
    fn leave(
        &mut self,
        now_ms: u64,
        consumers: &[ConsumerId],
        leases: &[Lease],
        fx: &mut Effects,
    ) -> bool;

    /// A consumer (`None` if it has left, or for basic.get) has left these leases without an answer for too long:
    /// their messages return, and it gets no more until it has answered them. Returns how many had not ended.
    fn time_out(
        &mut self,
        _now_ms: u64,
        _consumer: Option<ConsumerId>,
        _leases: &[Lease],
        _fx: &mut Effects,
    ) -> usize {
        0
    }

    /// Grants credit to consumers.
    fn grant(&mut self, now_ms: u64, credit: &[(ConsumerId, Credit)], fx: &mut Effects);

    /// Answers [`Effects::permit`] and resumes the paused command.
    fn permit(&mut self, _now_ms: u64, _is_granted: bool, _fx: &mut Effects) {}

    /// A channel's limit has room again: its consumers may get up to `share` messages in this round.
    fn poke(&mut self, _now_ms: u64, _limiter: LimiterId, _share: u32, _fx: &mut Effects) {}

    /// Sets or removes the limit of a channel's consumers.
    fn limit(&mut self, _now_ms: u64, _limit: ChannelLimit, _fx: &mut Effects) {}

    /// Ends leases, and grants the credit that this frees. Skips leases that have already ended. A stream
    /// only grants the credit.
    fn acknowledge(
        &mut self,
        now_ms: u64,
        how: Acknowledgement,
        leases: &[Lease],
        credit: &[(ConsumerId, Credit)],
        fx: &mut Effects,
    );

    /// Takes the message at the head, as basic.get does. A stream has no such messages.
    fn get(&mut self, _now_ms: u64, _no_ack: bool, _fx: &mut Effects) -> Get {
        Get::Empty
    }

    /// Drops every message that is ready or delayed and returns how many there were. A stream drops none.
    fn purge(&mut self, _now_ms: u64, _fx: &mut Effects) -> u64 {
        0
    }

    /// Notes that the queue was declared again, so that `x-expires` starts anew.
    fn touch(&mut self, _now_ms: u64) {}

    /// Does what is due at `now_ms`.
    fn tick(&mut self, now_ms: u64, fx: &mut Effects);

    /// When [`Machine::tick`] is next needed.
    fn deadline_ms(&mut self, now_ms: u64) -> Option<u64>;

    /// Whether `x-expires` has passed, so that the queue must be deleted.
    fn is_expired(&self, _now_ms: u64) -> bool {
        false
    }

    /// Whether the queue is at its limit and holds its publishers back. A stream is never full.
    fn is_full(&self) -> bool {
        false
    }

    /// Ends the queue: forgets its consumers and waiting receives.
    fn delete(&mut self);

    fn counts(&self) -> Counts;

    fn consumer_infos(&self) -> Vec<ConsumerInfo>;

    /// The first message that is not settled, if it is in memory.
    fn head_message(&self) -> Option<&Arc<Message>> {
        None
    }

    /// The first unsettled message of each lane.
    fn oldest(&self) -> Vec<Oldest> {
        Vec::new()
    }

    /// `None` for queues that are no streams.
    fn stream_extent(&self) -> Option<StreamExtent> {
        None
    }
}

/// A machine's messages on disk and in memory.
pub(super) trait Stored {
    /// Takes in chunks that were read from offset `from` on. Empty `chunks` end the read, too.
    fn loaded(&mut self, now_ms: u64, log: LogId, from: u64, chunks: Chunks, fx: &mut Effects);

    /// Takes in the delayed messages of an [`Effect::Pick`](super::effects::Effect::Pick).
    fn picked(&mut self, now_ms: u64, chunks: Vec<Picked>, fx: &mut Effects);

    /// Sets a consumer's place: all messages before `offset` came earlier than it asks for.
    fn sought(&mut self, _now_ms: u64, _consumer: ConsumerId, _offset: u64, _fx: &mut Effects) {}

    /// Marks unreadable messages as lost, so that the queue skips them. Returns their number.
    fn lose(&mut self, now_ms: u64, log: LogId, range: Range<u64>, fx: &mut Effects) -> u64;

    /// Lost messages, by log.
    fn lost(&self) -> Vec<(LogId, Vec<Range<u64>>)>;

    /// Whether a read of `offset` must find a message. False if the message has left since.
    fn expects(&self, log: LogId, offset: u64) -> bool;

    /// Target size of one read.
    fn read_bytes(&self) -> usize;

    fn resident_bytes(&self) -> u64;

    /// Drops messages from memory until at most `allowed` bytes are resident. Only messages that the store
    /// has may go: those of batches up to `committed`.
    fn evict(&mut self, allowed: u64, committed: Ticket);

    /// Whether there are changes to write.
    fn is_dirty(&self) -> bool;

    /// Moves all unwritten changes into `batch`, which will be committed as `ticket`.
    fn collect(&mut self, ticket: Ticket, batch: &mut Batch);

    /// Whether the machine needs [`Stored::durable_up_to`]. A stream does, since it delivers only durable
    /// messages.
    fn awaits_durability(&self) -> bool {
        false
    }

    /// Notes that all batches up to `_upto` are durable.
    fn durable_up_to(&mut self, _now_ms: u64, _upto: Ticket, _fx: &mut Effects) {}

    /// The logs in use.
    fn logs(&self) -> Vec<LogId>;

    /// For each log the offset below which messages may have been handed out. A stream does not tell them apart.
    fn handed_out(&self) -> Vec<(LogId, u64)> {
        Vec::new()
    }
}

/// Receiving by receipt handle. A stream has no receives.
pub(super) trait Receiving {
    /// The next message that a receive had leased before the restart and that must be read to be leased
    /// again. The driver answers with [`Receiving::restore`] and asks again until there is none, before any
    /// other command.
    fn next_to_restore(&mut self, _now_ms: u64) -> Option<(LogId, u64)> {
        None
    }

    /// Takes in the chunk with that message. Empty `_chunks` (unreadable) make the message ready again.
    fn restore(&mut self, _log: LogId, _chunks: Chunks) {}

    /// Registers a receive for up to `max` messages under a number that rises from receive to receive. A
    /// hasty one waits for a pending disk read, not for new messages. False if the queue has no receives.
    fn receive(
        &mut self,
        _now_ms: u64,
        _receive: u64,
        _max: usize,
        _is_hasty: bool,
        _fx: &mut Effects,
    ) -> bool {
        false
    }

    /// Ends the wait of a receive, unless it has its answer.
    fn stop_waiting(&mut self, _now_ms: u64, _receive: u64, _fx: &mut Effects) {}

    /// Returns messages of a received batch that the client did not accept. They do not count as handed out.
    fn give_back(&mut self, _now_ms: u64, _leases: &[Lease], _fx: &mut Effects) {}

    /// Makes the lease of a receipt handle end this long from now, sooner or later than before. Returns the
    /// new end; `None` if the handle is not valid.
    fn prolong(
        &mut self,
        _now_ms: u64,
        _handle: ReceiptHandle,
        _length_ms: u64,
        _fx: &mut Effects,
    ) -> Option<u64> {
        None
    }

    /// Deletes messages by their receipt handles. Returns for each handle whether it was valid.
    fn delete_received(
        &mut self,
        _now_ms: u64,
        handles: &[ReceiptHandle],
        _fx: &mut Effects,
    ) -> Vec<bool> {
        vec![false; handles.len()]
    }
}

/// Dead lettering. A stream has no dead letters.
pub(super) trait DeadLettering {
    /// Messages whose dead letters can be published now, in the order of their deaths: at most `max`, and
    /// about `max_bytes` at most. Returns no more before [`DeadLettering::bury`].
    fn take_letters(&mut self, _max: usize, _max_bytes: usize) -> Vec<Dead> {
        Vec::new()
    }

    /// Settles the first `count` dying messages, since their dead letters are published.
    fn bury(&mut self, _now_ms: u64, _count: usize, _fx: &mut Effects) {}

    /// Whether dead letters can be published now: the first dying message is in memory, and no publish is
    /// under way.
    fn has_letters(&self) -> bool {
        false
    }

    /// Numbers of messages that have died since the start, and of their published dead letters.
    fn deaths(&self) -> (u64, u64) {
        (0, 0)
    }

    /// How many messages have died since the last call; `None` if none has.
    fn take_death_counts(&mut self) -> Option<Box<DeathCounts>> {
        None
    }

    /// Whether any dead letters are unpublished.
    fn is_dying(&self) -> bool {
        let (died, buried) = self.deaths();
        died > buried
    }
}

/// Rewinding. A stream needs no rewind, since each of its consumers chooses where it begins.
pub(super) trait Rewinding {
    /// The searches of the store that find where a rewind goes, one for each lane. Messages enqueued after
    /// this call do not change the result.
    fn plan_rewind(
        &mut self,
        _now_ms: u64,
        _to: RewindTo,
    ) -> Result<Vec<RewindSearch>, RewindError> {
        Err(RewindError::NotEnabled)
    }

    /// Makes acked messages of the history ready again, from the positions that the searches found. Returns
    /// the first offset and the number of messages.
    fn rewind(
        &mut self,
        _now_ms: u64,
        _found: &[RewindPosition],
        _fx: &mut Effects,
    ) -> Result<(Option<u64>, u64), RewindError> {
        Err(RewindError::NotEnabled)
    }
}
