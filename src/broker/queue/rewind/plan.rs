//! The plan of a rewind: where to search each lane, and the position that the search found.

use std::ops::Range;

use crate::broker::queue::lane::history::SizedMessage;
use crate::model::LogId;
use crate::store::StoreError;

use super::rewind_to::RewindTo;

/// Why a queue was not rewound.
#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    /// The queue has been deleted.
    #[error("the queue is gone")]
    Gone,
    /// The queue has no history.
    #[error("the queue does not keep acked messages (x-rewind-seconds)")]
    NotEnabled,
    /// The time lies in the future.
    #[error("the time to rewind to is in the future")]
    InFuture,
    /// No message has that offset yet.
    #[error("no message has that offset yet: the next one will be {next}")]
    NoSuchOffset {
        /// The offset of the next message.
        next: u64,
    },
    /// A queue with priorities has several logs, so an offset names no position in it.
    #[error("a queue with priorities can be rewound to a time only")]
    SeveralLanes,
    /// The store cannot be read, or is closed.
    #[error("the messages cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// Where to search one lane for the position to which it is rewound.
#[derive(Clone, Debug)]
pub(in crate::broker::queue) struct RewindSearch {
    pub(in crate::broker::queue) log: LogId,
    pub(in crate::broker::queue) to: RewindTo,
    /// The position is in here, or at its end.
    pub(in crate::broker::queue) within: Range<u64>,
}

/// The position to which one lane is rewound.
#[derive(Clone, Debug)]
pub(in crate::broker::queue) struct RewindPosition {
    pub(in crate::broker::queue) log: LogId,
    pub(in crate::broker::queue) from: u64,
    /// The messages from there to the end of the searched range, up to a limit.
    pub(in crate::broker::queue) messages: Vec<SizedMessage>,
}
