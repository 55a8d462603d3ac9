//! The store on disk, in a fjall database. All queues share three keyspaces. Values are stored apart from
//! keys, so that compaction moves handles and not messages. The chunks of large batches are in extents (see
//! [`super::extents`]). Commits do not sync; [`journal_sync`] syncs the journal. All this relies on the exact
//! version of fjall that Cargo.toml pins.

mod chunks; // finding and reading chunks
mod core; // the database, and its reopening after a failure
mod error; // the database's errors as the store's
mod evacuate; // moving chunks out of sparse extents
mod format; // the format of a data directory
mod journal_repair; // torn and damaged journals
mod journal_scan; // reading the journals
mod journal_sync; // syncing the newest journal
mod keys; // every key on disk
mod maintenance; // the background thread: sweeping, and freeing space
mod manifest; // the database's manifests, checked and copied
mod memtable_sealer; // the thread that seals memtables
mod open; // the open database
mod options;
mod recovery; // the logs that a start finds
mod removed_logs; // removed logs and the progress of sweeps
mod sweep; // removing settled chunks and removed logs
mod synced; // the batches that are known to be synced
mod writes; // a batch as writes of keys, pure

use std::ops::Range;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;

pub use options::{FjallOptions, MaintenanceOptions};

use ::fjall::AbstractTree;

use self::core::Core;
use self::error::failed;
use self::maintenance::Maintenance;
use self::memtable_sealer::MemtableSealer;
use self::open::SEALED_MEMTABLES_MAX;
use self::writes::{Change, KeyWrites, KeyspaceName};
use super::dir::{self, DirLock};
use super::{Batch, DefinitionEntry, LogState, Store, StoreError, StoredChunk};
use crate::model::LogId;

/// Smaller chunks of a large batch stay in the database: they are not worth an entry for their address.
const EXTENT_CHUNK_MIN: usize = 2048;
/// Commits wait when the active memtable exceeds its size by this factor because the database's worker is
/// busy.
const MEMTABLE_OVERSHOOT_MAX: u64 = 2;

/// The store in a data directory.
pub struct FjallStore {
    core: Arc<Core>,
    maintenance: Maintenance,
    sealer: MemtableSealer,
    /// Dropped last: another broker may start only after the database is closed.
    _lock: DirLock,
}

impl FjallStore {
    /// Opens or creates the store in a directory, after cutting off writes that a power loss has torn.
    pub fn open(dir: &Path, options: FjallOptions) -> Result<FjallStore, StoreError> {
        let lock = dir::lock(dir)?;
        // The database may panic on malformed bytes.
        let opened = catch_unwind(|| FjallStore::open_locked(dir, options, lock));
        match opened {
            Ok(Err(error)) => Err(error.advised(dir)),
            Ok(opened) => opened,
            Err(_) => Err(StoreError::Database {
                doing: "opening the database",
                reason: "it has panicked".to_owned(),
            }
            .advised(dir)),
        }
    }

    fn open_locked(
        dir: &Path,
        options: FjallOptions,
        lock: DirLock,
    ) -> Result<FjallStore, StoreError> {
        let core = Arc::new(Core::new(dir, options)?);
        let remains = core.load_tombs()?;
        let maintenance = Maintenance::start(core.clone(), options.maintenance, remains)?;
        let sealer = MemtableSealer::start(core.clone())?;
        Ok(FjallStore {
            core,
            maintenance,
            sealer,
            _lock: lock,
        })
    }

    /// Bytes on disk, journals and extents included.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        let open = self.core.open()?;
        let database = open.db.disk_space().map_err(failed("measuring"))?;
        Ok(database + open.extents.disk_bytes()?)
    }
}

impl Drop for FjallStore {
    fn drop(&mut self) {
        self.maintenance.stop();
        self.sealer.stop();
        self.core.close();
        self.core.copy_manifests_now();
    }
}

