//! Whether a chunk of a log is still gathered or on its way to the store.

use crate::model::Ticket;
use crate::store::chunk::ChunkEncoder;

/// Where a block's chunk is.
#[derive(Debug)]
pub(super) enum ChunkState {
    /// Still gathered: goes to disk with the next group commit.
    Open(ChunkEncoder),
    /// Handed to the committer with this batch (readable when that is committed); the second field
    /// says whether it was read from or written to the store at all.
    Written(Ticket),
}
