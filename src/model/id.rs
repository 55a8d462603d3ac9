//! Identities as newtypes, so that the compiler tells one kind of number from another.

use serde::{Deserialize, Serialize};

/// A queue. A data directory never reuses an id, so a new queue cannot inherit what a deleted one left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueueId(pub u64);

impl QueueId {
    /// The log of one lane of this queue.
    pub fn log(self, lane: u8) -> LogId {
        LogId((self.0 << LogId::LANE_BITS) | u64::from(lane))
    }

    /// The log of this queue's delayed messages.
    pub fn delayed_log(self) -> LogId {
        LogId((self.0 << LogId::LANE_BITS) | LogId::DELAYED)
    }
}

/// One stored log: a lane of a queue, or its delayed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

impl LogId {
    const LANE_BITS: u32 = 9;
    /// Set in the id of a delayed log; the eight bits below name the lane.
    const DELAYED: u64 = 0x100;

    /// The queue that owns the log.
    pub fn queue(self) -> QueueId {
        QueueId(self.0 >> LogId::LANE_BITS)
    }

    /// The lane in that queue; 0 for the delayed log.
    pub fn lane(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// Whether it is the queue's delayed log.
    pub fn is_delayed(self) -> bool {
        self.0 & LogId::DELAYED != 0
    }
}

/// The place of a message in its queue. Offsets are dense per lane and survive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// 0 except in priority queues.
    pub lane: u8,
    /// The offset in the lane's log.
    pub offset: u64,
}

/// One handing-out of one message. Only the current lease settles the message: each redelivery has a new
/// lease, so a late answer to an earlier one has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// The offset in the lane's log.
    pub offset: u64,
    /// The number of times that the message had returned before this lease.
    pub turn: u32,
    /// 0 except in priority queues.
    pub lane: u8,
}

impl Lease {
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

/// The number of a group commit. Changes under a ticket are on disk once the committer's durable ticket has
/// reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);
