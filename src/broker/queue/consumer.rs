//! A consumer of a queue: its registration, its deliveries and its credit.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::clock::Moment;
use crate::model::stream::StreamStart;
use crate::model::{ConnectionId, ConsumerId, Lease, Message, Name};

/// Messages and bytes that a consumer may still be sent. A delivery needs both above zero, so the last
/// delivery may overdraw the bytes by one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    pub messages: u32,
    /// Bytes of properties and body.
    pub bytes: u64,
}

/// How often a message has come back to its queue, as quorum queues report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReturnCounts {
    /// All returns: `x-acquired-count`.
    pub acquired: u32,
    /// Deliveries that failed: `x-delivery-count`.
    pub delivery: u32,
}

/// A message on its way to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub consumer: ConsumerId,
    /// The lease that an acknowledgement names.
    pub lease: Lease,
    pub message: Arc<Message>,
    /// The message was handed out before.
    pub redelivered: bool,
    /// How often the message has come back.
    pub counts: ReturnCounts,
    /// When the message was enqueued; only rewindable queues tell this.
    pub enqueued: Option<Moment>,
}

/// Receives deliveries: a connection's outbox. Queues call it under their lock, so it only stores and wakes.
pub trait DeliverySink: Send + Sync {
    /// Takes all deliveries out of `run`.
    fn deliver(&self, run: &mut Vec<Delivery>);
    /// The queue of the consumer was deleted.
    fn cancelled(&self, consumer: ConsumerId);
}

/// A consumer that wants to register.
#[derive(Clone, Debug)]
pub struct NewConsumer {
    pub id: ConsumerId,
    /// The consumer tag, for listings.
    pub tag: Name,
    /// Deliveries are acked as they leave.
    pub no_ack: bool,
    /// No other consumer may register.
    pub exclusive: bool,
    /// `x-priority`; higher is served first.
    pub priority: i32,
    /// The credit to begin with.
    pub credit: Credit,
    /// How long it may hold a message; `None`: the queue's own timeout.
    pub visibility_timeout_ms: Option<u64>,
    /// Where in a stream it begins, and which messages it wants. Work queues ignore this.
    pub stream: Option<StreamStart>,
    /// The prefetch count, for listings.
    pub prefetch_count: u16,
    /// The arguments of basic.consume, for listings.
    pub arguments: FieldTable,
    /// The connection it belongs to.
    pub connection: ConnectionId,
    /// The channel's number, for listings.
    pub channel: u16,
}

/// Why a consumer was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// The queue has an exclusive consumer, or this one asks to be exclusive and the queue has others.
    #[error("in exclusive use")]
    ExclusiveUse,
    /// The queue has been deleted.
    #[error("the queue is gone")]
    Gone,
}

/// A consumer as listings show it.
#[derive(Clone, Debug)]
pub struct ConsumerInfo {
    pub tag: Name,
    pub connection: ConnectionId,
    pub channel: u16,
    pub ack_required: bool,
    pub exclusive: bool,
    /// 0 is no limit.
    pub prefetch_count: u16,
    /// False while it waits behind a single active consumer.
    pub active: bool,
    pub arguments: FieldTable,
}

/// Names the limiter of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LimiterId(pub(super) usize);

/// The limit that the consumers of a channel share (`basic.qos` with `global`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelLimit {
    pub(super) limiter: LimiterId,
    /// Deliveries need a permit. Each channel has a limiter, even before a limit is set.
    pub(super) is_set: bool,
}

/// A registered consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) new: NewConsumer,
    pub(super) limit: Option<ChannelLimit>,
    /// Credit left; bytes below zero are an overdraft.
    messages: u32,
    bytes: i64,
    pub(super) place: Place,
    /// Number of its deliveries that it has left unanswered for too long.
    pub(super) unanswered: u32,
}

/// Where a consumer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has no credit, or waits behind a single active consumer.
    Out,
    /// In its priority's ring.
    Ring,
    /// Its channel's limit has no room. It waits for a round of the limiter.
    Limited,
    /// It has left deliveries unanswered for too long, and gets nothing before it answers them.
    Late,
    /// It is about to leave, and gets nothing more.
    Halted,
}

impl Consumer {
    pub(super) fn new(new: NewConsumer, limit: Option<ChannelLimit>) -> Consumer {
        let credit = new.credit;
        Consumer {
            new,
            limit,
            messages: credit.messages,
            bytes: signed(credit.bytes),
            place: Place::Out,
            unanswered: 0,
        }
    }

    pub(super) fn id(&self) -> ConsumerId {
        self.new.id
    }

    pub(super) fn has_credit(&self) -> bool {
        self.messages > 0 && self.bytes > 0
    }

    pub(super) fn grant(&mut self, credit: Credit) {
        self.messages = self.messages.saturating_add(credit.messages);
        self.bytes = self.bytes.saturating_add(signed(credit.bytes));
    }

    /// Takes one message of `size` bytes from the credit.
    pub(super) fn charge(&mut self, size: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(signed(size as u64));
    }

    /// Whether this is the limiter of its channel.
    pub(super) fn is_limited_by(&self, limiter: LimiterId) -> bool {
        self.limit.is_some_and(|limit| limit.limiter == limiter)
    }

    /// The limiter that has to permit a delivery, if any.
    pub(super) fn limiter(&self) -> Option<LimiterId> {
        let limit = self.limit.filter(|limit| limit.is_set)?;
        Some(limit.limiter)
    }

    /// For listings.
    pub(super) fn info(&self, active: bool) -> ConsumerInfo {
        ConsumerInfo {
            tag: self.new.tag.clone(),
            connection: self.new.connection,
            channel: self.new.channel,
            ack_required: !self.new.no_ack,
            exclusive: self.new.exclusive,
            prefetch_count: self.new.prefetch_count,
            active,
            arguments: self.new.arguments.clone(),
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
