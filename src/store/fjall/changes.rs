//! The changes of several entries as one write of the database. It gives all of them one sequence number, so only the
//! last change of each key may remain.

use std::collections::HashMap;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use super::error::failed;
use super::keyspaces::{Keyspaces, remove};
use crate::model::LogId;
use crate::store::StoreError;
use crate::store::extents::ChunkAddress;
use crate::store::keys::{self, KeyspaceName};

/// A change of one key.
#[derive(Debug)]
enum Change {
    Put(KeyspaceName, Bytes, Bytes),
    Remove(KeyspaceName, Bytes),
    PutChunk(LogId, u64, ChunkAddress),
    /// Removes the address of a chunk, by its generation.
    RemoveChunk(LogId, u64, u8),
}

/// Changes, one per key.
#[derive(Debug, Default)]
pub(super) struct Changes {
    changes: Vec<Option<Change>>,
    /// Where the change of a key is. Empty for a single entry, whose keys differ.
    places: HashMap<(KeyspaceName, Bytes), usize, Xxh3DefaultBuilder>,
    /// Where the put of a chunk is.
    chunks: HashMap<(LogId, u64), usize, Xxh3DefaultBuilder>,
    are_several: bool,
    changed: [bool; KeyspaceName::ALL.len()],
}

impl Changes {
    /// For the writes of one entry, or of several.
    pub(super) fn of_entries(entries: usize, writes: usize) -> Changes {
        Changes {
            changes: Vec::with_capacity(writes + 1),
            are_several: entries > 1,
            ..Changes::default()
        }
    }

    pub(super) fn put(&mut self, space: KeyspaceName, key: Bytes, value: Bytes) {
        self.forget(space, &key);
        self.push(space, Change::Put(space, key, value));
    }

    pub(super) fn remove(&mut self, space: KeyspaceName, key: Bytes) {
        self.forget(space, &key);
        self.push(space, Change::Remove(space, key));
    }

    pub(super) fn put_chunk(&mut self, log: LogId, first: u64, address: ChunkAddress) {
        if self.are_several {
            self.chunks.insert((log, first), self.changes.len());
        }
        self.push(KeyspaceName::Msgs, Change::PutChunk(log, first, address));
    }

    /// Takes back the put of a chunk. Its address, if it is among the changes.
    pub(super) fn take_chunk(&mut self, log: LogId, first: u64) -> Option<ChunkAddress> {
        let place = self.chunks.remove(&(log, first))?;
        match self.changes.get_mut(place)?.take()? {
            Change::PutChunk(_, _, address) => Some(address),
            Change::Put(..) | Change::Remove(..) | Change::RemoveChunk(..) => None,
        }
    }

    pub(super) fn remove_chunk(&mut self, log: LogId, first: u64, generation: u8) {
        self.push(
            KeyspaceName::Msgs,
            Change::RemoveChunk(log, first, generation),
        );
    }

    /// Writes the changes, and the number of the newest extent if it is given. `index` is the last entry's.
    pub(super) fn commit(
        self,
        spaces: &Keyspaces,
        index: u64,
        extents: Option<u32>,
    ) -> Result<(), StoreError> {
        let mut writes = spaces.batch(self.changes.len() + 4);
        for change in self.changes.into_iter().flatten() {
            match change {
                Change::Put(space, key, value) => writes.insert(spaces.of(space), key, value),
                Change::Remove(space, key) => writes.remove(spaces.of(space), key),
                Change::PutChunk(log, first, address) => {
                    let key = keys::chunk_address(log, first, keys::PUT);
                    writes.insert(&spaces.msgs, key, address.encode());
                }
                Change::RemoveChunk(log, first, generation) => {
                    let key = keys::chunk_address(log, first, generation);
                    remove(&mut writes, &spaces.msgs, &key);
                }
            }
        }
        if let Some(extents) = extents {
            writes.insert(&spaces.meta, keys::EXTENTS, extents.to_le_bytes());
        }
        for (space, changed) in KeyspaceName::ALL.into_iter().zip(self.changed) {
            if changed {
                spaces.note_applied(&mut writes, space, index);
            }
        }
        writes.commit().map_err(failed("applying entries"))
    }

    /// Notes that a keyspace has everything up to the last entry.
    pub(super) fn touch(&mut self, space: KeyspaceName) {
        if let Some(changed) = self.changed.get_mut(usize::from(space.code())) {
            *changed = true;
        }
    }

    fn push(&mut self, space: KeyspaceName, change: Change) {
        self.touch(space);
        self.changes.push(Some(change));
    }

    /// Drops an earlier change of a key.
    fn forget(&mut self, space: KeyspaceName, key: &Bytes) {
        if !self.are_several {
            return;
        }
        let before = self.places.insert((space, key.clone()), self.changes.len());
        if let Some(before) = before.and_then(|at| self.changes.get_mut(at)) {
            *before = None;
        }
    }
}
