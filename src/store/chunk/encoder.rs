//! Gathers messages into a chunk.

use std::sync::Arc;

use bytes::Bytes;

use super::format::{
    CHUNK_BYTES_MAX, CHUNK_MESSAGES_MAX, COUNT_AT, DEAD_LETTERED, DELAYED, EXPIRES, FAILED,
    HEADER_LEN, PERSISTENT, PRIORITY, SAME_ORIGIN, VERSION,
};
use crate::model::{Message, Origin};

/// Gathers messages into a chunk. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct ChunkEncoder {
    buffer: Vec<u8>,
    count: u32,
    last_ms: u64,
    origin: Option<Arc<Origin>>,
    /// Length of the last chunk, the estimate for the next one.
    expected: usize,
}

impl ChunkEncoder {
    pub fn new() -> ChunkEncoder {
        ChunkEncoder::default()
    }

    /// Number of messages so far.
    pub fn len(&self) -> u32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the chunk should be finished before another message is pushed.
    pub fn is_full(&self) -> bool {
        self.count >= CHUNK_MESSAGES_MAX || self.buffer.len() >= CHUNK_BYTES_MAX
    }

    /// Whether a message of this size fits into the chunk. An empty chunk takes any size.
    pub fn has_room_for(&self, size: usize) -> bool {
        self.is_empty() || (!self.is_full() && self.buffer.len() + size <= CHUNK_BYTES_MAX)
    }

    /// Adds a message that was enqueued at `now_ms`.
    pub fn push(&mut self, now_ms: u64, message: &Message) {
        debug_assert!(
            self.count < CHUNK_MESSAGES_MAX,
            "a full chunk must be finished"
        );
        if self.count == 0 {
            self.start(now_ms, message.size());
        }
        let same_origin = self.origin.as_ref().is_some_and(|origin| {
            Arc::ptr_eq(origin, &message.origin) || **origin == *message.origin
        });
        let mut flags = 0;
        for (bit, on) in [
            (PERSISTENT, message.persistent),
            (EXPIRES, message.expiration_ms.is_some()),
            (DELAYED, message.delay_ms.is_some()),
            (DEAD_LETTERED, message.dead_lettered),
            (PRIORITY, message.priority != 0),
            (FAILED, message.failures != 0),
            (SAME_ORIGIN, same_origin),
        ] {
            if on {
                flags |= bit;
            }
        }
        let out = &mut self.buffer;
        out.push(flags);
        // If the time is before the previous message's, the message gets that one's time.
        put_varint(out, now_ms.saturating_sub(self.last_ms));
        self.last_ms = self.last_ms.max(now_ms);
        if let Some(expiration_ms) = message.expiration_ms {
            put_varint(out, expiration_ms);
        }
        if let Some(delay_ms) = message.delay_ms {
            put_varint(out, delay_ms);
        }
        if message.priority != 0 {
            out.push(message.priority);
        }
        if message.failures != 0 {
            put_varint(out, u64::from(message.failures));
        }
        if !same_origin {
            put_string(out, &message.origin.exchange);
            put_string(out, &message.origin.routing_key);
            self.origin = Some(message.origin.clone());
        }
        put_varint(out, message.properties.len() as u64);
        put_varint(out, message.body.len() as u64);
        out.extend_from_slice(&message.properties);
        for slice in message.body.slices() {
            out.extend_from_slice(slice);
        }
        self.count += 1;
    }

    /// Returns the chunk and empties the encoder.
    pub fn finish(&mut self) -> Bytes {
        let mut chunk = std::mem::take(&mut self.buffer);
        if let Some(field) = chunk.get_mut(COUNT_AT) {
            field.copy_from_slice(&self.count.to_le_bytes());
        }
        self.count = 0;
        self.origin = None;
        self.expected = chunk.len().min(CHUNK_BYTES_MAX);
        // The chunk stays in the store's memtable for a while, and slack there would be uncounted memory.
        if chunk.capacity() - chunk.len() > chunk.len() / 8 {
            chunk.shrink_to_fit();
        }
        Bytes::from(chunk)
    }

    fn start(&mut self, now_ms: u64, size: usize) {
        let room = HEADER_LEN + size + 128;
        self.buffer
            .reserve(room.max(self.expected + self.expected / 16));
        self.buffer.push(VERSION);
        self.buffer.push(0);
        self.buffer.extend_from_slice(&0u32.to_le_bytes());
        self.buffer.extend_from_slice(&now_ms.to_le_bytes());
        self.last_ms = now_ms;
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}
