//! Every key on disk. Numbers are big-endian, so that keys sort as offsets do.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `msgs` | log u64, first offset u64 | a chunk of a directory of format 2, until it is carried over |
//! | `msgs` | log u64, first offset u64, generation u8 | address of the chunk in an extent; see [`chunk_address`] |
//! | `msgs` | 17 bytes 0xff | last applied entry of the log, u64; in format 2 the note of the last batch |
//! | `state` | `L`, log u64 | log record |
//! | `state` | `P`, log u64, page u64 | settled page |
//! | `state` | `C`, log u64, offset u64 | delivery count |
//! | `state` | `S`, log u64, first offset u64 | segment |
//! | `state` | `H`, log u64, number u64 | receive |
//! | `state` | `G`, log u64, page u64 | gone page, in a log with history |
//! | `state` | `M`, log u64, first offset u64 | stretch record, in a log with history |
//! | `state` | `T`, log u64 | tombstone of a removed log that is not fully swept |
//! | `state`, `meta` | `!applied` | last applied entry of the log, u64 |
//! | `meta` | `!log` | seed of the log's checksums, u64 |
//! | `meta` | `!carry` | nothing; chunks of format 2 are left to be carried over |
//! | `meta` | `!base` | in a set: entry up to which the log is purged, term u64, index u64 |
//! | `meta` | `!term` | in a set: term of the last applied entry u64, first applied entry of that term u64 |
//! | `meta` | `!members` | in a set: its members |
//! | `meta` | `!format` | format of the data directory, u32 |
//! | `meta` | `!extents` | number after the newest extent, u32 |
//! | `meta` | `m`, any bytes | definition |

use std::ops::{Bound, Range, RangeInclusive};

use crate::model::LogId;

/// The keyspace of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyspaceName {
    /// Chunks.
    Msgs,
    /// Records of logs: log record, pages, counts, segments, receives, stretches.
    State,
    /// Definitions.
    Meta,
}

impl KeyspaceName {
    /// All, by their numbers.
    pub(super) const ALL: [KeyspaceName; 3] =
        [KeyspaceName::Msgs, KeyspaceName::State, KeyspaceName::Meta];

    /// Its number in the log.
    pub(super) fn code(self) -> u8 {
        match self {
            KeyspaceName::Msgs => 0,
            KeyspaceName::State => 1,
            KeyspaceName::Meta => 2,
        }
    }

    /// The keyspace of a number in the log.
    pub(super) fn of_code(code: u8) -> Option<KeyspaceName> {
        match code {
            0 => Some(KeyspaceName::Msgs),
            1 => Some(KeyspaceName::State),
            2 => Some(KeyspaceName::Meta),
            _ => None,
        }
    }
}

/// Prefix of log records in `state`.
pub(super) const RECORD: u8 = b'L';
/// Prefix of settled pages in `state`.
pub(super) const SETTLED_PAGE: u8 = b'P';
/// Prefix of delivery counts in `state`.
pub(super) const RETURN_COUNT: u8 = b'C';
/// Prefix of segments in `state`.
pub(super) const SEGMENT: u8 = b'S';
/// Prefix of receives in `state`.
pub(super) const RECEIVE: u8 = b'H';
/// Prefix of gone pages in `state`.
pub(super) const GONE_PAGE: u8 = b'G';
/// Prefix of stretch records in `state`.
pub(super) const STRETCH: u8 = b'M';
/// Prefixes of the keys of a log in `state` that have a page, offset or number.
pub(super) const PARTS: [u8; 6] = [
    SETTLED_PAGE,
    RETURN_COUNT,
    SEGMENT,
    RECEIVE,
    GONE_PAGE,
    STRETCH,
];
/// Prefix of tombstones of removed logs in `state`.
pub(super) const TOMB: u8 = b'T';
/// Prefix of definitions in `meta`.
pub(super) const DEFINITION: u8 = b'm';
/// Key in `meta` of the data directory's format.
pub(super) const FORMAT: &[u8] = b"!format";
/// Key in `meta` of the number after the newest extent.
pub(super) const EXTENTS: &[u8] = b"!extents";
/// Key in `msgs` of the last applied entry. It sorts after every chunk, since no log has the highest id.
pub(super) const LAST_BATCH: [u8; 17] = [0xff; 17];

