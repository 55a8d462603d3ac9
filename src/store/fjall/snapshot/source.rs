//! Reads a snapshot in blocks.

use std::collections::VecDeque;
use std::sync::Arc;

use ::fjall::{Iter, Readable};
use bytes::Bytes;
use tracing::error;

use super::{BLOCK_BYTES, is_common};
use crate::model::LogId;
use crate::store::extents::{ChunkAddress, Extents, Held};
use crate::store::fjall::FjallStore;
use crate::store::fjall::error::{decode_address, failed};
use crate::store::keys::{self, ChunkKey, KeyspaceName};
use crate::store::writes::{Change, Write};
use crate::store::{EntryId, OutgoingSnapshot, Proposal, StoreError};

/// What a member's store held after an entry. While it exists no extent is used again, so it must not be kept for long.
pub struct SnapshotSource {
    id: EntryId,
    members: Option<Vec<u8>>,
    leaves_out: bool,
    extents: Arc<Extents>,
    _held: Held,
    /// What is still to be read.
    left: VecDeque<(KeyspaceName, Iter)>,
}

impl FjallStore {
    /// What this member's store holds now.
    pub(in crate::store::fjall) fn snapshot_now(&self) -> Result<SnapshotSource, StoreError> {
        let open = self.core.open()?;
        let applied = open.changing();
        let held = open.extents.hold();
        let snapshot = open.spaces.db.snapshot();
        let id = EntryId {
            term: applied.term.unwrap_or(0),
            index: applied.index,
        };
        drop(applied);
        let members = snapshot.get(&open.spaces.meta, keys::MEMBERS);
        let members = members.map_err(failed("reading a snapshot"))?;
        let iters = KeyspaceName::ALL.map(|space| (space, snapshot.iter(open.spaces.of(space))));
        Ok(SnapshotSource {
            id,
            members: members.map(|members| members.to_vec()),
            leaves_out: false,
            extents: open.extents.clone(),
            _held: held,
            left: iters.into(),
        })
    }
}

impl OutgoingSnapshot for SnapshotSource {
    fn id(&self) -> EntryId {
        self.id
    }

    fn members(&self) -> Option<&[u8]> {
        self.members.as_deref()
    }

    fn leave_out_damaged(&mut self) {
        self.leaves_out = true;
    }

    fn next_block(&mut self) -> Result<Option<Proposal>, StoreError> {
        let mut writes = Vec::new();
        let mut chunks = Vec::new();
        let mut bytes = 0;
        while bytes < BLOCK_BYTES
            && let Some((space, iter)) = self.left.front_mut()
        {
            let space = *space;
            let Some(entry) = iter.next() else {
                self.left.pop_front();
                continue;
            };
            let (key, value) = entry.into_inner().map_err(failed("reading a snapshot"))?;
            if !is_common(space, &key) {
                continue;
            }
            if let (KeyspaceName::Msgs, Some(ChunkKey::Address(log, first, _))) =
                (space, keys::parse_chunk(&key))
            {
                let address = decode_address(log, &value)?;
                bytes += usize::try_from(address.bytes()).unwrap_or(usize::MAX);
                chunks.push((log, first, address));
            } else {
                bytes += key.len() + value.len();
                writes.push(Write {
                    space,
                    key: Bytes::copy_from_slice(&key),
                    change: Change::Put(Bytes::copy_from_slice(&value)),
                });
            }
        }
        self.read_chunks(&chunks, &mut writes)?;
        let is_end = writes.is_empty() && self.left.is_empty();
        Ok((!is_end).then(|| Proposal::from_writes(writes)))
    }
}

impl SnapshotSource {
    fn read_chunks(
        &self,
        chunks: &[(LogId, u64, ChunkAddress)],
        writes: &mut Vec<Write>,
    ) -> Result<(), StoreError> {
        let addresses: Vec<ChunkAddress> = chunks.iter().map(|(.., address)| *address).collect();
        for ((log, first, _), chunk) in chunks.iter().zip(self.extents.read(&addresses)?) {
            let (log, first) = (*log, *first);
            let Some(chunk) = chunk else {
                if !self.leaves_out {
                    return Err(StoreError::Unreadable {
                        offsets: first..first + 1,
                        reason: format!("a chunk of log {} is damaged", log.0),
                    });
                }
                error!(
                    log = log.0,
                    first, "a damaged chunk cannot be copied to another node"
                );
                continue;
            };
            writes.push(Write {
                space: KeyspaceName::Msgs,
                key: Bytes::copy_from_slice(&keys::chunk(log, first)),
                change: Change::PutChunk(log, first, chunk),
            });
        }
        Ok(())
    }
}
