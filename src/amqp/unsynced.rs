//! Bytes that a connection has published and that may not be durable yet. Knows tickets, not messages.

use crate::model::Ticket;
use crate::store::commit::Committer;

/// Bytes that a connection may have on their way to the disk even while all connections together have too
/// many, so that a slow publisher does not wait behind fast ones.
const OWN_BYTES_MIN: usize = 1024 * 1024;

/// An upper bound of the bytes on their way to the disk. Two sums instead of one entry per batch: it costs
/// nothing per message.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    /// Bytes that are durable once `mark` is.
    older: usize,
    /// Bytes published since `mark` was set.
    newer: usize,
    mark: Ticket,
}

impl Unsynced {
    /// Queues have taken `bytes` more.
    pub(crate) fn add(&mut self, bytes: usize, committer: &Committer) {
        committer.note_pending(bytes);
        self.advance(committer.durable(), committer.gathering());
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

    /// Drops the older bytes once they are durable. Everything published so far is in batch `gathering` or an
    /// earlier one.
    fn advance(&mut self, durable: Ticket, gathering: Ticket) {
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
    fn durable_bytes_no_longer_count() {
        let mut unsynced = Unsynced {
            newer: OWN_BYTES_MIN,
            ..Unsynced::default()
        };
        unsynced.advance(Ticket(0), Ticket(3));
        assert!(unsynced.is_small(Ticket(0)));
        unsynced.newer = 1;
        assert!(!unsynced.is_small(Ticket(2)), "batch 3 is on its way");
        assert!(unsynced.is_small(Ticket(3)));
        // What came after the mark may be in any later batch.
        unsynced.newer = OWN_BYTES_MIN;
        unsynced.advance(Ticket(3), Ticket(5));
        unsynced.newer = OWN_BYTES_MIN;
        unsynced.advance(Ticket(4), Ticket(6));
        assert!(!unsynced.is_small(Ticket(4)));
        assert!(unsynced.is_small(Ticket(5)));
    }
}
