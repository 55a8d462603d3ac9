//! The encoding of the log's entries. Pure.
//!
//! ```text
//! entry  = head, chunk *, zeros up to a whole page, copy of the head, length of the head u32, magic u32
//! head   = header, write *
//! header = magic u32, version u8, 0 u8 * 3, length of header and writes u32, pages of the entry u32,
//!          generation u64, term u64, index u64, durable u64, checksum of the entry before u64, checksum u64
//! write  = kind u8, keyspace u8, key length u32, key (sweep: log, first offset, end, u64 big-endian each),
//!          put: value length u32, value
//!          put chunk: position in the entry u32, length u32, checksum u64, messages u32, first enqueue time u64
//! ```
//! Little-endian. An entry is one batch. Its checksum covers header and writes, and each chunk has one of its own
//! among the writes, so a replay reads no chunks. The checksum is XXH3 with the log's secret seed: a client cannot
//! publish bytes that pass for an entry. The copy of the head at the end of the last page stands in for a damaged head.

use std::ops::Range;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::model::LogId;
use crate::store::extents::ChunkAddress;
use crate::store::keys::{self, KeyspaceName};
use crate::store::writes::{Change, Write};

const MAGIC: u32 = u32::from_le_bytes(*b"LVE\x01");
const VERSION: u8 = 1;
/// Length of what follows the copy of the head.
pub(super) const FOOTER_LEN: usize = 8;
const FOOTER_MAGIC: u32 = u32::from_le_bytes(*b"EVL\x01");
/// Length of a header.
pub(super) const HEADER_LEN: usize = 64;
/// Where the header's checksum begins. It is the last field.
const SUM_AT: usize = HEADER_LEN - 8;

const PUT: u8 = 0;
const REMOVE: u8 = 1;
const PUT_CHUNK: u8 = 2;
const REMOVE_CHUNK: u8 = 3;
const SWEEP: u8 = 4;
/// Kind, keyspace and key length of a write.
const WRITE_FIXED_LEN: usize = 6;
/// Position, length, checksum, messages and first enqueue time of a chunk.
const CHUNK_FIELDS_LEN: usize = 28;

/// The fixed fields of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Length of header and writes.
    pub(super) head_len: u32,
    /// Length of the entry in pages.
    pub(super) pages: u32,
    /// Tells in a set which of two entries was written later; see [`super::id::Written`].
    pub(super) generation: u64,
    /// Number of the opening of the log that wrote the entry, which grows with each; in a set Raft's.
    pub(super) term: u64,
    /// Position in the order of entries, from 1 on without gaps.
    pub(super) index: u64,
    /// The last entry that was on disk for certain when this one was written.
    pub(super) durable: u64,
    /// Checksum of the entry before.
    pub(super) previous: u64,
    /// Checksum of the fields above and of the writes.
    pub(super) sum: u64,
}

impl Header {
    /// Reads a header. `None` unless it can be one; its checksum is not verified.
    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        let rest = &mut &*bytes;
        let magic = u32::from_le_bytes(take(rest)?);
        let [version, zeros @ ..] = take::<4>(rest)?;
        let head_len = u32::from_le_bytes(take(rest)?);
        let pages = u32::from_le_bytes(take(rest)?);
        let [generation, term, index, durable, previous, sum] = [
            take(rest)?,
            take(rest)?,
            take(rest)?,
            take(rest)?,
            take(rest)?,
            take(rest)?,
        ]
        .map(u64::from_le_bytes);
        let sane = magic == MAGIC
            && version == VERSION
            && zeros == [0; 3]
            && head_len as usize >= HEADER_LEN
            && index > 0;
        sane.then_some(Header {
            head_len,
            pages,
            generation,
            term,
            index,
            durable,
            previous,
            sum,
        })
    }

    fn encode(&self, out: &mut [u8]) {
        let fields = [
            &MAGIC.to_le_bytes()[..],
            &[VERSION, 0, 0, 0],
            &self.head_len.to_le_bytes(),
            &self.pages.to_le_bytes(),
            &self.generation.to_le_bytes(),
            &self.term.to_le_bytes(),
            &self.index.to_le_bytes(),
            &self.durable.to_le_bytes(),
            &self.previous.to_le_bytes(),
            &self.sum.to_le_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            if let Some(room) = out.get_mut(at..at + field.len()) {
                room.copy_from_slice(field);
            }
            at += field.len();
        }
    }
}

/// The checksum of a head: header and writes. Skips the field of the checksum itself.
pub(super) fn sum_of(seed: u64, head: &[u8]) -> u64 {
    let mut hash = Xxh3::with_seed(seed);
    hash.update(head.get(..SUM_AT).unwrap_or_default());
    hash.update(head.get(HEADER_LEN..).unwrap_or_default());
    hash.digest()
}