impl Store for FjallStore {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let open = self.core.open()?;
        if batch.ticket.0 != 0 && batch.ticket.0 <= open.survived {
            return Ok(()); // the reopened database has it
        }
        let mut writer = open.extents.writer();
        let plan = KeyWrites::new(batch, &self.core.removed.lock().dead);
        let (removed_logs, removed_chunks) = (plan.removed_logs.clone(), plan.removed_chunks);
        let mut writes = open.batch(batch.ops.len() + 1);
        let to_extent = batch.bytes >= self.core.options.extent_batch_bytes;
        let mut released = Vec::new();
        for write in plan.into_writes() {
            let space = match write.space {
                KeyspaceName::Msgs => &open.msgs,
                KeyspaceName::State => &open.state,
                KeyspaceName::Meta => &open.meta,
            };
            match write.change {
                Change::PutChunk(log, first, chunk) => {
                    let worth = to_extent && chunk.len() >= EXTENT_CHUNK_MIN;
                    let address = if worth { writer.append(&chunk)? } else { None };
                    match address {
                        Some(address) => {
                            writes.insert(
                                space,
                                keys::chunk_address(log, first, keys::PUT),
                                address.encode(),
                            );
                        }
                        None => writes.insert(space, write.key, chunk),
                    }
                }
                Change::RemoveChunk(log, first) => match open.address_of(log, first)? {
                    Some((generation, address)) => {
                        chunks::remove(
                            &mut writes,
                            space,
                            &keys::chunk_address(log, first, generation),
                        );
                        released.push(address);
                    }
                    None => writes.remove_weak(space, write.key),
                },
                Change::Put(value) => writes.insert(space, write.key, value),
                Change::Remove => writes.remove(space, write.key),
            }
        }
        writer.sync()?;
        open.note_extents(&mut writes, &writer);
        open.commit(writes, Some(batch.ticket), &writer)
            .map_err(failed("committing"))?;
        open.extents.released(&released);
        drop(writer);
        let overgrown = open.overgrown(&self.core.options).next().is_some();
        drop(open);
        if overgrown {
            self.sealer.wake();
        }
        if !removed_logs.is_empty() {
            self.core.removed.lock().dead.extend(&removed_logs);
        }
        self.maintenance
            .committed(batch.bytes, removed_chunks, removed_logs);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.core.sync()
    }

    fn read(
        &self,
        log: LogId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<StoredChunk>, StoreError> {
        self.core.open()?.read(log, from, max_bytes)
    }

    fn logs(&self) -> Result<Vec<(LogId, LogState)>, StoreError> {
        let open = self.core.open()?;
        let mut logs = open.load_logs()?;
        for (log, state) in &mut logs {
            open.check_tail(*log, &mut state.record)?;
        }
        Ok(logs.into_iter().collect())
    }

    fn definitions(&self, prefix: &[u8]) -> Result<Vec<DefinitionEntry>, StoreError> {
        let open = self.core.open()?;
        let mut found = Vec::new();
        for entry in open.meta.prefix(keys::definition(prefix)) {
            let (key, value) = entry.into_inner().map_err(failed("reading definitions"))?;
            let key = key.get(1..).unwrap_or_default().to_vec();
            found.push((key, value.to_vec()));
        }
        Ok(found)
    }

    fn sweep(&self, log: LogId, below: u64, max: usize) -> Result<bool, StoreError> {
        self.core.sweep(log, below, max)
    }

    fn sweep_range(
        &self,
        log: LogId,
        range: Range<u64>,
        max: usize,
    ) -> Result<Option<u64>, StoreError> {
        let (next, removed) = self.core.sweep_range(log, range, max)?;
        self.maintenance.committed(0, removed, Vec::new());
        Ok(next)
    }

    fn throttled(&self) -> bool {
        let Ok(open) = self.core.open() else {
            return false; // the commit will report the failure
        };
        let overgrown = self.core.options.msgs_memtable_bytes * MEMTABLE_OVERSHOOT_MAX;
        open.msgs.sealed_memtable_count() >= SEALED_MEMTABLES_MAX
            || open.state.sealed_memtable_count() >= SEALED_MEMTABLES_MAX
            || open.msgs.tree.active_memtable().size() > overgrown
    }

    fn free_bytes(&self) -> Option<u64> {
        dir::free_bytes(&self.core.dir)
    }

    fn owed_bytes(&self) -> u64 {
        self.core.memtable_bytes()
    }

    fn spare(&self) {
        self.maintenance.space_is_short();
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.core.reopen()?;
        self.maintenance.reopened(self.core.load_tombs()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
