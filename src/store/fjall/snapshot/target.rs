//! Writes a snapshot's blocks to a directory of its own.

use std::path::Path;

use super::is_common;
use super::swap::Incoming;
use crate::store::dir::sync_dir;
use crate::store::error::StoreError;
use crate::store::extents::Extents;
use crate::store::fjall::checkpoint_file;
use crate::store::fjall::error::failed;
use crate::store::fjall::format::FORMAT;
use crate::store::fjall::keyspaces::{Keyspaces, two_numbers};
use crate::store::fjall::options::FjallOptions;
use crate::store::keys::{self, KeyspaceName};
use crate::store::log::{Vote, VoteFile};
use crate::store::writes::{Change, Write};
use crate::store::{EntryId, IncomingSnapshot, Proposal};

/// A store that a snapshot fills. Only one exists at a time: the next one removes an unfinished one.
pub struct SnapshotTarget {
    options: FjallOptions,
    spaces: Keyspaces,
    extents: Extents,
    /// The directory that it is in. Dropped last.
    incoming: Incoming,
}

/// A snapshot that is whole and on disk, except for the vote.
pub struct Received {
    id: EntryId,
    seed: u64,
    incoming: Incoming,
}

impl SnapshotTarget {
    /// Begins one in this data directory.
    pub(super) fn begin(dir: &Path, options: FjallOptions) -> Result<SnapshotTarget, StoreError> {
        let incoming = Incoming::begin(dir)?;
        Ok(SnapshotTarget {
            spaces: Keyspaces::open(&incoming.db(), &options)?,
            extents: Extents::open(&incoming.log(), options.extent_bytes, 0)?,
            incoming,
            options,
        })
    }
}

impl IncomingSnapshot for SnapshotTarget {
    type Received = Received;

    fn take(&mut self, block: &Proposal) -> Result<(), StoreError> {
        let spaces = &self.spaces;
        let mut writes = spaces.batch(block.writes().len());
        let mut writer = self.extents.writer();
        for Write { space, key, change } in block.writes() {
            match change {
                Change::Put(value) if is_common(*space, key) => {
                    writes.insert(spaces.of(*space), key.clone(), value.clone());
                }
                Change::PutChunk(log, first, chunk) => {
                    let address = writer.append(chunk)?.ok_or_else(nonsense)?;
                    let key = keys::chunk_address(*log, *first, keys::MOVED);
                    writes.insert(&spaces.msgs, key, address.encode());
                }
                Change::Put(_) | Change::Remove | Change::RemoveChunk(..) | Change::Sweep(..) => {
                    return Err(nonsense());
                }
            }
        }
        writes.commit().map_err(failed("receiving a snapshot"))?;
        spaces.flush_overgrown(&self.options)
    }

    fn finish(self, id: EntryId) -> Result<Received, StoreError> {
        let spaces = &self.spaces;
        self.extents.writer().sync()?;
        let seed = rand::random::<u64>();
        let mut writes = spaces.batch(8);
        for (key, value) in [
            (keys::FORMAT, FORMAT.to_le_bytes().to_vec()),
            (keys::LOG_SEED, seed.to_le_bytes().to_vec()),
            (keys::EXTENTS, self.extents.used().to_le_bytes().to_vec()),
            (keys::BASE, two_numbers(id.term, id.index)),
            (keys::TERM, two_numbers(id.term, id.index)),
        ] {
            writes.insert(&spaces.meta, key, value);
        }
        for space in KeyspaceName::ALL {
            spaces.note_applied(&mut writes, space, id.index);
        }
        writes.commit().map_err(failed("receiving a snapshot"))?;
        spaces.flush()?;
        spaces.sync_names()?;
        let db = self.incoming.db();
        sync_dir(&db.join("keyspaces"))?;
        sync_dir(&db)?;
        let log = self.incoming.log();
        checkpoint_file::write(&log, spaces, &spaces.db.snapshot(), id.index)?;
        let SnapshotTarget { incoming, .. } = self;
        Ok(Received { id, seed, incoming })
    }
}

impl Received {
    /// The last entry that it has.
    pub(super) fn id(&self) -> EntryId {
        self.id
    }

    /// Makes it ready to take the place of the store's files, with this node's vote.
    pub(in crate::store::fjall) fn make_ready(&mut self, vote: Vote) -> Result<(), StoreError> {
        VoteFile::create(&self.incoming.log(), self.seed, vote)?;
        self.incoming.make_ready()
    }
}

fn nonsense() -> StoreError {
    StoreError::Corrupt("a snapshot that makes no sense".to_owned())
}
