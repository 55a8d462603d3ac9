//! The database as the store and its background threads share it, and its reopening after a failure.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::fjall::PersistMode;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tracing::warn;

use super::error::failed;
use super::open::OpenDatabase;
use super::options::FjallOptions;
use super::removed_logs::RemovedLogs;
use super::synced::SyncProgress;
use super::{journal_repair, keys, manifest};
use crate::store::{StoreError, dir};

/// The state that the store shares with its background threads.
pub(super) struct Core {
    pub(super) dir: PathBuf,
    pub(super) options: FjallOptions,
    progress: Arc<SyncProgress>,
    /// Whether the manifests are unchanged since they were last copied.
    manifests_copied: AtomicBool,
    open: RwLock<Option<OpenDatabase>>,
    pub(super) removed: Mutex<RemovedLogs>,
}

impl Core {
    /// Opens or creates the database in a data directory, after cutting off writes that a power loss has
    /// torn.
    pub(super) fn new(dir: &Path, options: FjallOptions) -> Result<Core, StoreError> {
        let core = Core {
            dir: dir.to_owned(),
            options,
            progress: Arc::new(SyncProgress::new(dir)),
            manifests_copied: AtomicBool::new(false),
            open: RwLock::default(),
            removed: Mutex::default(),
        };
        core.open_database()?;
        Ok(core)
    }

    /// Closes the database and opens it again from the disk.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        self.close();
        journal_repair::write_again(&self.db_dir())?;
        self.open_database()
    }

    /// The database. [`StoreError::Closed`] after a failure.
    pub(super) fn open(&self) -> Result<OpenGuard<'_>, StoreError> {
        let guard = self.open.read();
        if guard.is_none() {
            return Err(StoreError::Closed);
        }
        Ok(OpenGuard(guard))
    }

    /// Number of removed logs that are not fully swept.
    #[cfg(test)]
    pub(super) fn unswept(&self) -> usize {
        let removed = self.removed.lock();
        removed.dead.len() - removed.swept.len()
    }

    pub(super) fn db_dir(&self) -> PathBuf {
        self.dir.join("db")
    }

    pub(super) fn close(&self) {
        let open = self.open.write().take();
        drop(open);
    }

    fn open_database(&self) -> Result<(), StoreError> {
        let db_dir = self.db_dir();
        let on_damage = self.options.on_damage;
        manifest::check(&self.dir, &db_dir, on_damage)?;
        if db_dir.exists() {
            journal_repair::repair(&self.dir, &db_dir, on_damage)?;
        }
        let open = OpenDatabase::new(&self.dir, &db_dir, &self.options, &self.progress)?;
        if let Some((newest, _)) = dir::journals(&db_dir)?.last() {
            self.progress.saw_journal(*newest);
        }
        self.copy_manifests_now();
        *self.open.write() = Some(open);
        Ok(())
    }

    /// Makes all commits up to now durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        let emptied = open.extents.before_sync();
        let upto = self.progress.before_sync();
        let synced = if cfg!(unix) {
            open.journal.lock().sync().map(Some)
        } else {
            open.db
                .persist(PersistMode::SyncData)
                .map(|()| None)
                .map_err(failed("syncing"))
        };
        open.extents.after_sync(emptied, synced.is_ok())?;
        self.progress.after_sync(upto, synced?);
        Ok(())
    }

    /// Seals the memtables that exceed their maximum, so that the database writes them to tables.
    pub(super) fn seal_overgrown(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        for keyspace in open.overgrown(&self.options) {
            self.manifests_change();
            keyspace.rotate_memtable().map_err(failed("flushing"))?;
        }
        Ok(())
    }

    /// Marks the copy of the manifests as stale. Called before they change.
    fn manifests_change(&self) {
        self.manifests_copied.store(false, Ordering::Relaxed);
    }

    /// Copies the manifests. A failure, such as a full disk, only means that less can be restored after
    /// damage.
    pub(super) fn copy_manifests_now(&self) {
        if let Err(failure) = manifest::copy(&self.dir, &self.db_dir()) {
            warn!(%failure, "cannot copy the manifests");
        }
    }

    /// Whether the copy may be older than the manifests.
    pub(super) fn are_manifests_stale(&self) -> bool {
        !self.manifests_copied.load(Ordering::Relaxed)
    }

    /// Copies the manifests if all sealed memtables have become tables.
    pub(super) fn copy_manifests(&self) {
        // After a failure the reopening copies them.
        if self.is_flushing().is_ok_and(|is_flushing| !is_flushing) {
            self.manifests_copied.store(true, Ordering::Relaxed);
            self.copy_manifests_now();
        }
    }

    /// Seals the memtables of `msgs` and `state`, so that the database writes them to tables.
    pub(super) fn seal_all(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        self.manifests_change();
        for keyspace in [&open.msgs, &open.state] {
            keyspace.rotate_memtable().map_err(failed("flushing"))?;
        }
        Ok(())
    }

    /// Whether sealed memtables wait to become tables.
    pub(super) fn is_flushing(&self) -> Result<bool, StoreError> {
        let open = self.open()?;
        Ok([&open.msgs, &open.state]
            .iter()
            .any(|keyspace| keyspace.sealed_memtable_count() > 0))
    }

    pub(super) fn memtable_bytes(&self) -> u64 {
        self.open().map_or(0, |open| open.db.write_buffer_size())
    }

    /// Whether the disk has room for the memtables.
    pub(super) fn has_room_to_flush(&self) -> bool {
        dir::free_bytes(&self.dir).is_none_or(|free| free > self.memtable_bytes())
    }

    /// Writes a key without content, so that a flush has something to write.
    pub(super) fn touch(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        let writer = open.extents.writer();
        let mut writes = open.batch(2);
        writes.insert(&open.msgs, keys::FLUSH, Bytes::new());
        open.commit(writes, None, &writer)
            .map_err(failed("writing"))
    }
}

/// Keeps the database open while it is in use.
pub(super) struct OpenGuard<'a>(RwLockReadGuard<'a, Option<OpenDatabase>>);

impl std::ops::Deref for OpenGuard<'_> {
    type Target = OpenDatabase;

    #[expect(
        clippy::expect_used,
        reason = "checked when the guard was made, and no writer can close it while the guard is held"
    )]
    fn deref(&self) -> &OpenDatabase {
        self.0.as_ref().expect("open while guarded")
    }
}