/// A write of an entry. A chunk is stood for by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum EntryWrite {
    Put {
        space: KeyspaceName,
        key: Bytes,
        value: Bytes,
    },
    Remove {
        space: KeyspaceName,
        key: Bytes,
    },
    PutChunk {
        log: LogId,
        first: u64,
        address: ChunkAddress,
    },
    RemoveChunk {
        log: LogId,
        first: u64,
    },
    Sweep {
        log: LogId,
        offsets: Range<u64>,
    },
}

/// Length of the head of an entry with these writes.
pub(super) fn head_len(writes: &[Write]) -> usize {
    let lens = writes.iter().map(|write| {
        let rest = match &write.change {
            Change::Put(value) => 4 + value.len(),
            Change::PutChunk(..) => CHUNK_FIELDS_LEN,
            Change::Remove | Change::RemoveChunk(..) | Change::Sweep(..) => 0,
        };
        WRITE_FIXED_LEN + write.key.len() + rest
    });
    HEADER_LEN + lens.sum::<usize>()
}

/// Encodes header and writes into `head`. `addresses` are those of the chunks that are put, in order; the entry begins
/// at `at` in its extent. Returns the checksum.
pub(super) fn encode_head(
    seed: u64,
    mut header: Header,
    writes: &[Write],
    addresses: &[ChunkAddress],
    at: u32,
    head: &mut Vec<u8>,
) -> u64 {
    let mut addresses = addresses.iter();
    let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    head.clear();
    head.resize(HEADER_LEN, 0);
    for Write { space, key, change } in writes {
        let kind = match change {
            Change::Put(_) => PUT,
            Change::Remove => REMOVE,
            Change::PutChunk(..) => PUT_CHUNK,
            Change::RemoveChunk(..) => REMOVE_CHUNK,
            Change::Sweep(..) => SWEEP,
        };
        head.extend([kind, space.code()]);
        head.extend(number(key.len()));
        head.extend_from_slice(key);
        match change {
            Change::Put(value) => {
                head.extend(number(value.len()));
                head.extend_from_slice(value);
            }
            Change::PutChunk(..) => {
                if let Some(address) = addresses.next() {
                    head.extend(address.encode_within(at));
                }
            }
            Change::Remove | Change::RemoveChunk(..) | Change::Sweep(..) => {}
        }
    }
    header.encode(head);
    header.sum = sum_of(seed, head);
    header.encode(head);
    header.sum
}

/// The writes as they are applied: with addresses in place of chunks.
pub(super) fn with_addresses(writes: Vec<Write>, addresses: &[ChunkAddress]) -> Vec<EntryWrite> {
    let mut addresses = addresses.iter().copied();
    let applied = writes
        .into_iter()
        .filter_map(|Write { space, key, change }| {
            Some(match change {
                Change::Put(value) => EntryWrite::Put { space, key, value },
                Change::Remove => EntryWrite::Remove { space, key },
                Change::PutChunk(log, first, _) => EntryWrite::PutChunk {
                    log,
                    first,
                    address: addresses.next()?,
                },
                Change::RemoveChunk(log, first) => EntryWrite::RemoveChunk { log, first },
                Change::Sweep(log, offsets) => EntryWrite::Sweep { log, offsets },
            })
        });
    applied.collect()
}

/// What ends an entry whose head has this length.
pub(super) fn footer(head_len: u32) -> [u8; FOOTER_LEN] {
    let mut bytes = head_len
        .to_le_bytes()
        .into_iter()
        .chain(FOOTER_MAGIC.to_le_bytes());
    std::array::from_fn(|_| bytes.next().unwrap_or(0))
}

/// The length of the head whose copy ends before this footer.
pub(super) fn decode_footer(bytes: &[u8]) -> Option<usize> {
    let rest = &mut &*bytes;
    let len = u32::from_le_bytes(take(rest)?);
    let magic = u32::from_le_bytes(take(rest)?);
    (magic == FOOTER_MAGIC && len as usize >= HEADER_LEN).then_some(len as usize)
}

/// Reads the writes of a head whose checksum is right. `None` if this release cannot have written them.
pub(super) fn decode_writes(head: &[u8], extent: u32, at: u32) -> Option<Vec<EntryWrite>> {
    let rest = &mut head.get(HEADER_LEN..)?;
    let mut writes = Vec::new();
    while !rest.is_empty() {
        let [kind, space] = take(rest)?;
        let space = KeyspaceName::of_code(space)?;
        let key = slice(rest)?;
        let chunk = || numbers(key).map(|[log, first]| (LogId(log), first));
        writes.push(match kind {
            PUT => EntryWrite::Put {
                space,
                key: Bytes::copy_from_slice(key),
                value: Bytes::copy_from_slice(slice(rest)?),
            },
            REMOVE => EntryWrite::Remove {
                space,
                key: Bytes::copy_from_slice(key),
            },
            PUT_CHUNK => {
                let (log, first) = chunk()?;
                let fields = take::<CHUNK_FIELDS_LEN>(rest)?;
                EntryWrite::PutChunk {
                    log,
                    first,
                    address: ChunkAddress::decode_within(extent, at, &fields)?,
                }
            }
            REMOVE_CHUNK => {
                let (log, first) = chunk()?;
                EntryWrite::RemoveChunk { log, first }
            }
            SWEEP => {
                let [log, start, end] = numbers(key)?;
                EntryWrite::Sweep {
                    log: LogId(log),
                    offsets: start..end,
                }
            }
            _ => return None,
        });
    }
    Some(writes)
}

