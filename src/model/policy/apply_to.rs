//! The types that a policy is for.

use serde::Serialize;

use crate::model::arguments::QueueKind;

/// The value of `apply-to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyTo {
    All,
    Exchanges,
    Queues,
    ClassicQueues,
    QuorumQueues,
    Streams,
}

/// What a policy may apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Exchange,
    Queue(QueueKind),
}

impl ApplyTo {
    const ALL: [ApplyTo; 6] = [
        ApplyTo::All,
        ApplyTo::Exchanges,
        ApplyTo::Queues,
        ApplyTo::ClassicQueues,
        ApplyTo::QuorumQueues,
        ApplyTo::Streams,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ApplyTo::All => "all",
            ApplyTo::Exchanges => "exchanges",
            ApplyTo::Queues => "queues",
            ApplyTo::ClassicQueues => "classic_queues",
            ApplyTo::QuorumQueues => "quorum_queues",
            ApplyTo::Streams => "streams",
        }
    }

    pub(super) fn parse(word: &str) -> Option<ApplyTo> {
        ApplyTo::ALL.into_iter().find(|own| own.as_str() == word)
    }

    pub(super) fn includes(self, target: Target) -> bool {
        match (self, target) {
            (ApplyTo::All, _)
            | (ApplyTo::Exchanges, Target::Exchange)
            | (ApplyTo::Queues, Target::Queue(_))
            | (ApplyTo::ClassicQueues, Target::Queue(QueueKind::Classic))
            | (ApplyTo::QuorumQueues, Target::Queue(QueueKind::Quorum))
            | (ApplyTo::Streams, Target::Queue(QueueKind::Stream)) => true,
            (
                ApplyTo::Exchanges
                | ApplyTo::Queues
                | ApplyTo::ClassicQueues
                | ApplyTo::QuorumQueues
                | ApplyTo::Streams,
                _,
            ) => false,
        }
    }
}
