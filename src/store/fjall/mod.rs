//! The store on disk: the log (see [`super::log`]), and a fjall database that follows from it. All queues share three
//! keyspaces. Chunks stay in the log's extents, and the database has their addresses. All this relies on the exact
//! version of fjall that Cargo.toml pins.

mod apply; // applying entries of the log
mod carry_over; // a data directory of an earlier format
mod changes; // the changes of several entries as one write
mod checkpoint; // writing everything that is applied to tables
mod checkpoint_file; // all keys and values after an entry of the log
mod chunks; // finding and reading chunks
mod core; // the database, and its reopening after a failure
mod error; // the database's errors as the store's
mod evacuate; // moving chunks out of sparse extents
mod format; // the format of a data directory
mod found_log; // the log as a start finds it beside the database
mod kept; // what a start could not read
mod keyspaces; // the keyspaces of the database
mod maintenance; // the background thread: sweeping, and freeing space
mod manifest; // the database's manifests, checked and copied
mod member; // the store of a member of a set
mod memtable_sealer; // the thread that seals memtables
mod open; // the open database and its log
mod options;
mod orderly_end; // whether the last run has ended in order
mod pace; // when writers wait for the database
mod rebuild; // a damaged database, built anew
mod recovery; // the logs that a start finds
mod removed_logs; // removed logs and the progress of sweeps
mod repair; // a damaged member begins anew
mod reserve; // space to empty queues on a full disk
mod room; // what the disk has room for
mod seal_signal; // what wakes the thread that seals memtables
mod settled; // what a start finds to sweep
mod snapshot; // what another member lacks, and receives
mod sweep; // removing settled chunks and removed logs
mod unapplied; // entries that are not applied yet
mod verify; // verifying all that is on disk

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub use options::{FjallOptions, MaintenanceOptions};
pub use verify::{Contents, StoppedStore};

use parking_lot::Mutex;
use tracing::debug;

use self::core::Core;
use self::error::failed;
use self::maintenance::Maintenance;
use self::memtable_sealer::MemtableSealer;
use super::dir::{self, DirLock};
use super::verify::{Verified, VerifyStep};
use super::writes::KeyWrites;
use super::{Batch, DefinitionEntry, Identity, Journal, LogState, Store, StoreError, StoredChunk};
use crate::model::LogId;

/// The store in a data directory.
pub struct FjallStore {
    core: Arc<Core>,
    maintenance: Maintenance,
    sealer: MemtableSealer,
    /// What the run before had handed out of each log, if it has ended in order.
    handed_out_before: HashMap<LogId, u64>,
    /// What this one has, once it ends in order.
    handed_out: Mutex<Option<Vec<(LogId, u64)>>>,
    /// Dropped last: another broker may start only after the database is closed.
    _lock: DirLock,
}

impl FjallStore {
    /// Opens or creates the store in a directory, without the unfinished writes that a power loss has left.
    pub fn open(dir: &Path, options: FjallOptions) -> Result<FjallStore, StoreError> {
        let lock = dir::lock(dir)?;
        if Identity::read(dir)?.is_some() {
            return Err(StoreError::InSet {
                dir: dir.to_owned(),
            });
        }
        let store = FjallStore::open_locked(dir, options, lock);
        let store = store.map_err(|error| error.advised(dir))?;
        // It has entered a set, but for its identity.
        if store.core.open()?.vote.is_some() {
            return Err(StoreError::InSet {
                dir: dir.to_owned(),
            });
        }
        Ok(store)
    }

    fn open_locked(
        dir: &Path,
        options: FjallOptions,
        lock: DirLock,
    ) -> Result<FjallStore, StoreError> {
        let core = Arc::new(Core::new(dir, options)?);
        let handed_out_before = core.take_orderly_end()?;
        let remains = core.load_tombs()?;
        let maintenance = Maintenance::start(core.clone(), remains)?;
        let sealer = MemtableSealer::start(core.clone())?;
        let store = FjallStore {
            core,
            maintenance,
            sealer,
            handed_out_before,
            handed_out: Mutex::default(),
            _lock: lock,
        };
        store.count_replayed()?;
        store.sweep_settled()?;
        Ok(store)
    }

