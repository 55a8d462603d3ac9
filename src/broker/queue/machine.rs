//! The interface of the state machines that a queue can be: commands and the time go in, results and [`Effects`] come
//! out. A machine knows no socket, no lock, no disk and no clock, so whatever drives it - the shell, a test, a
//! simulation - gets the same answers to the same commands.
//!
//! There are two kinds: a work queue hands each message out until it is acknowledged, a stream is read and durability what
//! it has. Each subject is a trait of its own; its default answers are those of a kind that does not know the subject.
//!
//! The driver of a machine
//! 1. makes it of the logs that recovery found, and answers [`Receiving::next_to_restore`] until there is none;
//! 2. gives it commands, and after each one answers [`Effects::permit`] until there is none, then carries out the rest;
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
use super::counts::Counts;
use super::death::Dead;
use super::effects::{Acknowledgement, Admission, Chunks, Effects, Enqueued, Get, Oldest, Picked};
use super::receive::receipt_handle::ReceiptHandle;
use super::rewind::plan::{RewindError, RewindPosition, RewindSearch};
use super::rewind::rewind_to::RewindTo;

/// A queue as a state machine.
pub(super) trait Machine: Stored + Receiving + DeadLettering + Rewinding + Send {
    /// Other arguments hold from now on. A stream has none that can be changed.
    fn reconfigure(&mut self, _now_ms: u64, _arguments: Arc<QueueArguments>, _fx: &mut Effects) {}

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

    /// These consumers are about to [`Machine::leave`]: they are given nothing from now on, and keep their places. A
    /// stream forgets what it has handed out, so nothing can pass through a reader that is about to leave.
    fn halt(&mut self, _consumers: &[ConsumerId]) {}

    /// Consumers leave, and leases that they or their channels hold end, before anything is delivered. What else they
    /// hold stays leased. True if the last consumer has left.
    fn leave(
        &mut self,
        now_ms: u64,
        consumers: &[ConsumerId],
        leases: &[Lease],
        fx: &mut Effects,
    ) -> bool;

    /// Grants credit to consumers.
    fn grant(&mut self, now_ms: u64, credit: &[(ConsumerId, Credit)], fx: &mut Effects);

    /// Answers [`Effects::permit`]; the command that has paused goes on.
    fn permit(&mut self, _now_ms: u64, _is_granted: bool, _fx: &mut Effects) {}

    /// A channel's limit has room again: its consumers may be given this many messages in this round.
    fn poke(&mut self, _now_ms: u64, _limiter: LimiterId, _share: u32, _fx: &mut Effects) {}

    /// The consumers of a channel have a limit from now on, or have none any more.
    fn limit(&mut self, _now_ms: u64, _limit: ChannelLimit, _fx: &mut Effects) {}

    /// Ends leases, and grants the credit that this frees. Passes over leases that have ended already. To a stream every
    /// answer is just credit.
    fn acknowledge(
        &mut self,
        now_ms: u64,
        how: Acknowledgement,
        leases: &[Lease],
        credit: &[(ConsumerId, Credit)],
        fx: &mut Effects,
    );

    /// Takes the message at the head, as basic.get does. Nothing can be taken out of a stream.
    fn get(&mut self, _now_ms: u64, _no_ack: bool, _fx: &mut Effects) -> Get {
        Get::Empty
    }

    /// Drops every message that is ready or delayed and returns how many there were. A stream drops none.
    fn purge(&mut self, _now_ms: u64, _fx: &mut Effects) -> u64 {
        0
    }

    /// The queue was declared again: it is in use.
    fn touch(&mut self, _now_ms: u64) {}

    /// Time has passed.
    fn tick(&mut self, now_ms: u64, fx: &mut Effects);

    /// When [`Machine::tick`] is next needed.
    fn deadline_ms(&mut self, now_ms: u64) -> Option<u64>;

    /// Whether `x-expires` has passed, so that the queue must be deleted.
    fn is_expired(&self, _now_ms: u64) -> bool {
        false
    }

    /// The queue is deleted: its consumers and waiting receives are gone.
    fn delete(&mut self);

    fn counts(&self) -> Counts;

    fn consumer_infos(&self) -> Vec<ConsumerInfo>;

    /// The first message of each lane that is not settled.
    fn oldest(&self) -> Vec<Oldest> {
        Vec::new()
    }
}

/// What a machine has on disk and in memory.
pub(super) trait Stored {
    /// Takes in what was read from `from` on; an empty answer ends the read, too.
    fn loaded(&mut self, now_ms: u64, log: LogId, from: u64, chunks: Chunks, fx: &mut Effects);

    /// Takes in delayed messages that were to be read.
    fn picked(&mut self, now_ms: u64, chunks: Vec<Picked>, fx: &mut Effects);

    /// A consumer's place was found: no message before `offset` came as late as it asks for.
    fn sought(&mut self, _now_ms: u64, _consumer: ConsumerId, _offset: u64, _fx: &mut Effects) {}

