//! The chunk of a block or page: still gathered, or written.

use crate::model::Ticket;
use crate::store::chunk::ChunkEncoder;

#[derive(Debug)]
pub(super) enum ChunkState {
    /// Gathers messages until the next batch takes it.
    Open(ChunkEncoder),
    /// In the batch with this ticket. Can be read when that is committed; a chunk that was read has ticket 0.
    Written(Ticket),
}
