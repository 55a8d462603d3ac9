//! Chunks on their way to the store: gathered until the next batch takes them.

use crate::model::{LogId, Message};
use crate::store::Op;
use crate::store::chunk::ChunkEncoder;

/// Chunks that no batch has yet, in the order of their offsets.
#[derive(Default)]
pub(super) struct Outbox {
    chunks: Vec<Chunk>,
    /// The next message begins a chunk.
    cut: bool,
}

/// One chunk.
pub(super) struct Chunk {
    pub(super) first: u64,
    /// The offset after its last message.
    pub(super) end: u64,
    encoder: ChunkEncoder,
}

impl Outbox {
    /// Adds a message that counts as enqueued at `enqueued_ms`; true if a chunk begins with it.
    pub(super) fn push(&mut self, offset: u64, enqueued_ms: u64, message: &Message) -> bool {
        let cut = std::mem::take(&mut self.cut);
        let last = self.chunks.last_mut();
        match last.filter(|last| !cut && last.encoder.has_room_for(message.size())) {
            Some(last) => {
                last.encoder.push(enqueued_ms, message);
                last.end = offset + 1;
                false
            }
            None => {
                let mut encoder = ChunkEncoder::new();
                encoder.push(enqueued_ms, message);
                self.chunks.push(Chunk {
                    first: offset,
                    end: offset + 1,
                    encoder,
                });
                true
            }
        }
    }

    /// Messages after this are in other chunks than those before.
    pub(super) fn cut(&mut self) {
        self.cut = true;
    }

    /// Takes out what there is.
    pub(super) fn take(&mut self) -> Vec<Chunk> {
        std::mem::take(&mut self.chunks)
    }
}

impl Chunk {
    /// What puts it into the store.
    pub(super) fn put(mut self, log: LogId) -> Op {
        Op::PutChunk {
            log,
            first: self.first,
            chunk: self.encoder.finish(),
        }
    }
}