    /// Whether every sweep that was asked for has ended.
    #[cfg(test)]
    fn has_swept(&self) -> bool {
        self.maintenance.has_swept()
    }

    /// Tells the background thread what the opening of the database has applied.
    fn count_replayed(&self) -> Result<(), StoreError> {
        let replayed = std::mem::take(&mut *self.core.open()?.replayed.lock());
        self.maintenance.applied(replayed);
        Ok(())
    }

    /// Bytes on disk, the log included.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        let open = self.core.open()?;
        let database = open.spaces.db.disk_space().map_err(failed("measuring"))?;
        Ok(database + open.extents.disk_bytes()?)
    }
}

impl Drop for FjallStore {
    /// Leaves nothing for the next start to do, unless the store has failed.
    fn drop(&mut self) {
        self.maintenance.stop();
        let noted = |()| match &*self.handed_out.lock() {
            Some(handed_out) => self.core.note_orderly_end(handed_out),
            None => Ok(()),
        };
        let ended = self.core.end().and_then(noted);
        if let Err(failure) = ended {
            debug!(%failure, "the next start applies the end of the log");
        }
        self.sealer.stop();
        self.core.close();
        self.core.copy_manifests_now();
    }
}

impl Journal for FjallStore {
    fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        let open = self.core.open()?;
        let mut plan = {
            let removed = self.core.removed.lock();
            KeyWrites::new(batch, |log| removed.dead.contains(log))
        };
        let removed_logs = std::mem::take(&mut plan.removed_logs);
        let writes = plan.into_writes();
        if writes.is_empty() {
            return Ok(());
        }
        open.append(writes)?;
        if !removed_logs.is_empty() {
            self.core.removed.lock().dead.extend(removed_logs);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.core.open()?.log.sync()
    }

    fn apply(&self) -> Result<(), StoreError> {
        let open = self.core.open()?;
        let progress = open.apply()?;
        let overgrown = open.overgrown(&self.core.options).next().is_some();
        drop(open);
        if overgrown {
            self.sealer.wake();
        }
        self.maintenance.applied(progress);
        Ok(())
    }

    fn throttled(&self) -> bool {
        let Ok(open) = self.core.open() else {
            return false; // the append will report the failure
        };
        open.is_throttled(&self.core.options)
    }

    fn free_bytes(&self) -> Option<u64> {
        dir::free_bytes(&self.core.dir)
    }

    fn owed_bytes(&self) -> u64 {
        self.core.memtable_bytes()
    }

    fn has_reserve(&self) -> bool {
        self.core.reserve.is_held()
    }

    fn is_on_reserve(&self) -> bool {
        self.core.reserve.is_spent()
    }

    fn spare(&self) {
        self.maintenance.space_is_short();
    }

    fn ends_in_order(&self, handed_out: Vec<(LogId, u64)>) {
        *self.handed_out.lock() = Some(handed_out);
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.core.reopen()?;
        self.maintenance
            .reopened(self.core.load_tombs()?, self.core.take_undone());
        self.count_replayed()
    }
}

impl Store for FjallStore {
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
        let was_damaged = !self.damage().is_empty();
        for (log, state) in &mut logs {
            state.handed_out_below = self.handed_out_before.get(log).copied();
            open.check_tail(*log, &mut state.record)?;
            if was_damaged {
                open.find_missing(*log, state);
            }
        }
        Ok(logs.into_iter().collect())
    }

    fn definitions(&self, prefix: &[u8]) -> Result<Vec<DefinitionEntry>, StoreError> {
        self.core.open()?.spaces.definitions(prefix)
    }

    fn damage(&self) -> Vec<String> {
        kept::report(&self.core.dir)
    }

    fn verify(&self, step: &mut VerifyStep<'_>) -> Result<Verified, StoreError> {
        self.core.verify(step)
    }

    fn sweep_settled(&self) -> Result<(), StoreError> {
        let open = self.core.open()?;
        *open.unswept.lock() = Some(open.spaces.db.snapshot());
        drop(open);
        self.maintenance.sweep_settled();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
