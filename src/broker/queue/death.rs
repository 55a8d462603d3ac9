//! Messages that left a queue other than by an ack, and why.

use std::sync::Arc;

use crate::model::Message;

/// Why a message leaves its queue other than by being acked; the `reason` of an `x-death` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// basic.reject or basic.nack with `requeue` false.
    Rejected,
    /// Its time to live has passed.
    Expired,
    /// The queue was longer than `x-max-length` or `x-max-length-bytes` allows.
    MaxLength,
    /// It was returned more often than `x-delivery-limit` allows.
    DeliveryLimit,
}

impl DeathReason {
    /// As RabbitMQ spells it in `x-death` headers.
    pub fn as_str(self) -> &'static str {
        match self {
            DeathReason::Rejected => "rejected",
            DeathReason::Expired => "expired",
            DeathReason::MaxLength => "maxlen",
            DeathReason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A message that has left the queue for its dead letter exchange.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) message: Arc<Message>,
    pub(super) reason: DeathReason,
}