    /// A sweep has ended.
    fn swept(&mut self, _fx: &mut Effects) {}

    /// These messages cannot be read: they are passed over. Returns how many that are.
    fn lose(&mut self, now_ms: u64, log: LogId, range: Range<u64>, fx: &mut Effects) -> u64;

    /// Messages that cannot be read, by log.
    fn lost(&self) -> Vec<(LogId, Vec<Range<u64>>)>;

    /// Whether a message that was to be read at `offset` must be there: not if it has left since.
    fn expects(&self, log: LogId, offset: u64) -> bool;

    /// How much one read is to bring.
    fn read_bytes(&self) -> usize;

    fn resident_bytes(&self) -> u64;

    /// Drops messages from memory until at most `allowed` bytes are resident, as far as the store has them: everything
    /// up to the batch `committed`.
    fn evict(&mut self, allowed: u64, committed: Ticket);

    /// Whether the disk has to be told anything.
    fn is_dirty(&self) -> bool;

    /// Moves everything that the disk has to be told into `batch`, which will be committed as `ticket`.
    fn collect(&mut self, ticket: Ticket, batch: &mut Batch);

    /// Whether [`Stored::durable_up_to`] has to be called: a stream delivers what is durable.
    fn awaits_durability(&self) -> bool {
        false
    }

    /// Everything up to this batch is durable.
    fn durable_up_to(&mut self, _now_ms: u64, _upto: Ticket, _fx: &mut Effects) {}

    /// The logs in use.
    fn logs(&self) -> Vec<LogId>;
}

/// Receiving by handle. Nothing can be received of a stream.
pub(super) trait Receiving {
    /// A message that a receive had leased before the restart and that has to be read, so that it is leased again. To
    /// be answered with [`Receiving::restore`] and asked again until there is none, before every other command.
    fn next_to_restore(&mut self, _now_ms: u64) -> Option<(LogId, u64)> {
        None
    }

    /// Takes in the chunk of this log with that message; if it cannot be read, the message is ready again.
    fn restore(&mut self, _log: LogId, _chunks: Chunks) {}

    /// A receive waits for up to `max` messages under a number that rises from receive to receive. A hasty one does not
    /// wait for messages that are still to come. False if nothing can be received.
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

    /// A receive waits no longer; nothing happens if it was answered.
    fn stop_waiting(&mut self, _now_ms: u64, _receive: u64, _fx: &mut Effects) {}

    /// The client has not got what a receive brought: it goes back, and does not count as handed out.
    fn give_back(&mut self, _now_ms: u64, _leases: &[Lease], _fx: &mut Effects) {}

    /// Has the lease of a handle last this long from now, whenever it was to end. Returns when it ends; `None` if
    /// the handle is not valid.
    fn prolong(
        &mut self,
        _now_ms: u64,
        _handle: ReceiptHandle,
        _length_ms: u64,
        _fx: &mut Effects,
    ) -> Option<u64> {
        None
    }

    /// Deletes messages by their handles; for each whether it was valid.
    fn delete_received(
        &mut self,
        _now_ms: u64,
        handles: &[ReceiptHandle],
        _fx: &mut Effects,
    ) -> Vec<bool> {
        vec![false; handles.len()]
    }
}

/// Dead lettering. Nothing dies in a stream.
pub(super) trait DeadLettering {
    /// Messages whose dead letters can be published now, in the order of their deaths: at most `max`, and at most about
    /// `max_bytes`. The next ones come after [`DeadLettering::bury`].
    fn take_letters(&mut self, _max: usize, _max_bytes: usize) -> Vec<Dead> {
        Vec::new()
    }

    /// The dead letters of this many messages, those that died first, are published: the messages leave the log.
    fn bury(&mut self, _now_ms: u64, _count: usize, _fx: &mut Effects) {}

    /// Whether dead letters can be published now: the first message is in memory, and none are being published.
    fn has_letters(&self) -> bool {
        false
    }

    /// How many messages have died since the start, and how many of their dead letters are published.
    fn deaths(&self) -> (u64, u64) {
        (0, 0)
    }

    /// Whether there are dead letters to be published, now or later.
    fn is_dying(&self) -> bool {
        let (died, buried) = self.deaths();
        died > buried
    }
}

/// Rewinding. A stream needs none: each consumer chooses where it begins.
pub(super) trait Rewinding {
    /// Where the store has to be searched for the places to which a rewind goes, one for each lane. Messages that are
    /// enqueued from now on are not in the way.
    fn plan_rewind(
        &mut self,
        _now_ms: u64,
        _to: RewindTo,
    ) -> Result<Vec<RewindSearch>, RewindError> {
        Err(RewindError::NotEnabled)
    }

    /// Makes acked messages of the history ready again, from the places that were found: the first offset and how many
    /// messages.
    fn rewind(
        &mut self,
        _now_ms: u64,
        _found: &[RewindPosition],
        _fx: &mut Effects,
    ) -> Result<(Option<u64>, u64), RewindError> {
        Err(RewindError::NotEnabled)
    }
}
