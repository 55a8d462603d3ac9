//! What the store and its background threads share: the database, which is opened anew after a failure.

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

/// What the store and its background thread share.
pub(super) struct Core {
    pub(super) dir: PathBuf,
    pub(super) options: FjallOptions,
    progress: Arc<SyncProgress>,
    /// The copy of the manifests is as they were when last looked at.
    manifests_copied: AtomicBool,
    open: RwLock<Option<OpenDatabase>>,
    pub(super) removed: Mutex<RemovedLogs>,
}

impl Core {
    /// Opens or creates the database in a data directory, after repairing what a power loss has torn.
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

    /// Closes the database and opens it from what is on disk.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        self.close();
        journal_repair::write_again(&self.db_dir())?;
        self.open_database()
    }

    /// The database, unless it is closed after a failure.
    pub(super) fn open(&self) -> Result<OpenGuard<'_>, StoreError> {
        let guard = self.open.read();
        if guard.is_none() {
            return Err(StoreError::Closed);
        }
        Ok(OpenGuard(guard))
    }

    /// Removed logs with something left.
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

    /// Makes everything durable that is committed.
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

    /// Seals the memtables that have outgrown their size, so that they go to tables.
    pub(super) fn seal_overgrown(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        for keyspace in open.overgrown(&self.options) {
            self.manifests_change();
            keyspace.rotate_memtable().map_err(failed("flushing"))?;
        }
        Ok(())
    }

    /// The manifests are about to change: the copy of them is to be written anew.
    fn manifests_change(&self) {
        self.manifests_copied.store(false, Ordering::Relaxed);
    }

    /// Copies the manifests. Without a fresh copy less can be restored, no more: a full disk stops nobody here.
    pub(super) fn copy_manifests_now(&self) {
        if let Err(failure) = manifest::copy(&self.dir, &self.db_dir()) {
            warn!(%failure, "cannot copy the manifests");
        }
    }

    /// Whether the copy of the manifests may be older than they are.
    pub(super) fn are_manifests_stale(&self) -> bool {
        !self.manifests_copied.load(Ordering::Relaxed)
    }

    /// Copies the manifests, once what was sealed has become tables.
    pub(super) fn copy_manifests(&self) {
        // A database that has failed is opened again, which copies them too.
        if self.is_flushing().is_ok_and(|is_flushing| !is_flushing) {
            self.manifests_copied.store(true, Ordering::Relaxed);
            self.copy_manifests_now();
        }
    }

    /// Seals what memtables hold, so that it goes to tables.
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

    /// Bytes of memtables.
    pub(super) fn memtable_bytes(&self) -> u64 {
        self.open().map_or(0, |open| open.db.write_buffer_size())
    }

    /// Whether what is in memory fits on the disk.
    pub(super) fn has_room_to_flush(&self) -> bool {
        dir::free_bytes(&self.dir).is_none_or(|free| free > self.memtable_bytes())
    }

    /// Writes something, so that a flush has something to write.
    pub(super) fn touch(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        let writer = open.extents.writer();
        let mut writes = open.batch(2);
        writes.insert(&open.msgs, keys::FLUSH, Bytes::new());
        open.commit(writes, None, &writer)
            .map_err(failed("writing"))
    }
}

/// The open database while it is in use.
pub(super) struct OpenGuard<'a>(RwLockReadGuard<'a, Option<OpenDatabase>>);

impl std::ops::Deref for OpenGuard<'_> {
    type Target = OpenDatabase;

    #[expect(
        clippy::expect_used,
        reason = "checked when the guard was made, and nobody writes while it is held"
    )]
    fn deref(&self) -> &OpenDatabase {
        self.0.as_ref().expect("open while guarded")
    }
}