/// Key in `state` and `meta` of the last applied entry.
const APPLIED: &[u8] = b"!applied";
/// Key in `meta` of the seed of the log's checksums.
pub(super) const LOG_SEED: &[u8] = b"!log";
/// Key in `meta` that exists while chunks of format 2 are left.
pub(super) const CARRY: &[u8] = b"!carry";

/// Key in `meta` of the entry up to which a member's log is purged, as of a checkpoint. Only members have it.
pub(super) const BASE: &[u8] = b"!base";
/// Key in `meta` of the term of the last applied entry of a member.
pub(super) const TERM: &[u8] = b"!term";
/// Key in `meta` of the members of the set.
pub(super) const MEMBERS: &[u8] = b"!members";

/// Key of the last applied entry.
pub(super) fn applied(space: KeyspaceName) -> &'static [u8] {
    match space {
        KeyspaceName::Msgs => &LAST_BATCH,
        KeyspaceName::State | KeyspaceName::Meta => APPLIED,
    }
}

/// The removed log, if this is the key of a tombstone.
pub(super) fn tomb_of(space: KeyspaceName, key: &[u8]) -> Option<LogId> {
    match space {
        KeyspaceName::State => {
            let (prefix, log, _) = parse_state(key)?;
            (prefix == TOMB).then_some(log)
        }
        KeyspaceName::Msgs | KeyspaceName::Meta => None,
    }
}

/// Key of a chunk in `msgs`.
pub(super) fn chunk(log: LogId, first: u64) -> [u8; 16] {
    join(log.0.to_be_bytes(), first.to_be_bytes())
}

/// Generation of a chunk's first address. Its key is put once and removed once, like a chunk's key.
pub(super) const PUT: u8 = 0;
/// Generation of the address of a moved chunk. Each further move overwrites its key.
pub(super) const MOVED: u8 = 1;

/// Key of a chunk's address in `msgs`.
pub(super) fn chunk_address(log: LogId, first: u64, generation: u8) -> [u8; 17] {
    join(chunk(log, first), [generation])
}

/// A key in `msgs` that leads to a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkKey {
    /// The chunk itself.
    Chunk(LogId, u64),
    /// The chunk's address, with its generation.
    Address(LogId, u64, u8),
}

/// Reads a key in `msgs`. `None` unless it is the key of a chunk or of its address.
pub(super) fn parse_chunk(key: &[u8]) -> Option<ChunkKey> {
    let (&log, rest) = key.split_first_chunk()?;
    let (&first, rest) = rest.split_first_chunk()?;
    let (log, first) = (LogId(u64::from_be_bytes(log)), u64::from_be_bytes(first));
    match rest {
        [] => Some(ChunkKey::Chunk(log, first)),
        [generation @ (PUT | MOVED)] => Some(ChunkKey::Address(log, first, *generation)),
        _ => None,
    }
}

/// Whether a key in `msgs` is that of a chunk's address. [`LAST_BATCH`] has the same length, but is none.
pub(super) fn is_chunk_address(key: &[u8]) -> bool {
    matches!(parse_chunk(key), Some(ChunkKey::Address(..)))
}

/// What stands for a sweep among the keys of an entry of the log. No keyspace has it.
pub(super) fn sweep(log: LogId, offsets: &Range<u64>) -> [u8; 24] {
    join(chunk(log, offsets.start), offsets.end.to_be_bytes())
}

/// Log and offsets of a sweep.
pub(super) fn parse_sweep(key: &[u8]) -> Option<(LogId, Range<u64>)> {
    let (numbers, []) = key.as_chunks::<8>() else {
        return None;
    };
    let [log, start, end] = numbers else {
        return None;
    };
    let [log, start, end] = [log, start, end].map(|number| u64::from_be_bytes(*number));
    Some((LogId(log), start..end))
}

