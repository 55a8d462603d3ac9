//! Identities as newtypes, so that two bare integers never stand side by side.

use serde::{Deserialize, Serialize};

/// A queue, for as long as the data directory lives: ids are never used again, so whatever a deleted
/// queue left behind can never be mistaken for a new queue's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueueId(pub u64);

impl QueueId {
    /// The log in which one lane of this queue is stored.
    pub fn log(self, lane: u8) -> LogId {
        LogId((self.0 << LogId::LANE_BITS) | u64::from(lane))
    }

    /// The log in which messages of this queue lie that are not to be delivered yet.
    pub fn delayed_log(self) -> LogId {
        LogId((self.0 << LogId::LANE_BITS) | LogId::DELAYED)
    }
}

/// One stored log: a lane of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

impl LogId {
    const LANE_BITS: u32 = 9;
    /// Set in the log of delayed messages; the eight bits below name a lane.
    const DELAYED: u64 = 0x100;

    /// The queue that owns the log.
    pub fn queue(self) -> QueueId {
        QueueId(self.0 >> LogId::LANE_BITS)
    }

    /// The lane of that queue; 0 for its delayed messages.
    pub fn lane(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// Whether it holds the queue's delayed messages.
    pub fn is_delayed(self) -> bool {
        self.0 & LogId::DELAYED != 0
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

/// One handing-out of a message: what settles it. A message that came back and was handed out again has another
/// lease, so an answer that comes too late settles nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// The offset in the lane's log.
    pub offset: u64,
    /// How often the message had come back before it was handed out.
    pub turn: u32,
    /// The lane; 0 but in priority queues.
    pub lane: u8,
}

impl Lease {
    /// The message.
    pub fn id(self) -> MessageId {
        MessageId {
            lane: self.lane,
            offset: self.offset,
        }
    }
}

/// A consumer, unique while the broker runs. Ids start at 1, in order of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub u64);

/// A client connection, unique while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// The number of a group commit. What was written under a ticket is on disk when the committer's
/// durable ticket has reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);
