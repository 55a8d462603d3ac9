//! How much of what a connection has published may not be on disk yet. Knows tickets, and nothing of messages.

use crate::model::Ticket;
use crate::store::commit::Committer;

/// A connection may have so many bytes on their way to the disk even while others have more there than fits: whoever
/// publishes little does not wait behind those who flood.
pub(crate) const OWN_BYTES_MIN: usize = 1024 * 1024;

/// Bytes on their way to the disk: never fewer than there are. Kept as two sums, so that it costs nothing per message.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    /// Durable with `mark`.
    older: usize,
    /// Published since `mark` was set.
    newer: usize,
    mark: Ticket,
}

impl Unsynced {
    /// Bytes have been handed to queues.
    pub(crate) fn add(&mut self, bytes: usize, committer: &Committer) {
        committer.note_pending(bytes);
        self.turn(committer.durable(), committer.gathering());
        self.newer += bytes;
    }

    /// Whether the connection may publish more now.
    pub(crate) fn has_room(&self, committer: &Committer) -> bool {
        committer.has_room() || (self.is_small(committer.durable()) && committer.has_reserve())
    }

    fn is_small(&self, durable: Ticket) -> bool {
        let older = if durable >= self.mark { 0 } else { self.older };
        older + self.newer <= OWN_BYTES_MIN
    }

    /// Forgets what has become durable. `gathering` is the batch that everything up to now is in, at the latest.
    fn turn(&mut self, durable: Ticket, gathering: Ticket) {
        if durable >= self.mark {
            self.older = std::mem::take(&mut self.newer);
            self.mark = gathering;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_durable_no_longer_counts() {
        let mut unsynced = Unsynced {
            newer: OWN_BYTES_MIN,
            ..Unsynced::default()
        };
        unsynced.turn(Ticket(0), Ticket(3));
        assert!(unsynced.is_small(Ticket(0)));
        unsynced.newer = 1;
        assert!(!unsynced.is_small(Ticket(2)), "batch 3 is on its way");
        assert!(unsynced.is_small(Ticket(3)));
        // What came after the mark may be in any later batch.
        unsynced.newer = OWN_BYTES_MIN;
        unsynced.turn(Ticket(3), Ticket(5));
        unsynced.newer = OWN_BYTES_MIN;
        unsynced.turn(Ticket(4), Ticket(6));
        assert!(!unsynced.is_small(Ticket(4)));
        assert!(unsynced.is_small(Ticket(5)));
    }
}
