//! Changes, and batches of changes: a crash leaves all of a batch or nothing.

use std::ops::Range;

use bytes::Bytes;

use super::page::PageBits;
use super::record::{self, LogRecord, ReceiveRecord, ReturnCount, Segment, StretchRecord};
use crate::model::{LogId, Ticket};

/// Key and value of a definition.
pub type DefinitionEntry = (Vec<u8>, Vec<u8>);

/// One change.
#[derive(Clone, Debug)]
pub enum Op {
    /// Adds a chunk made by [`super::ChunkEncoder`] whose first message has offset `first`. A chunk is put once.
    PutChunk {
        log: LogId,
        /// Offset of the chunk's first message.
        first: u64,
        chunk: Bytes,
    },
    /// Removes a chunk, when all its messages are settled.
    RemoveChunk {
        log: LogId,
        /// Offset of the chunk's first message.
        first: u64,
    },
    /// Removes the chunks that lie wholly in a range, in the background: no read needs them again. For chunks that are
    /// not in memory, so that their queue does not know where they begin.
    Sweep { log: LogId, offsets: Range<u64> },
    /// Creates or replaces the record of a log.
    PutLog { log: LogId, record: LogRecord },
    /// Removes a log: recovery no longer finds it; its chunks and pages go in the background.
    RemoveLog { log: LogId },
    /// Replaces one page of settled offsets.
    PutSettledPage {
        log: LogId,
        /// Page number: offset / [`super::PAGE_OFFSETS`].
        page: u64,
        settled: PageBits,
    },
    /// Removes a page that the floor has passed.
    RemoveSettledPage { log: LogId, page: u64 },
    /// Replaces the return count of a message.
    PutReturnCount {
        log: LogId,
        offset: u64,
        count: ReturnCount,
    },
    /// Removes the return count of a message.
    RemoveReturnCount { log: LogId, offset: u64 },
    /// Creates or replaces the entry of a segment, by its first offset.
    PutSegment { log: LogId, segment: Segment },
    /// Removes the entry of a segment. Its chunks go by the log's floor.
    RemoveSegment { log: LogId, first: u64 },
    /// Adds the record of a receive.
    PutReceive { log: LogId, receive: ReceiveRecord },
    /// Removes the record of a receive: its messages are settled, or were received again.
    RemoveReceive { log: LogId, number: u64 },
    /// Replaces one page of gone offsets, in a log with history.
    PutGonePage {
        log: LogId,
        page: u64,
        gone: PageBits,
    },
    /// Removes a page of gone offsets.
    RemoveGonePage { log: LogId, page: u64 },
    /// Creates or replaces a stretch of history, by its first offset.
    PutStretch {
        log: LogId,
        first: u64,
        stretch: StretchRecord,
    },
    /// Removes a stretch of history.
    RemoveStretch { log: LogId, first: u64 },
    /// Writes a definition.
    PutDefinition { key: Vec<u8>, value: Vec<u8> },
    /// Removes a definition.
    RemoveDefinition { key: Vec<u8> },
}

impl Op {
    /// Roughly the bytes that this change adds to a batch.
    pub fn weight(&self) -> usize {
        const FIXED: usize = 32; // key, lengths and kind
        FIXED
            + match self {
                Op::PutChunk { chunk, .. } => chunk.len(),
                Op::PutSettledPage { settled, .. } => settled.encoded_len(),
                Op::PutGonePage { gone, .. } => gone.encoded_len(),
                Op::PutStretch { .. } => record::STRETCH_LEN,
                Op::PutDefinition { key, value } => key.len() + value.len(),
                Op::RemoveDefinition { key } => key.len(),
                Op::PutLog { .. } => record::LOG_RECORD_LEN,
                Op::PutSegment { .. } => record::SEGMENT_LEN,
                Op::PutReceive { receive, .. } => receive.encoded_len(),
                Op::RemoveChunk { .. }
                | Op::Sweep { .. }
                | Op::RemoveLog { .. }
                | Op::RemoveSettledPage { .. }
                | Op::PutReturnCount { .. }
                | Op::RemoveReturnCount { .. }
                | Op::RemoveSegment { .. }
                | Op::RemoveReceive { .. }
                | Op::RemoveGonePage { .. }
                | Op::RemoveStretch { .. } => 0,
            }
    }
}

/// Changes that are written together. Of two changes of one thing the later holds.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Its number in the order of commits; 0 outside a committer.
    pub ticket: Ticket,
    pub ops: Vec<Op>,
    /// Roughly the bytes in `ops`.
    pub bytes: usize,
}

impl Batch {
    /// Adds a change.
    pub fn push(&mut self, op: Op) {
        self.bytes += op.weight();
        self.ops.push(op);
    }
}

impl FromIterator<Op> for Batch {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Batch {
        let mut batch = Batch::default();
        ops.into_iter().for_each(|op| batch.push(op));
        batch
    }
}
