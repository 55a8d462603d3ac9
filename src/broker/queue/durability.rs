//! Which messages of a queue a restart finds again.

use crate::model::Message;
use crate::model::arguments::QueueKind;

/// What a queue keeps over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Nothing: the queue itself will be gone.
    Nothing,
    /// What was published as persistent: durable classic queues.
    Persistent,
    /// Every message and how often it was delivered: quorum queues and streams take no notice of `delivery-mode`.
    Everything,
}

impl Durability {
    pub(super) fn of(durable: bool, kind: QueueKind) -> Durability {
        match (durable, kind) {
            (false, _) => Durability::Nothing,
            (true, QueueKind::Classic) => Durability::Persistent,
            (true, QueueKind::Quorum | QueueKind::Stream) => Durability::Everything,
        }
    }

    /// Whether it keeps this message.
    pub(super) fn covers(self, message: &Message) -> bool {
        match self {
            Durability::Nothing => false,
            Durability::Persistent => message.persistent,
            Durability::Everything => true,
        }
    }
}
