//! Which messages of a queue a restart finds again.

use crate::model::Message;
use crate::model::arguments::QueueKind;

/// What a queue keeps over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    /// Nothing: the queue itself will be gone.
    Nothing,
    /// What was published as persistent: durable classic queues.
    Persistent,
    /// Every message and how often it was delivered: quorum queues and streams take no notice of `delivery-mode`.
    Everything,
}

impl Keeps {
    pub(super) fn of(durable: bool, kind: QueueKind) -> Keeps {
        match (durable, kind) {
            (false, _) => Keeps::Nothing,
            (true, QueueKind::Classic) => Keeps::Persistent,
            (true, QueueKind::Quorum | QueueKind::Stream) => Keeps::Everything,
        }
    }

    /// Whether it keeps this message.
    pub(super) fn message(self, message: &Message) -> bool {
        match self {
            Keeps::Nothing => false,
            Keeps::Persistent => message.persistent,
            Keeps::Everything => true,
        }
    }
}
