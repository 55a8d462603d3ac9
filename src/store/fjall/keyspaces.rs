//! The keyspaces of the database: how they open, and what they know of the log.

use std::io::ErrorKind;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ::fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch,
    PersistMode,
};

use super::error::{decode_address, failed};
use super::options::{FjallOptions, MIB, places_keyspace, small_keyspace};
use crate::model::LogId;
use crate::store::dir::{free_bytes, sync_dir};
use crate::store::error::io_error;
use crate::store::extents::ChunkAddress;
use crate::store::keys::{self, ChunkKey, KeyspaceName};
use crate::store::{DefinitionEntry, EntryId, StoreError};

/// Interval of the checks whether memtables have become tables.
const FLUSH_LOOK: Duration = Duration::from_millis(1);

/// The keyspaces of the database.
pub(super) struct Keyspaces {
    pub(super) msgs: Keyspace,
    pub(super) state: Keyspace,
    pub(super) meta: Keyspace,
    pub(super) db: Database,
}

impl Keyspaces {
    /// Opens or creates the database.
    pub(super) fn open(db_dir: &Path, options: &FjallOptions) -> Result<Keyspaces, StoreError> {
        let db = Database::builder(db_dir)
            .cache_size(options.cache_bytes)
            .max_cached_files(Some(options.cached_files))
            .journal_compression(CompressionType::None)
            .max_journaling_size(options.journal_bytes_max.max(64 * MIB))
            // A second worker would spin while the first one works, and there is little to compact.
            .worker_threads(1)
            .open()
            .map_err(failed("opening the database"))?;
        let keyspace = |name, create: KeyspaceCreateOptions| {
            db.keyspace(name, || create)
                .map_err(failed("opening the database"))
        };
        Ok(Keyspaces {
            meta: keyspace("meta", small_keyspace())?,
            state: keyspace("state", small_keyspace())?,
            msgs: keyspace("msgs", places_keyspace())?,
            db,
        })
    }

    pub(super) fn all(&self) -> [&Keyspace; 3] {
        [&self.msgs, &self.state, &self.meta]
    }

    pub(super) fn of(&self, space: KeyspaceName) -> &Keyspace {
        match space {
            KeyspaceName::Msgs => &self.msgs,
            KeyspaceName::State => &self.state,
            KeyspaceName::Meta => &self.meta,
        }
    }

    /// The seed of the log's checksums. `None` if it is lost.
    pub(super) fn log_seed(&self) -> Result<Option<u64>, StoreError> {
        let seed = self.meta.get(keys::LOG_SEED).map_err(failed("reading"))?;
        Ok(seed
            .and_then(|seed| (*seed).try_into().ok())
            .map(u64::from_le_bytes))
    }

    /// The entry up to which the log of a member is purged. `None` outside a set.
    pub(super) fn base(&self) -> Result<Option<EntryId>, StoreError> {
        self.two_numbers(keys::BASE)
            .map(|found| found.map(|(term, index)| EntryId { term, index }))
    }

    /// The term of the last entry that is applied to `meta`, and the first applied entry of that term.
    pub(super) fn term(&self) -> Result<Option<(u64, u64)>, StoreError> {
        self.two_numbers(keys::TERM)
    }

    fn two_numbers(&self, key: &[u8]) -> Result<Option<(u64, u64)>, StoreError> {
        let value = self.meta.get(key).map_err(failed("reading"))?;
        Ok(value.and_then(|value| {
            let (first, second) = value.split_at_checked(8)?;
            let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
            Some((number(first)?, number(second)?))
        }))
    }

    /// The number after the newest extent, as the database knows it.
    pub(super) fn extents_used(&self) -> Result<u32, StoreError> {
        let used = self.meta.get(keys::EXTENTS).map_err(failed("reading"))?;
        Ok(used
            .and_then(|used| (*used).try_into().ok())
            .map_or(0, u32::from_le_bytes))
    }

    /// The last entry that is applied to a keyspace.
    pub(super) fn applied(&self, space: KeyspaceName) -> Result<u64, StoreError> {
        let value = self.of(space).get(keys::applied(space));
        let value = value.map_err(failed("reading"))?;
        Ok(value
            .and_then(|value| (*value).try_into().ok())
            .map_or(0, u64::from_le_bytes))
    }

    /// Adds the last applied entry to the writes for a keyspace.
    pub(super) fn note_applied(
        &self,
        writes: &mut OwnedWriteBatch,
        space: KeyspaceName,
        index: u64,
    ) {
        let (space, key) = (self.of(space), keys::applied(space));
        writes.insert(space, key, index.to_le_bytes());
    }

