//! Gathers messages into a chunk.

use std::sync::Arc;

use bytes::Bytes;

use super::format::{
    CHUNK_BYTES_MAX, CHUNK_MESSAGES_MAX, COUNT_AT, DEAD_LETTERED, DELAYED, EXPIRES, FAILED,
    HEADER_LEN, PAGE, PERSISTENT, PRIORITY, SAME_ORIGIN, VERSION,
};
use crate::model::{Message, Origin};

/// Room for a message besides its properties and body. With long names it takes more.
const MESSAGE_OVERHEAD: usize = 128;
/// A chunk of this length is large.
const LARGE_BYTES: usize = 32 * 1024;

/// Gathers messages into a chunk. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct ChunkEncoder {
    buffer: Vec<u8>,
    /// Where the chunk begins in the buffer: that of a large chunk begins at a page.
    begins: usize,
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
        self.buffer.len() - self.begins
    }

    /// Whether the chunk should be finished before another message is pushed.
    pub fn is_full(&self) -> bool {
        self.count >= CHUNK_MESSAGES_MAX || self.bytes() >= CHUNK_BYTES_MAX
    }

    /// Whether a message of this size fits into the chunk. An empty chunk takes any size.
    pub fn has_room_for(&self, size: usize) -> bool {
        self.is_empty() || (!self.is_full() && self.bytes() + size <= CHUNK_BYTES_MAX)
    }

    /// Adds a message that was enqueued at `now_ms`.
    pub fn push(&mut self, now_ms: u64, message: &Message) {
        debug_assert!(
            self.count < CHUNK_MESSAGES_MAX,
            "a full chunk must be finished"
        );
        let room = message.size() + MESSAGE_OVERHEAD;
        if self.count == 0 {
            self.start(now_ms, room);
        }
        self.make_room(room);
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
        let begins = std::mem::take(&mut self.begins);
        let mut chunk = std::mem::take(&mut self.buffer);
        let count_at = begins + COUNT_AT.start..begins + COUNT_AT.end;
        if let Some(field) = chunk.get_mut(count_at) {
            field.copy_from_slice(&self.count.to_le_bytes());
        }
        self.count = 0;
        self.origin = None;
        let len = chunk.len() - begins;
        self.expected = len.min(CHUNK_BYTES_MAX);
        // The chunk waits for its sync, and slack would be uncounted memory.
        let slack = chunk.capacity() - len;
        match len >= LARGE_BYTES {
            true if slack <= len / 2 => {}
            false if slack <= len / 8 => {}
            true | false => {
                chunk.drain(..begins);
                chunk.shrink_to_fit();
                return Bytes::from(chunk);
            }
        }
        Bytes::from(chunk).slice(begins..)
    }

    fn start(&mut self, now_ms: u64, room: usize) {
        let expected = self.expected + self.expected / 16;
        self.make_room(expected.max(HEADER_LEN + room));
        self.buffer.push(VERSION);
        self.buffer.push(0);
        self.buffer.extend_from_slice(&0u32.to_le_bytes());
        self.buffer.extend_from_slice(&now_ms.to_le_bytes());
        self.last_ms = now_ms;
    }

    /// Makes room for `more` bytes. A chunk that becomes large begins at a page in memory, so that the log writes it
    /// from there.
    fn make_room(&mut self, more: usize) {
        let len = self.bytes();
        if self.buffer.capacity() - self.buffer.len() >= more {
            return;
        }
        let needed = (len + more).max(2 * len);
        if needed < LARGE_BYTES {
            self.buffer.reserve(needed - len);
            return;
        }
        let mut large: Vec<u8> = Vec::with_capacity((len + more).max(CHUNK_BYTES_MAX) + PAGE);
        let begins = large.as_ptr().align_offset(PAGE).min(PAGE);
        large.resize(begins, 0);
        large.extend_from_slice(self.buffer.get(self.begins..).unwrap_or_default());
        self.buffer = large;
        self.begins = begins;
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
