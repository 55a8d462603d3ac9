//! The kinds of queues: which state machine a queue is.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::model::arguments::{QueueArguments, QueueKind};
use crate::model::{LogId, QueueId};
use crate::store::LogState;

use super::machine::Machine;
use super::stream::Stream;
use super::work_queue::WorkQueue;

/// A queue's state machine.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every queue is a work queue, which this saves one pointer"
)]
pub(super) enum Kind {
    Work(WorkQueue),
    Stream(Box<Stream>),
}

impl Kind {
    /// The machine of a queue with these arguments and the logs that recovery found.
    pub(super) fn new(
        id: QueueId,
        durable: bool,
        arguments: Arc<QueueArguments>,
        recovered: Vec<(LogId, LogState)>,
        now_ms: u64,
    ) -> Kind {
        match arguments.kind {
            QueueKind::Classic | QueueKind::Quorum => {
                Kind::Work(WorkQueue::new(id, durable, arguments, recovered, now_ms))
            }
            QueueKind::Stream => Kind::Stream(Box::new(Stream::new(id, &arguments, recovered))),
        }
    }
}

impl Deref for Kind {
    type Target = dyn Machine;

    fn deref(&self) -> &Self::Target {
        match self {
            Kind::Work(queue) => queue,
            Kind::Stream(stream) => &**stream,
        }
    }
}

impl DerefMut for Kind {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Kind::Work(queue) => queue,
            Kind::Stream(stream) => &mut **stream,
        }
    }
}
