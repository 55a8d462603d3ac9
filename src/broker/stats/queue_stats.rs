//! What one queue counts: plain numbers, under the queue's lock.

use super::message_stats::{HandedOut, MessageStats};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueStats {
    /// Messages enqueued.
    pub publish: u64,
    pub handed_out: HandedOut,
    pub disk_reads: u64,
    pub disk_writes: u64,
}

impl QueueStats {
    pub fn messages(&self) -> MessageStats {
        let mut stats = MessageStats {
            publish: self.publish,
            disk_reads: self.disk_reads,
            disk_writes: self.disk_writes,
            ..MessageStats::default()
        };
        stats.add_handed_out(&self.handed_out);
        stats
    }
}
