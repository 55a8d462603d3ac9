//! Messages that leave a queue without an ack, and the reasons.

use std::sync::Arc;

use crate::broker::stats::Deaths;
use crate::model::Message;
use crate::model::arguments::QueueArguments;

/// Why a message leaves its queue without an ack; the `reason` of an `x-death` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// basic.reject or basic.nack with `requeue` false.
    Rejected,
    /// Its time to live has passed.
    Expired,
    /// The queue was longer than `x-max-length` or `x-max-length-bytes` allows.
    MaxLength,
    /// It came back more often than `x-delivery-limit` allows.
    DeliveryLimit,
}

impl DeathReason {
    /// RabbitMQ's spelling in `x-death` headers.
    pub fn as_str(self) -> &'static str {
        match self {
            DeathReason::Rejected => "rejected",
            DeathReason::Expired => "expired",
            DeathReason::MaxLength => "maxlen",
            DeathReason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// How many messages died in one command, for statistics.
#[derive(Debug, Default)]
pub(super) struct DeathCounts {
    pub(super) dead_lettered: Deaths,
    /// Without a dead letter exchange.
    pub(super) dropped: Deaths,
}

impl DeathCounts {
    pub(super) fn add(&mut self, reason: DeathReason, has_letter: bool) {
        let deaths = match has_letter {
            true => &mut self.dead_lettered,
            false => &mut self.dropped,
        };
        match reason {
            DeathReason::Rejected => deaths.rejected += 1,
            DeathReason::Expired => deaths.expired += 1,
            DeathReason::MaxLength => deaths.maxlen += 1,
            DeathReason::DeliveryLimit => deaths.delivery_limit += 1,
        }
    }
}

/// A dying message: it has left the queue for the dead letter exchange.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) message: Arc<Message>,
    pub(super) reason: DeathReason,
    /// The queue's arguments when it died.
    pub(super) arguments: Arc<QueueArguments>,
}
