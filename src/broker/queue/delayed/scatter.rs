//! Whether messages that leave memory lie in the store as they will be wanted again, which is in the order of their
//! times; or whether it pays to write them once more, in that order. Pure.

use std::collections::HashMap;

use crate::store::chunk::CHUNK_BYTES_MAX;

/// How many chunks may have to be read in turn, again and again, to read messages in the order of their times. So
/// many kinds of messages, each with its own delay, may go through one queue without being written twice.
const INTERLEAVED_MAX: usize = 4;
/// Messages per chunk from which on it is cheaper to read many small chunks than to write one.
const MESSAGES_PER_CHUNK_MIN: usize = 8;
/// How many times as many chunks as would hold the bytes there are at least if chunks count as small.
const SMALL_CHUNKS: usize = 4;

/// One message: where its chunk begins, and its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) chunk: u64,
    pub(super) bytes: u64,
}

/// Whether these messages, in the order of their times, are scattered over so many chunks that they should be written
/// anew.
pub(super) fn is_scattered(pieces: &[Piece]) -> bool {
    // From the first to the last message of a chunk that chunk is wanted.
    let mut wanted: HashMap<u64, (usize, usize)> = HashMap::new();
    for (rank, piece) in pieces.iter().enumerate() {
        wanted.entry(piece.chunk).or_insert((rank, rank)).1 = rank;
    }
    let spans = wanted.values().map(|(first, last)| last - first + 1);
    let interleaved = spans.sum::<usize>() > INTERLEAVED_MAX * pieces.len();
    let bytes: u64 = pieces.iter().map(|piece| piece.bytes).sum();
    let fewest = usize::try_from(bytes).unwrap_or(usize::MAX) / CHUNK_BYTES_MAX + 1;
    let small = wanted.len().saturating_mul(MESSAGES_PER_CHUNK_MIN) > pieces.len()
        && wanted.len() > SMALL_CHUNKS.saturating_mul(fewest);
    interleaved || small
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` messages of `bytes`; `chunk` says in which chunk the message of each rank lies.
    fn scattered(count: u64, bytes: u64, chunk: impl Fn(u64) -> u64) -> bool {
        let piece = |rank| Piece {
            chunk: chunk(rank),
            bytes,
        };
        is_scattered(&(0..count).map(piece).collect::<Vec<_>>())
    }

    #[test]
    fn what_lies_in_order_is_left_where_it_is() {
        for (bytes, per_chunk) in [(100, 500), (1_000, 60), (30_000, 2), (500_000, 1)] {
            assert!(!scattered(4_000, bytes, |rank| rank / per_chunk));
        }
        // Every chunk has some of each of three delays, and these are of one.
        assert!(!scattered(3_000, 1_000, |rank| rank / 20));
        // Somewhat out of order.
        assert!(!scattered(4_000, 1_000, |rank| (rank + rank * 31 % 50) / 60));
        assert!(!scattered(0, 0, |_| 0));
        assert!(!scattered(1, 1_000_000, |_| 0));
    }

    #[test]
    fn what_lies_in_no_order_is_to_be_written_anew() {
        assert!(scattered(4_000, 100, |rank| rank * 7_919 % 4_001 / 500));
        assert!(scattered(1_000, 1_000, |rank| rank * 7_919 % 1_009 / 60));
    }

    #[test]
    fn small_chunks_are_to_be_written_as_larger_ones() {
        assert!(scattered(4_000, 100, |rank| rank));
        assert!(scattered(4_000, 100, |rank| rank / 4));
        assert!(!scattered(4_000, 100, |rank| rank / 20));
    }
}
