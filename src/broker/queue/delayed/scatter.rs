//! Decides whether evicted messages lie scattered over the log. They will be read in the order of their
//! times. If too many chunks would be read for that, it pays to write the messages once more in that order.

use std::collections::HashMap;

use crate::store::chunk::CHUNK_BYTES_MAX;

/// Maximum number of chunks that a read in the order of times may alternate between. A queue can have
/// messages with this many different delays without writing any twice.
const INTERLEAVED_MAX: usize = 4;
/// With this many messages per chunk it is cheaper to read small chunks than to write one large chunk.
const MESSAGES_PER_CHUNK_MIN: usize = 8;
/// Chunks count as small if there are this many times as many of them as the bytes need.
const SMALL_CHUNKS: usize = 4;

/// Where a message lies: the first offset of its chunk, and its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    pub(super) chunk: u64,
    pub(super) bytes: u64,
}

/// Whether these messages, given in the order of their times, should be written once more.
pub(super) fn is_scattered(placements: &[Placement]) -> bool {
    // A chunk is wanted from the first to the last of its messages: these are their ranks.
    let mut wanted: HashMap<u64, (usize, usize)> = HashMap::new();
    for (rank, placement) in placements.iter().enumerate() {
        wanted.entry(placement.chunk).or_insert((rank, rank)).1 = rank;
    }
    let spans = wanted.values().map(|(first, last)| last - first + 1);
    let interleaved = spans.sum::<usize>() > INTERLEAVED_MAX * placements.len();
    let bytes: u64 = placements.iter().map(|placement| placement.bytes).sum();
    let fewest = usize::try_from(bytes).unwrap_or(usize::MAX) / CHUNK_BYTES_MAX + 1;
    let small = wanted.len().saturating_mul(MESSAGES_PER_CHUNK_MIN) > placements.len()
        && wanted.len() > SMALL_CHUNKS.saturating_mul(fewest);
    interleaved || small
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` messages of `bytes`; `chunk` says in which chunk the message of each rank lies.
    fn scattered(count: u64, bytes: u64, chunk: impl Fn(u64) -> u64) -> bool {
        let placement = |rank| Placement {
            chunk: chunk(rank),
            bytes,
        };
        is_scattered(&(0..count).map(placement).collect::<Vec<_>>())
    }

    #[test]
    fn messages_in_order_are_not_scattered() {
        for (bytes, per_chunk) in [(100, 500), (1_000, 60), (30_000, 2), (500_000, 1)] {
            assert!(!scattered(4_000, bytes, |rank| rank / per_chunk));
        }
        // Every chunk has messages of three delays, and these are the messages of one.
        assert!(!scattered(3_000, 1_000, |rank| rank / 20));
        // Somewhat out of order.
        assert!(!scattered(4_000, 1_000, |rank| (rank + rank * 31 % 50) / 60));
        assert!(!scattered(0, 0, |_| 0));
        assert!(!scattered(1, 1_000_000, |_| 0));
    }

    #[test]
    fn messages_in_no_order_are_scattered() {
        assert!(scattered(4_000, 100, |rank| rank * 7_919 % 4_001 / 500));
        assert!(scattered(1_000, 1_000, |rank| rank * 7_919 % 1_009 / 60));
    }

    #[test]
    fn messages_in_many_small_chunks_are_scattered() {
        assert!(scattered(4_000, 100, |rank| rank));
        assert!(scattered(4_000, 100, |rank| rank / 4));
        assert!(!scattered(4_000, 100, |rank| rank / 20));
    }
}
