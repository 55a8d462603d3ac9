//! The versioned encoding of chunks: the messages that one log got in one group commit. Pure.
//!
//! ```text
//! chunk   = version u8, flags u8 (0), count u32, first enqueue time u64 (ms since the epoch), message * count
//! message = flags u8, time since the previous message, [expiration], [delay], [priority u8], [failures],
//!           [exchange, routing key], properties length, body length, properties, body
//! ```
//! Fixed integers are little-endian; times and lengths are LEB128 variable-length integers, so the
//! usual small message costs 6 bytes beyond its content. Exchange and routing key are left out when they are those
//! of the message before. A body is copied once, here, and decoded as a slice of the chunk.

mod encoder;
mod format;
mod reader;
#[cfg(test)]
mod tests;

pub use encoder::ChunkEncoder;
pub use format::{CHUNK_BYTES_MAX, CHUNK_MESSAGES_MAX, ChunkError, count, first_enqueued_ms};
pub use reader::{ChunkReader, StoredMessage, decode};
