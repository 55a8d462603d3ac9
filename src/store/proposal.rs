//! What one entry of a set's log changes: a batch as writes of keys, that members send each other. Pure.
//!
//! ```text
//! proposal = number of writes u32, write *
//! write    = kind u8, keyspace u8, key length u32, key, put or chunk: length u32, value or chunk
//! ```
//! Little-endian. Chunks of a proposal that was received are slices of the received bytes. Keys and values are copies:
//! they wait in tables of the database, where a slice would keep the whole message in memory.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Batch;
use super::keys::{self, ChunkKey, KeyspaceName};
use super::writes::{Change, KeyWrites, Write};
use crate::model::LogId;

const PUT: u8 = 0;
const REMOVE: u8 = 1;
const PUT_CHUNK: u8 = 2;
const REMOVE_CHUNK: u8 = 3;
const SWEEP: u8 = 4;
/// Kind, keyspace and length of the key.
const FIXED_LEN: usize = 6;
/// Values and chunks from this length on are sent from where they are; shorter ones are copied together.
const COPY_MAX: usize = 4096;

/// What an entry changes. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal(Arc<[Write]>);

impl Proposal {
    /// The changes of a batch, without those of removed logs; and the logs that it removes.
    pub(super) fn of(
        batch: &Batch,
        is_dead: impl Fn(&LogId) -> bool,
    ) -> (Proposal, HashSet<LogId>) {
        let mut plan = KeyWrites::new(batch, is_dead);
        let removed = std::mem::take(&mut plan.removed_logs);
        (Proposal(plan.into_writes().into()), removed)
    }

    /// Replaces the record of the set's members.
    pub fn of_members(members: Vec<u8>) -> Proposal {
        let write = Write {
            space: KeyspaceName::Meta,
            key: Bytes::from_static(keys::MEMBERS),
            change: Change::Put(members.into()),
        };
        Proposal([write].into())
    }

    /// The record of members, if this replaces it.
    pub fn members(&self) -> Option<&Bytes> {
        match &*self.0 {
            [
                Write {
                    space: KeyspaceName::Meta,
                    key,
                    change: Change::Put(members),
                },
            ] if **key == *keys::MEMBERS => Some(members),
            _ => None,
        }
    }

    pub(super) fn from_writes(writes: Vec<Write>) -> Proposal {
        Proposal(writes.into())
    }

    pub(super) fn writes(&self) -> &[Write] {
        &self.0
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Roughly its bytes.
    pub fn weight(&self) -> usize {
        let writes = self.0.iter().map(|write| {
            let value = match &write.change {
                Change::Put(value) | Change::PutChunk(_, _, value) => 4 + value.len(),
                Change::Remove | Change::RemoveChunk(..) | Change::Sweep(..) => 0,
            };
            FIXED_LEN + write.key.len() + value
        });
        4 + writes.sum::<usize>()
    }

    /// Adds its encoding to what is sent.
    pub fn encode(&self, out: &mut Parts) {
        out.open.put_u32_le(length(self.0.len()));
        for Write { space, key, change } in &*self.0 {
            let (kind, value) = match change {
                Change::Put(value) => (PUT, Some(value)),
                Change::Remove => (REMOVE, None),
                Change::PutChunk(_, _, chunk) => (PUT_CHUNK, Some(chunk)),
                Change::RemoveChunk(..) => (REMOVE_CHUNK, None),
                Change::Sweep(..) => (SWEEP, None),
            };
            out.open.put_u8(kind);
            out.open.put_u8(space.code());
            out.open.put_u32_le(length(key.len()));
            out.open.put_slice(key);
            if let Some(value) = value {
                out.open.put_u32_le(length(value.len()));
                out.put(value);
            }
        }
    }

    /// Reads a proposal off the front of these bytes. `None` if they are no proposal.
    pub fn decode(bytes: &mut Bytes) -> Option<Proposal> {
        let count = take_u32(bytes)?;
        let mut writes = Vec::new();
        for _ in 0..count {
            let kind = bytes.try_get_u8().ok()?;
            let space = KeyspaceName::of_code(bytes.try_get_u8().ok()?)?;
            let key = Bytes::copy_from_slice(&take(bytes)?);
            let chunk_key = || match keys::parse_chunk(&key)? {
                ChunkKey::Chunk(log, first) => Some((log, first)),
                ChunkKey::Address(..) => None,
            };
            let change = match kind {
                PUT => Change::Put(Bytes::copy_from_slice(&take(bytes)?)),
                REMOVE => Change::Remove,
                PUT_CHUNK => {
                    let (log, first) = chunk_key()?;
                    Change::PutChunk(log, first, take(bytes)?)
                }
                REMOVE_CHUNK => {
                    let (log, first) = chunk_key()?;
                    Change::RemoveChunk(log, first)
                }
                SWEEP => {
                    let (log, offsets) = keys::parse_sweep(&key)?;
                    Change::Sweep(log, offsets)
                }
                _ => return None,
            };
            writes.push(Write { space, key, change });
        }
        Some(Proposal(writes.into()))
    }
}

/// Bytes that are sent together: small ones copied together, large ones as they are.
#[derive(Debug, Default)]
pub struct Parts {
    done: Vec<Bytes>,
    open: BytesMut,
}

impl Parts {
    /// Adds bytes.
    pub fn put(&mut self, bytes: &Bytes) {
        if bytes.len() < COPY_MAX {
            self.open.put_slice(bytes);
        } else {
            self.close();
            self.done.push(bytes.clone());
        }
    }

