//! The fixed parts of a chunk: its header, the flags of its messages, its maximum size.

use std::ops::Range;

/// A chunk with this many bytes is finished. A larger message gets a chunk of its own.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Length of a page, the unit of writes past the page cache.
pub const PAGE: usize = 4096;
/// Maximum number of messages in a chunk. Readers rely on it to find the chunk of an offset.
pub const CHUNK_MESSAGES_MAX: u32 = 4096;

pub(super) const VERSION: u8 = 1;
pub(super) const HEADER_LEN: usize = 14;
pub(super) const COUNT_AT: Range<usize> = 2..6;

pub(super) const PERSISTENT: u8 = 1;
pub(super) const EXPIRES: u8 = 1 << 1;
pub(super) const PRIORITY: u8 = 1 << 2;
pub(super) const SAME_ORIGIN: u8 = 1 << 3;
pub(super) const DELAYED: u8 = 1 << 4;
pub(super) const DEAD_LETTERED: u8 = 1 << 5;
pub(super) const FAILED: u8 = 1 << 6;
pub(super) const KNOWN_FLAGS: u8 =
    PERSISTENT | EXPIRES | PRIORITY | SAME_ORIGIN | DELAYED | DEAD_LETTERED | FAILED;

/// A chunk that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A version that this release does not know.
    #[error("chunk version {0} is not known")]
    Version(u8),
    /// The chunk ends too early.
    #[error("chunk is cut short")]
    Short,
    /// A field has an impossible value.
    #[error("chunk is malformed")]
    Malformed,
}

/// Number of messages according to a chunk's header.
pub fn count(data: &[u8]) -> Result<u32, ChunkError> {
    Header::read(data).map(|header| header.count)
}

/// When the first message of a chunk was enqueued, in milliseconds on the broker's time line.
pub fn first_enqueued_ms(data: &[u8]) -> Result<u64, ChunkError> {
    Header::read(data).map(|header| header.first_ms)
}

pub(super) struct Header {
    pub(super) count: u32,
    pub(super) first_ms: u64,
}

impl Header {
    pub(super) fn read(data: &[u8]) -> Result<Header, ChunkError> {
        let (&header, _) = data
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(ChunkError::Short)?;
        let [version, flags, c0, c1, c2, c3, time @ ..] = header;
        if version != VERSION {
            return Err(ChunkError::Version(version));
        }
        if flags != 0 {
            return Err(ChunkError::Malformed);
        }
        Ok(Header {
            count: u32::from_le_bytes([c0, c1, c2, c3]),
            first_ms: u64::from_le_bytes(time),
        })
    }
}
