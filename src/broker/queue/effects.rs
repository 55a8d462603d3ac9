//! The effects of a queue's state machine, and the plain data of its commands and answers.

use std::ops::Range;
use std::sync::Arc;

use crate::clock::Moment;
use crate::model::{ConsumerId, Lease, LogId, Message};
use crate::store::StoredMessage;

use super::consumer::{Delivery, ReturnCounts};
use super::receive::received::Received;

/// The effects of one command. The machine's owner carries all of them out before the next command, and
/// reuses the buffers.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Messages for consumers, in the order in which they left the queue. Most effects are deliveries, so
    /// they have their own list.
    pub(super) deliveries: Vec<Delivery>,
    pub(super) others: Vec<Effect>,
    /// The command has paused. [`super::machine::Machine::permit`] resumes it and says whether the limit of
    /// this consumer's channel allows one more delivery.
    pub(super) permit: Option<ConsumerId>,
}

impl Effects {
    pub(super) fn push(&mut self, effect: Effect) {
        self.others.push(effect);
    }
}

/// An effect other than a delivery.
#[derive(Debug)]
pub(super) enum Effect {
    /// Answer a waiting receive.
    Answer {
        receive: u64,
        messages: Vec<Received>,
    },
    /// Read chunks of a log, from the one that holds this offset on; ends with `loaded`.
    Read { log: LogId, from: u64 },
    /// Read single messages; ends with `picked`.
    Pick(Pick),
    /// Find the place of a consumer in a stream; ends with `sought`.
    Seek(Seek),
    /// Wait for the next round of this consumer's limiter: the queue has used its share of the channel's
    /// limit.
    AwaitRound(ConsumerId),
}

/// Chunks that were read from a log, each with its first offset.
pub(super) type Chunks = Vec<(u64, Vec<StoredMessage>)>;

/// A read of single messages.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) log: LogId,
    /// Ascending.
    pub(super) offsets: Vec<u64>,
    /// The read ends when it has this many bytes.
    pub(super) max_bytes: u64,
}

/// The wanted messages of one chunk.
#[derive(Debug)]
pub(super) struct Picked {
    /// The offsets of all its messages.
    pub(super) chunk: Range<u64>,
    /// Ascending.
    pub(super) messages: Vec<StoredMessage>,
}

/// A search for a consumer's place among these offsets: all messages before that place came before `ms`.
#[derive(Debug)]
pub(super) struct Seek {
    pub(super) consumer: ConsumerId,
    pub(super) log: LogId,
    pub(super) offsets: Range<u64>,
    pub(super) ms: u64,
}

/// How many messages of a run a full queue accepts, if it refuses messages (`x-overflow` of
/// `reject-publish`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Each message that fits.
    Each,
    /// All messages if all of them fit, else none.
    Whole,
    /// All messages, although the queue may be full.
    Always,
}

/// The result of enqueuing a run.
#[derive(Debug, Default)]
pub(super) struct Enqueued {
    /// Number of messages that it has accepted or refused.
    pub(super) seen: usize,
    /// The command has paused amid the run and goes on with the rest when the permit is answered.
    pub(super) is_paused: bool,
    /// Indexes of the refused messages.
    pub(super) rejected: Vec<u32>,
    /// The queue accepted messages that a restart must find.
    pub(super) persisted: bool,
    /// The queue is full and holds its publishers back.
    pub(super) is_full: bool,
}

impl Enqueued {
    /// Adds the result for the rest of the run.
    pub(super) fn and(mut self, others: Enqueued) -> Enqueued {
        let before = u32::try_from(self.seen).unwrap_or(u32::MAX);
        let rejected = others.rejected.into_iter();
        self.rejected.extend(rejected.map(|index| before + index));
        Enqueued {
            seen: self.seen + others.seen,
            is_paused: others.is_paused,
            rejected: self.rejected,
            persisted: self.persisted || others.persisted,
            is_full: others.is_full,
        }
    }
}

/// How leases end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// basic.ack: the messages leave the queue.
    Ack,
    /// basic.nack with `requeue`, or basic.recover: the messages are ready again.
    Requeue,
    /// basic.reject with `requeue`: the same, and the delivery has failed.
    RequeueFailed,
    /// basic.nack without `requeue`: the queue dead-letters or drops the messages.
    Reject,
    /// basic.reject without `requeue`: the same, and the delivery has failed.
    RejectFailed,
}

/// The message that basic.get takes.
#[derive(Debug)]
pub struct Got {
    /// The lease that an acknowledgement names.
    pub lease: Lease,
    pub message: Arc<Message>,
    /// The message was handed out before.
    pub redelivered: bool,
    /// How often the message has come back.
    pub counts: ReturnCounts,
    /// When the message was enqueued; only rewindable queues tell this.
    pub enqueued: Option<Moment>,
    /// Number of ready messages behind it.
    pub remaining: u64,
}

/// The result of a get.
#[derive(Debug)]
pub(super) enum Get {
    Empty,
    /// The head must be read from disk first; the effects include that read.
    Loading,
    Got(Got),
}

/// A lane's first unsettled message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oldest {
    /// When it was enqueued.
    Enqueued(u64),
    /// Where it lies on disk; it is not resident.
    OnDisk(LogId, u64),
}
