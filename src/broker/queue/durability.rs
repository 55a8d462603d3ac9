//! Which messages of a queue a restart finds.

use crate::model::Message;
use crate::model::arguments::QueueKind;

/// Which messages of a queue a restart finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// None: the queue itself is gone.
    Nothing,
    /// Persistent messages: durable classic queues.
    Persistent,
    /// All messages, with their delivery counts: quorum queues and streams ignore `delivery-mode`.
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

    /// Whether a restart finds this message.
    pub(super) fn covers(self, message: &Message) -> bool {
        match self {
            Durability::Nothing => false,
            Durability::Persistent => message.persistent,
            Durability::Everything => true,
        }
    }
}
