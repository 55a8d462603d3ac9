//! What goes into and comes out of a queue's state machine: plain data.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::clock::Moment;
use crate::model::{ConsumerId, Lease, LogId, Message};
use crate::store::StoredMessage;

use super::receive::received::Received;
use super::receive::received_batch::ReceivedBatch;

/// What the state machine wants done. The buffers are kept and used again.
#[derive(Default)]
pub(super) struct Effects {
    /// Consumers with deliveries in their `pending`.
    pub(super) served: Vec<ConsumerId>,
    /// What those who wait with a receive of their own are given.
    pub(super) hands: Vec<(oneshot::Sender<ReceivedBatch>, Vec<Received>)>,
    /// Places to read from: log and offset.
    pub(super) loads: Vec<(LogId, u64)>,
    /// Single messages to be read.
    pub(super) picks: Vec<Pick>,
    /// Places of consumers to be looked for.
    pub(super) seeks: Vec<Seek>,
    /// Chunks to be swept from the store once it has this turn's changes: log and offsets of which nobody reads any
    /// again.
    pub(super) sweeps: Vec<(LogId, Range<u64>)>,
    /// Something was enqueued that a restart must find.
    pub(super) persisted: bool,
    /// How much was handed out to consumers in this turn.
    pub(super) handed_out: u32,
    /// Messages that have left in this turn because of their time to live or the length of the queue.
    pub(super) left: u32,
}

/// Messages that are wanted, and not what lies around them.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) log: LogId,
    /// Ascending.
    pub(super) offsets: Vec<u64>,
    /// When there are so many bytes the read ends.
    pub(super) max_bytes: u64,
}

/// What was wanted of one chunk.
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

/// How leases end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
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
    /// What settles it.
    pub lease: Lease,
    /// The message.
    pub message: Arc<Message>,
    /// It was handed out before.
    pub redelivered: bool,
    /// How often it came back before.
    pub delivery_count: u32,
    /// When it was enqueued; told by queues that keep what was acked.
    pub enqueued: Option<Moment>,
    /// How many are ready behind it.
    pub remaining: u64,
}

/// What an attempt to get found.
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
