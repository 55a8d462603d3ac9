//! The versioned encoding of chunks: messages of one log that one group commit writes. Pure.
//!
//! ```text
//! chunk   = version u8, flags u8 (0), count u32, first enqueue time u64 (ms), message * count
//! message = flags u8, time since the previous message, [expiration], [delay], [priority u8], [failures],
//!           [exchange, routing key], properties length, body length, properties, body
//! ```
//! Fixed integers are little-endian; times and lengths are LEB128 variable-length integers, so a typical
//! small message has 6 bytes of overhead. Times are on the broker's time line. A message omits exchange and
//! routing key if they equal those of the message before. The encoder copies a body once; the reader returns
//! it as a slice of the chunk.

mod encoder;
mod format;
mod reader;
#[cfg(test)]
mod tests;

pub use encoder::ChunkEncoder;
pub use format::{CHUNK_BYTES_MAX, CHUNK_MESSAGES_MAX, ChunkError, PAGE, count, first_enqueued_ms};
pub use reader::{ChunkReader, StoredMessage, decode};
