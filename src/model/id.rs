//! Identities as newtypes, so that two bare integers never stand side by side.

use serde::{Deserialize, Serialize};

/// A queue, for as long as the data directory lives: ids are never used again, so whatever a deleted
/// queue left behind can never be mistaken for a new queue's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueueId(pub u64);

impl QueueId {
    /// The log in which one lane of this queue is stored.
    pub fn log(self, lane: u8) -> LogId {
        LogId((self.0 << 8) | u64::from(lane))
    }
}

/// One stored log: a lane of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

impl LogId {
    /// The queue that owns the log.
    pub fn queue(self) -> QueueId {
        QueueId(self.0 >> 8)
    }

    /// The lane of that queue.
    pub fn lane(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
}

/// A message's place in its queue: dense per lane, and the same after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// The lane; 0 but in priority queues.
    pub lane: u8,
    /// The offset in the lane's log.
    pub offset: u64,
}

/// A consumer, unique within its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub u64);

/// A client connection, unique while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// The number of a group commit. What was written under a ticket is on disk when the committer's
/// durable ticket has reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);
