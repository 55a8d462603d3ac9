//! Chunks of the delayed log that are gathered until the next batch takes them.

use crate::model::{LogId, Message};
use crate::store::Op;
use crate::store::chunk::ChunkEncoder;

/// The open chunks, in the order of their offsets.
#[derive(Default)]
pub(super) struct OpenChunks {
    chunks: Vec<OpenChunk>,
    /// The next message begins a chunk.
    is_cut: bool,
}

pub(super) struct OpenChunk {
    pub(super) first: u64,
    /// The offset after its last message.
    pub(super) end: u64,
    encoder: ChunkEncoder,
}

impl OpenChunks {
    /// Adds a message that counts as enqueued at `enqueued_ms`. True if a chunk begins with it.
    pub(super) fn push(&mut self, offset: u64, enqueued_ms: u64, message: &Message) -> bool {
        let is_cut = std::mem::take(&mut self.is_cut);
        let last = self.chunks.last_mut();
        match last.filter(|last| !is_cut && last.encoder.has_room_for(message.size())) {
            Some(last) => {
                last.encoder.push(enqueued_ms, message);
                last.end = offset + 1;
                false
            }
            None => {
                let mut encoder = ChunkEncoder::new();
                encoder.push(enqueued_ms, message);
                self.chunks.push(OpenChunk {
                    first: offset,
                    end: offset + 1,
                    encoder,
                });
                true
            }
        }
    }

    /// The next message begins a chunk.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Takes out all chunks.
    pub(super) fn take(&mut self) -> Vec<OpenChunk> {
        std::mem::take(&mut self.chunks)
    }
}

impl OpenChunk {
    /// The operation that writes it.
    pub(super) fn put(mut self, log: LogId) -> Op {
        Op::PutChunk {
            log,
            first: self.first,
            chunk: self.encoder.finish(),
        }
    }
}
