//! Collects the unwritten changes of a lane: chunks, what the store must sweep, and the changes of `offsets`,
//! `receives` and the history.

use crate::broker::queue::chunk_state::ChunkState;
use crate::model::Ticket;
use crate::store::{Batch, Op};

use super::Lane;

impl Lane {
    /// Whether there are changes to write.
    pub(in crate::broker::queue) fn is_dirty(&self) -> bool {
        self.offsets.is_dirty() || self.receives.is_dirty()
    }

    /// Moves all unwritten changes into `batch`, which will be committed as `ticket`.
    pub(in crate::broker::queue) fn collect(&mut self, ticket: Ticket, batch: &mut Batch) {
        let wrote = self.collect_chunks(ticket, batch);
        let log = self.log;
        for offsets in self.sweeps.drain(..) {
            batch.push(Op::Sweep { log, offsets });
        }
        self.receives.collect(batch);
        self.offsets.collect(self.next, wrote, batch);
        if self.offsets.is_durable()
            && let Some(history) = &mut self.history
        {
            history.collect(self.log, batch);
        }
    }

    /// Closes the open blocks. A block whose messages are all gone is never written. Returns whether any was.
    fn collect_chunks(&mut self, ticket: Ticket, batch: &mut Batch) -> bool {
        let mut index = self
            .blocks
            .iter()
            .rposition(|block| !block.is_open())
            .map_or(0, |last| last + 1);
        let mut wrote = false;
        while let Some(block) = self.blocks.get_mut(index) {
            let settled = block.unsettled == 0;
            let span = block.first..block.end();
            if settled && self.are_gone(span) {
                self.blocks.remove(index);
                continue;
            }
            let Some(block) = self.blocks.get_mut(index) else {
                break;
            };
            if let ChunkState::Open(encoder) = &mut block.chunk {
                batch.push(Op::PutChunk {
                    log: self.log,
                    first: block.first,
                    chunk: encoder.finish(),
                });
                block.chunk = ChunkState::Written(ticket);
                wrote = true;
            }
            if settled {
                self.blocks.remove(index); // only the history needs it, from disk
            } else {
                index += 1;
            }
        }
        wrote
    }
}
