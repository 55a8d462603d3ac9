//! What a queue's state machine wants done, and the plain data of its commands and answers.

use std::ops::Range;
use std::sync::Arc;

use crate::clock::Moment;
use crate::model::{ConsumerId, Lease, LogId, Message};
use crate::store::StoredMessage;

use super::consumer::Delivery;
use super::receive::received::Received;

/// What one command of a machine wants done. Its owner carries everything out before the next command. The buffers
/// are used again.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Messages for consumers, in the order in which they left the queue. They are most of what a queue does, so they
    /// have a list of their own.
    pub(super) deliveries: Vec<Delivery>,
    pub(super) others: Vec<Effect>,
    /// The command has paused: it goes on with [`super::machine::Machine::permit`], which says whether the limit of
    /// this consumer's channel allows one more delivery.
    pub(super) permit: Option<ConsumerId>,
}

impl Effects {
    pub(super) fn push(&mut self, effect: Effect) {
        self.others.push(effect);
    }
}

/// What a machine wants done besides deliveries.
#[derive(Debug)]
pub(super) enum Effect {
    /// A waiting receive is answered.
    Answer {
        receive: u64,
        messages: Vec<Received>,
    },
    /// Read chunks of a log, from the one that holds this offset on; ends with `loaded`.
    Read { log: LogId, from: u64 },
    /// Read single messages; ends with `picked`.
    Pick(Pick),
    /// Look for the place of a consumer; ends with `sought`.
    Seek(Seek),
    /// Remove chunks from the store once it has what this command changed: nothing reads these offsets again. Ends
    /// with `swept`.
    Sweep { log: LogId, offsets: Range<u64> },
    /// The queue has had its share of a channel's limit; it waits for the next round, as this consumer does.
    AwaitRound(ConsumerId),
}

/// Chunks of a log as they were read, each with its first offset.
pub(super) type Chunks = Vec<(u64, Vec<StoredMessage>)>;

/// Single messages to be read.
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

/// A consumer whose place is somewhere among these offsets: before it are messages that came before `ms`.
#[derive(Debug)]
pub(super) struct Seek {
    pub(super) consumer: ConsumerId,
    pub(super) log: LogId,
    pub(super) offsets: Range<u64>,
    pub(super) ms: u64,
}

/// What a queue takes of a run that refuses messages when it is full (`x-overflow` of `reject-publish`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Each message for which there is room.
    Each,
    /// All of them, if there is room for all; else none.
    Whole,
    /// All of them, full or not.
    Always,
}

/// What a queue took of a run.
#[derive(Debug, Default)]
pub(super) struct Enqueued {
    /// How many messages it has looked at.
    pub(super) seen: usize,
    /// The command has paused amid the run: the others, or none, are published when the permit is answered.
    pub(super) is_paused: bool,
    /// Indexes of the messages that it refused.
    pub(super) rejected: Vec<u32>,
    /// A restart must find some of the others.
    pub(super) persisted: bool,
}

impl Enqueued {
    /// Together with what it took of the others.
    pub(super) fn and(mut self, others: Enqueued) -> Enqueued {
        let before = u32::try_from(self.seen).unwrap_or(u32::MAX);
        let rejected = others.rejected.into_iter();
        self.rejected.extend(rejected.map(|index| before + index));
        Enqueued {
            seen: self.seen + others.seen,
            is_paused: others.is_paused,
            rejected: self.rejected,
            persisted: self.persisted || others.persisted,
        }
    }
}

/// How leases end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// basic.ack: the messages are gone.
    Ack,
    /// basic.nack or basic.reject with `requeue`, or basic.recover: they wait again.
    Requeue,
    /// basic.nack or basic.reject without `requeue`: dead-lettered, or dropped.
    Reject,
}

/// What basic.get takes.
#[derive(Debug)]
pub struct Got {
    /// What an answer names.
    pub lease: Lease,
    pub message: Arc<Message>,
    /// It was handed out before.
    pub redelivered: bool,
    /// How often it came back before.
    pub delivery_count: u32,
    /// When it was enqueued; rewindable queues tell this.
    pub enqueued: Option<Moment>,
    /// Messages that are ready behind it.
    pub remaining: u64,
}

/// What an attempt to get found.
#[derive(Debug)]
pub(super) enum Get {
    Empty,
    /// The head has to be read from disk first; the read is among the effects.
    Loading,
    Got(Got),
}

/// A lane's first message that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oldest {
    /// It was enqueued then.
    Enqueued(u64),
    /// It lies there, and only there.
    OnDisk(LogId, u64),
}