/// The big-endian numbers that a key consists of.
fn numbers<const N: usize>(key: &[u8]) -> Option<[u64; N]> {
    let (numbers, rest) = key.as_chunks::<8>();
    let numbers: &[[u8; 8]; N] = numbers.try_into().ok()?;
    rest.is_empty().then(|| numbers.map(u64::from_be_bytes))
}

/// The writes of a whole entry that begins at `at`, with its chunks. `None` if a chunk is damaged, or if this release
/// cannot have written the entry.
pub(super) fn decode_whole(head: &[u8], entry: &Bytes, extent: u32, at: u32) -> Option<Vec<Write>> {
    let put = |space, key: Bytes, change| Write { space, key, change };
    let key = |log, first| Bytes::copy_from_slice(&keys::chunk(log, first));
    let whole = decode_writes(head, extent, at)?.into_iter().map(|write| {
        Some(match write {
            EntryWrite::Put { space, key, value } => put(space, key, Change::Put(value)),
            EntryWrite::Remove { space, key } => put(space, key, Change::Remove),
            EntryWrite::PutChunk {
                log,
                first,
                address,
            } => {
                let from = usize::try_from(address.start().checked_sub(u64::from(at))?).ok()?;
                let to = from + usize::try_from(address.bytes()).ok()?;
                let chunk = (to <= entry.len()).then(|| entry.slice(from..to))?;
                let change = address.holds(&chunk).then_some(chunk)?;
                let change = Change::PutChunk(log, first, change);
                put(KeyspaceName::Msgs, key(log, first), change)
            }
            EntryWrite::RemoveChunk { log, first } => {
                let change = Change::RemoveChunk(log, first);
                put(KeyspaceName::Msgs, key(log, first), change)
            }
            EntryWrite::Sweep { log, offsets } => {
                let key = Bytes::copy_from_slice(&keys::sweep(log, &offsets));
                put(KeyspaceName::Msgs, key, Change::Sweep(log, offsets))
            }
        })
    });
    whole.collect()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (found, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*found)
}

fn slice<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let (found, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::keys::KeyspaceName::{Meta, Msgs, State};

    fn write(space: KeyspaceName, key: &[u8], change: Change) -> Write {
        Write {
            space,
            key: Bytes::copy_from_slice(key),
            change,
        }
    }

    fn chunk() -> Bytes {
        Bytes::from_static(&[1, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5])
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let log = LogId(7);
        let writes = vec![
            write(Meta, b"mx", Change::Put(Bytes::from_static(b"value"))),
            write(State, b"gone", Change::Remove),
            write(
                Msgs,
                &keys::chunk(log, 5),
                Change::PutChunk(log, 5, chunk()),
            ),
            write(Msgs, &keys::chunk(log, 2), Change::RemoveChunk(log, 2)),
            write(Msgs, &keys::sweep(log, &(2..9)), Change::Sweep(log, 2..9)),
        ];
        let len = head_len(&writes);
        let address = ChunkAddress::new(3, 8192 + 500, &chunk()).unwrap();
        let header = Header {
            head_len: u32::try_from(len).unwrap(),
            pages: 1,
            generation: 4,
            term: 2,
            index: 9,
            durable: 8,
            previous: 77,
            sum: 0,
        };
        let mut head = Vec::new();
        let sum = encode_head(11, header, &writes, &[address], 8192, &mut head);
        let applied = with_addresses(writes, &[address]);
        assert_eq!(head.len(), len);
        assert_eq!(decode_footer(&footer(header.head_len)), Some(len));
        let found = Header::decode(&head).unwrap();
        assert_eq!(found, Header { sum, ..header });
        assert_eq!(sum_of(11, &head), sum);
        assert_ne!(sum_of(12, &head), sum, "another log's");
        assert_eq!(decode_writes(&head, 3, 8192), Some(applied));
        for at in 0..len {
            let mut hurt = head.clone();
            hurt[at] ^= 4;
            let seen = Header::decode(&hurt).is_some_and(|it| it.sum == sum_of(11, &hurt));
            assert!(!seen, "a flipped bit of byte {at}");
            let _ = decode_writes(&hurt, 3, 8192); // does not panic
        }
        for end in 0..len {
            let _ = decode_writes(&head[..end], 3, 8192);
            assert_eq!(Header::decode(&head[..end.min(63)]), None);
        }
    }
}