/// Range of the keys of a log's chunks, and of their addresses, with these first offsets.
pub(super) fn chunks(log: LogId, firsts: RangeInclusive<u64>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let last = chunk_address(log, *firsts.end(), u8::MAX);
    (
        Bound::Included(chunk(log, *firsts.start()).to_vec()),
        Bound::Included(last.to_vec()),
    )
}

/// Key of a log's record or tombstone in `state`.
pub(super) fn of_log(prefix: u8, log: LogId) -> [u8; 9] {
    join([prefix], log.0.to_be_bytes())
}

/// Key of a log's page, count, segment, receive or stretch in `state`.
pub(super) fn of_part(prefix: u8, log: LogId, part: u64) -> [u8; 17] {
    join(of_log(prefix, log), part.to_be_bytes())
}

/// Prefix, log and part of a key in `state`; keys of records and tombstones have no part.
pub(super) fn parse_state(key: &[u8]) -> Option<(u8, LogId, Option<u64>)> {
    let (&prefix, rest) = key.split_first()?;
    let (log, rest) = rest.split_first_chunk::<8>()?;
    let log = LogId(u64::from_be_bytes(*log));
    match (prefix, rest) {
        (RECORD | TOMB, []) => Some((prefix, log, None)),
        (SETTLED_PAGE | RETURN_COUNT | SEGMENT | RECEIVE | GONE_PAGE | STRETCH, part) => {
            let part = part.try_into().ok().map(u64::from_be_bytes)?;
            Some((prefix, log, Some(part)))
        }
        _ => None,
    }
}

/// Key of a definition in `meta`.
pub(super) fn definition(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(DEFINITION);
    out.extend_from_slice(key);
    out
}

fn join<const A: usize, const B: usize, const C: usize>(left: [u8; A], right: [u8; B]) -> [u8; C] {
    const { assert!(A + B == C) }
    let mut bytes = left.into_iter().chain(right);
    std::array::from_fn(|_| bytes.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::ops::RangeBounds;

    use super::*;

    #[test]
    fn keys_sort_by_log_and_offset() {
        let keys = [
            chunk(LogId(1), 0),
            chunk(LogId(1), 255),
            chunk(LogId(1), 256),
            chunk(LogId(2), 0),
            chunk(LogId(u64::MAX - 1), u64::MAX),
        ];
        assert!(keys.is_sorted());
        assert!(keys.iter().all(|key| key[..] < LAST_BATCH[..]));
    }

    #[test]
    fn an_address_sorts_with_its_chunk() {
        let log = LogId(1);
        let keys = [
            &chunk(log, 7)[..],
            &chunk_address(log, 7, 0),
            &chunk_address(log, 7, 1),
            &chunk(log, 8),
        ];
        assert!(keys.is_sorted());
        let range = chunks(log, 7..=7);
        let within = keys.map(|key| RangeBounds::contains(&range, &key.to_vec()));
        assert_eq!(within, [true, true, true, false]);
        assert_eq!(parse_chunk(keys[0]), Some(ChunkKey::Chunk(log, 7)));
        assert_eq!(parse_chunk(keys[2]), Some(ChunkKey::Address(log, 7, 1)));
        for odd in [&LAST_BATCH[..], &keys[0][1..], &chunk_address(log, 7, 2)] {
            assert_eq!(parse_chunk(odd), None, "{odd:?}");
        }
        assert!(
            is_chunk_address(keys[1])
                && !is_chunk_address(keys[0])
                && !is_chunk_address(&LAST_BATCH)
        );
    }

    #[test]
    fn state_keys_are_read_back() {
        let log = LogId(0x0102_0304_0506_0708);
        assert_eq!(parse_state(&of_log(RECORD, log)), Some((RECORD, log, None)));
        assert_eq!(
            parse_state(&of_part(RETURN_COUNT, log, 9)),
            Some((RETURN_COUNT, log, Some(9)))
        );
        for odd in [
            &b""[..],
            b"L",
            b"L1234567",
            b"Lx12345678",
            b"P12345678",
            b"Z12345678",
        ] {
            assert_eq!(parse_state(odd), None, "{odd:?}");
        }
    }
}