    /// A batch that the database does not write to the disk: the log already has its changes, or nothing needs them.
    pub(super) fn batch(&self, capacity: usize) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.db.clone(), capacity).durability(None)
    }

    /// Makes the names of the tables and manifests durable.
    pub(super) fn sync_names(&self) -> Result<(), StoreError> {
        for keyspace in self.all() {
            sync_dir(&keyspace.path().join("tables"))?;
            sync_dir(keyspace.path())?;
        }
        Ok(())
    }

    /// Seals all memtables and waits until they have become tables.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        for keyspace in self.all() {
            keyspace.rotate_memtable().map_err(failed("flushing"))?;
        }
        self.wait_for_flush(|| false).map(drop)
    }

    /// Waits until the sealed memtables have become tables. Gives up when `stop` holds; false then. Fails if the database
    /// could not write a table: it writes none any more.
    pub(super) fn wait_for_flush(&self, stop: impl Fn() -> bool) -> Result<bool, StoreError> {
        while self.is_flushing() {
            if stop() {
                return Ok(false);
            }
            self.check_flushes()?;
            thread::sleep(FLUSH_LOOK);
        }
        Ok(true)
    }

    /// Seals the memtables that exceed their maximum, and waits until they have become tables.
    pub(super) fn flush_overgrown(&self, options: &FjallOptions) -> Result<(), StoreError> {
        let mut any = false;
        for (space, max) in options.memtable_limits() {
            let keyspace = self.of(space);
            if keyspace.tree.active_memtable().size() > max {
                keyspace.rotate_memtable().map_err(failed("flushing"))?;
                any = true;
            }
        }
        if any {
            self.wait_for_flush(|| false)?;
        }
        Ok(())
    }

    /// Fails if the database has failed to write. It tells so only to the next one who writes.
    pub(super) fn check_flushes(&self) -> Result<(), StoreError> {
        let Err(error) = self.db.persist(PersistMode::Buffer) else {
            return Ok(());
        };
        let path = self.meta.path();
        let is_full = free_bytes(path).is_some_and(|free| free < self.db.write_buffer_size());
        match is_full {
            true => Err(io_error(
                "writing tables in",
                path,
                ErrorKind::StorageFull.into(),
            )),
            false => Err(failed("writing tables")(error)),
        }
    }

    /// Whether sealed memtables wait to become tables.
    pub(super) fn is_flushing(&self) -> bool {
        let mut all = self.all().into_iter();
        all.any(|keyspace| keyspace.sealed_memtable_count() > 0)
    }

    /// The definitions whose key starts with `prefix`, in key order.
    pub(super) fn definitions(&self, prefix: &[u8]) -> Result<Vec<DefinitionEntry>, StoreError> {
        let mut found = Vec::new();
        for entry in self.meta.prefix(keys::definition(prefix)) {
            let (key, value) = entry.into_inner().map_err(failed("reading definitions"))?;
            let key = key.get(1..).unwrap_or_default().to_vec();
            found.push((key, value.to_vec()));
        }
        Ok(found)
    }

    /// The address of a chunk, and the address's generation.
    pub(super) fn address_of(
        &self,
        log: LogId,
        first: u64,
    ) -> Result<Option<(u8, ChunkAddress)>, StoreError> {
        for generation in [keys::PUT, keys::MOVED] {
            let key = keys::chunk_address(log, first, generation);
            if let Some(value) = self.msgs.get(key).map_err(failed("reading"))? {
                return Ok(Some((generation, decode_address(log, &value)?)));
            }
        }
        Ok(None)
    }
}

/// The value of a key that holds two numbers.
pub(super) fn two_numbers(first: u64, second: u64) -> Vec<u8> {
    [first.to_le_bytes(), second.to_le_bytes()].concat()
}

/// Removes the key of a chunk or of its address. A weak removal cancels a single put that is still in memory,
/// and neither reaches a table. A key that may have been put several times needs a full removal, or else an
/// older value would return.
pub(super) fn remove(writes: &mut OwnedWriteBatch, msgs: &Keyspace, key: &[u8]) {
    match keys::parse_chunk(key) {
        Some(ChunkKey::Address(_, _, keys::MOVED)) => writes.remove(msgs, key),
        Some(ChunkKey::Address(..) | ChunkKey::Chunk(..)) | None => writes.remove_weak(msgs, key),
    }
}
