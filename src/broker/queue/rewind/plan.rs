//! Where the store has to be searched for the places that a rewind goes to, and what was found there.

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
    /// The queue does not keep what was acked.
    #[error("the queue does not keep acked messages (x-rewind-seconds)")]
    NotEnabled,
    /// The time has not come yet.
    #[error("the time to rewind to is in the future")]
    InFuture,
    /// No message had that offset yet.
    #[error("no message has that offset yet: the next one will be {next}")]
    NoSuchOffset {
        /// The offset of the next message.
        next: u64,
    },
    /// An offset means nothing in a queue that has a log for each priority.
    #[error("a queue with priorities can be rewound to a time only")]
    SeveralLanes,
    /// The store cannot be read, or was closed.
    #[error("the messages cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// Where to look for the place to which one lane is rewound.
#[derive(Clone, Debug)]
pub(in crate::broker::queue) struct RewindSearch {
    pub(in crate::broker::queue) log: LogId,
    pub(in crate::broker::queue) to: RewindTo,
    /// The place is in here or at its end.
    pub(in crate::broker::queue) within: Range<u64>,
}

/// The place, and the messages from there to the end of the searched range if they are not too many.
#[derive(Clone, Debug)]
pub(in crate::broker::queue) struct RewindPosition {
    pub(in crate::broker::queue) log: LogId,
    pub(in crate::broker::queue) from: u64,
    pub(in crate::broker::queue) messages: Vec<SizedMessage>,
}
