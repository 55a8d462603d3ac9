//! The address of a chunk in an extent: the database stores it instead of the chunk. Pure.
//!
//! ```text
//! address = version u8, extent u32, position u32, length u32, checksum u64, messages u32, first enqueue time u64
//! ```
//! Little-endian. The checksum is XXH3 of the chunk. The last two fields repeat the chunk's header, so that
//! scans and searches by time read no chunk.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::chunk;

const VERSION: u8 = 1;
/// Length of an encoded address.
const ADDRESS_LEN: usize = 33;

/// Position of a chunk, and a checksum that tells it from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct ChunkAddress {
    pub(super) extent: u32,
    pub(super) at: u32,
    pub(super) len: u32,
    sum: u64,
    /// Messages in the chunk.
    pub(in crate::store) count: u32,
    /// When the first of them was enqueued, in milliseconds on the broker's time line.
    pub(in crate::store) first_ms: u64,
}

impl ChunkAddress {
    /// The address of this chunk. `None` if the chunk is too large for an address, or malformed.
    pub(in crate::store) fn new(extent: u32, at: u32, chunk: &[u8]) -> Option<ChunkAddress> {
        Some(ChunkAddress {
            extent,
            at,
            len: u32::try_from(chunk.len()).ok()?,
            sum: xxh3_64(chunk),
            count: chunk::count(chunk).ok()?,
            first_ms: chunk::first_enqueued_ms(chunk).ok()?,
        })
    }

    pub(in crate::store) fn extent(&self) -> u32 {
        self.extent
    }

    /// Position of its first byte.
    pub(in crate::store) fn start(&self) -> u64 {
        u64::from(self.at)
    }

    /// Length of the chunk in bytes.
    pub(in crate::store) fn bytes(&self) -> u64 {
        u64::from(self.len)
    }

    /// Position after its last byte.
    pub(in crate::store) fn end(&self) -> u64 {
        u64::from(self.at) + u64::from(self.len)
    }

    /// Appends to `chunk` its next part out of `bytes`, which begin at `from` in the extent.
    pub(super) fn take(&self, from: u64, bytes: &[u8], chunk: &mut Vec<u8>) {
        let next = u64::from(self.at) + chunk.len() as u64;
        let Some(Ok(start)) = next.checked_sub(from).map(usize::try_from) else {
            return;
        };
        let left = usize::try_from(self.end() - next).unwrap_or(usize::MAX);
        let end = start.saturating_add(left).min(bytes.len());
        if let Some(part) = bytes.get(start..end) {
            chunk.reserve_exact(left);
            chunk.extend_from_slice(part);
        }
    }

    /// Whether length and checksum fit this chunk.
    pub(in crate::store) fn holds(&self, chunk: &[u8]) -> bool {
        chunk.len() as u64 == self.bytes() && xxh3_64(chunk) == self.sum
    }

    pub(in crate::store) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ADDRESS_LEN);
        out.push(VERSION);
        out.extend_from_slice(&self.extent.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.sum.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.first_ms.to_le_bytes());
        out
    }

    /// The address without its extent, and relative to `at`: as an entry of the log that begins there holds it.
    pub(in crate::store) fn encode_within(&self, at: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(ADDRESS_LEN);
        out.extend_from_slice(&self.at.wrapping_sub(at).to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.sum.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.first_ms.to_le_bytes());
        out
    }

    /// Reads what [`ChunkAddress::encode_within`] wrote.
    pub(in crate::store) fn decode_within(
        extent: u32,
        at: u32,
        bytes: &[u8],
    ) -> Option<ChunkAddress> {
        let head = [&[VERSION][..], &extent.to_le_bytes()].concat();
        let mut address = ChunkAddress::decode(&[&head, bytes].concat())?;
        address.at = address.at.checked_add(at)?;
        Some(address)
    }

    /// Reads what [`ChunkAddress::encode`] wrote; `None` for anything else.
    pub(in crate::store) fn decode(bytes: &[u8]) -> Option<ChunkAddress> {
        let (&version, rest) = bytes.split_first()?;
        let (&extent, rest) = rest.split_first_chunk()?;
        let (&at, rest) = rest.split_first_chunk()?;
        let (&len, rest) = rest.split_first_chunk()?;
        let (&sum, rest) = rest.split_first_chunk()?;
        let (&count, rest) = rest.split_first_chunk()?;
        let (&first_ms, rest) = rest.split_first_chunk()?;
        (version == VERSION && rest.is_empty()).then_some(ChunkAddress {
            extent: u32::from_le_bytes(extent),
            at: u32::from_le_bytes(at),
            len: u32::from_le_bytes(len),
            sum: u64::from_le_bytes(sum),
            count: u32::from_le_bytes(count),
            first_ms: u64::from_le_bytes(first_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_only_what_encode_wrote() {
        let chunk = [&[1, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0][..], b"rest"].concat();
        let address = ChunkAddress::new(7, 4096, &chunk).unwrap();
        assert_eq!((address.len, address.count, address.first_ms), (18, 3, 9));
        let encoded = address.encode();
        assert_eq!(encoded.len(), ADDRESS_LEN);
        assert_eq!(ChunkAddress::decode(&encoded), Some(address));
        assert!(address.holds(&chunk));
        assert!(!address.holds(&chunk[1..]));
        assert_eq!(ChunkAddress::decode(&encoded[1..]), None);
        assert_eq!(ChunkAddress::decode(&[encoded, vec![0]].concat()), None);
        assert_eq!(ChunkAddress::new(7, 4096, b"no chunk"), None);
    }
}