    /// Adds bytes by a copy.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.open.put_slice(bytes);
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(self.open.split().freeze());
        }
    }

    pub fn into_parts(mut self) -> Vec<Bytes> {
        self.close();
        self.done
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn take_u32(bytes: &mut Bytes) -> Option<u32> {
    bytes.try_get_u32_le().ok()
}

fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(take_u32(bytes)?).ok()?;
    (len <= bytes.len()).then(|| bytes.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Op;

    fn proposal() -> Proposal {
        let log = LogId(7);
        let chunk = |len| {
            let mut chunk = vec![1, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
            chunk.resize(len, 4);
            chunk.into()
        };
        let put = |first, len| Op::PutChunk {
            log,
            first,
            chunk: chunk(len),
        };
        let batch: Batch = [
            put(1, 20),
            put(2, COPY_MAX + 5),
            Op::RemoveChunk { log, first: 0 },
            Op::Sweep { log, offsets: 3..9 },
            Op::PutDefinition {
                key: b"k".to_vec(),
                value: vec![7; 9],
            },
            Op::RemoveDefinition { key: b"l".to_vec() },
        ]
        .into_iter()
        .collect();
        Proposal::of(&batch, |_| false).0
    }

    fn encoded(proposal: &Proposal) -> Vec<Bytes> {
        let mut parts = Parts::default();
        proposal.encode(&mut parts);
        parts.into_parts()
    }

    #[test]
    fn a_proposal_is_read_as_it_was_sent() {
        let parts = encoded(&proposal());
        assert_eq!(parts.len(), 3, "the large chunk is not copied");
        let whole = Bytes::from(parts.concat());
        assert_eq!(whole.len(), proposal().weight());
        let mut rest = whole.clone();
        assert_eq!(Proposal::decode(&mut rest), Some(proposal()));
        assert!(rest.is_empty());
        for end in 0..whole.len() {
            assert_eq!(Proposal::decode(&mut whole.slice(..end)), None, "{end}");
        }
        for at in 0..whole.len() {
            let mut odd = whole.to_vec();
            odd[at] ^= 0x55;
            let _ = Proposal::decode(&mut odd.into()); // does not panic
        }
    }

    /// A table of the database keeps them for long.
    #[test]
    fn keys_and_values_keep_no_message_in_memory() {
        let whole = Bytes::from(encoded(&proposal()).concat());
        let decoded = Proposal::decode(&mut whole.clone()).unwrap();
        let is_within = |bytes: &Bytes| whole.as_ptr_range().contains(&bytes.as_ptr());
        let mut chunks = 0;
        for write in decoded.writes() {
            assert!(!is_within(&write.key));
            match &write.change {
                Change::Put(value) => assert!(!is_within(value)),
                Change::PutChunk(_, _, chunk) => {
                    assert!(is_within(chunk));
                    chunks += 1;
                }
                Change::Remove | Change::RemoveChunk(..) | Change::Sweep(..) => {}
            }
        }
        assert_eq!(chunks, 2);
    }

    #[test]
    fn members_are_told_from_other_proposals() {
        let members = Proposal::of_members(b"three".to_vec());
        assert_eq!(members.members().unwrap(), &b"three"[..]);
        let mut bytes = Bytes::from(encoded(&members).concat());
        assert_eq!(Proposal::decode(&mut bytes), Some(members));
        assert_eq!(proposal().members(), None);
        assert_eq!(Proposal::default().members(), None);
    }
}
