//! The database as the store and its background threads share it, and its reopening after a failure.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tracing::warn;

use super::error::{OpenFailure, failed, has_panicked};
use super::open::{LOG_DIR, OpenDatabase};
use super::options::FjallOptions;
use super::removed_logs::RemovedLogs;
use super::reserve::Reserve;
use super::seal_signal::SealSignal;
use super::snapshot::{Received, swap};
use super::{carry_over, manifest, orderly_end, rebuild};
use crate::clock;
use crate::model::LogId;
use crate::store::{StoreError, dir};

/// How long the last checkpoint may take. Without it the next start reads more of the log.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// The state that the store shares with its background threads.
pub(super) struct Core {
    pub(super) dir: PathBuf,
    pub(super) options: FjallOptions,
    /// Whether the manifests are unchanged since they were last copied.
    manifests_copied: AtomicBool,
    /// Wakes the thread that seals memtables and copies the manifests.
    pub(super) seal_signal: SealSignal,
    open: RwLock<Option<OpenDatabase>>,
    /// Number of those who wait for the database for themselves.
    awaited: AtomicUsize,
    /// After a failure, the last entry that was durable. What follows it in the log was never reported, and is written
    /// again.
    durable: Mutex<Option<u64>>,
    pub(super) removed: Mutex<RemovedLogs>,
    pub(super) reserve: Reserve,
    /// Whether this process has built the database anew.
    rebuilt: AtomicBool,
    /// In tests, the length of the disk that holds the log.
    #[cfg(test)]
    pub(super) disk: Mutex<Option<u64>>,
}

impl Core {
    /// Opens or creates the database in a data directory.
    pub(super) fn new(dir: &Path, options: FjallOptions) -> Result<Core, StoreError> {
        let core = Core {
            dir: dir.to_owned(),
            options,
            manifests_copied: AtomicBool::new(false),
            seal_signal: SealSignal::new(),
            open: RwLock::default(),
            awaited: AtomicUsize::new(0),
            durable: Mutex::default(),
            removed: Mutex::default(),
            reserve: Reserve::new(dir),
            rebuilt: AtomicBool::new(false),
            #[cfg(test)]
            disk: Mutex::default(),
        };
        core.open_database()?;
        Ok(core)
    }

    /// Closes the database and opens it again from the disk, without the entries that are not durable.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        self.reserve.spend();
        if let Some(closed) = self.exclusive().take() {
            *self.durable.lock() = Some(closed.log.durable());
        }
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

    /// Waits until all others have let the database go, and keeps them from it.
    fn exclusive(&self) -> RwLockWriteGuard<'_, Option<OpenDatabase>> {
        self.awaited.fetch_add(1, Ordering::AcqRel);
        let open = self.open.write();
        self.awaited.fetch_sub(1, Ordering::AcqRel);
        open
    }

    /// Whether a reopening or a received snapshot waits until nobody uses the database. All readers wait behind it, so
    /// who uses the database for long ends soon.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Acquire) > 0
    }

    /// Number of removed logs that are not fully swept.
    #[cfg(test)]
    pub(super) fn unswept(&self) -> usize {
        let removed = self.removed.lock();
        removed.dead.len() - removed.swept.len() - removed.unmarked.len()
    }

    pub(super) fn db_dir(&self) -> PathBuf {
        self.dir.join("db")
    }

    pub(super) fn close(&self) {
        let open = self.exclusive().take();
        drop(open);
    }

    /// Replaces everything by a snapshot that was received. Whoever uses the store waits meanwhile.
    pub(super) fn replace(&self, mut received: Received) -> Result<(), StoreError> {
        let mut open = self.exclusive();
        let vote = open.as_ref().and_then(|open| open.vote.as_ref());
        let vote = vote.and_then(|vote| vote.lock().vote());
        let ready = received.make_ready(vote.ok_or(StoreError::Closed)?);
        // From here on the snapshot may count: whatever fails, this store takes nothing more.
        open.take();
        ready?;
        *self.durable.lock() = None;
        *self.removed.lock() = RemovedLogs::default();
        *open = Some(self.opened()?);
        Ok(())
    }

    fn open_database(&self) -> Result<(), StoreError> {
        let open = self.opened()?;
        *self.open.write() = Some(open);
        Ok(())
    }

    fn opened(&self) -> Result<OpenDatabase, StoreError> {
        swap::complete(&self.dir)?;
        let db_dir = self.db_dir();
        let mut opened = self.try_to_open(&db_dir);
        // A start writes what it applies, and a full disk has no room for that but the reserve. The database may not say that
        // it was the disk.
        let may_be_full =
            |failure: &OpenFailure| failure.is_damage() || is_disk_full(failure.error());
        if opened.as_ref().is_err_and(may_be_full) && self.reserve.spend() {
            opened = self.try_to_open(&db_dir);
        }
        if let Err(failure) = &opened
            && failure.is_damage()
            // Once only: a disk that keeps failing must not fill up with databases that are kept aside.
            && !self.rebuilt.swap(true, Ordering::Relaxed)
            && rebuild::rebuild(&self.dir, &db_dir, &self.options, failure.error())?
        {
            opened = self.try_to_open(&db_dir);
        }
        let open = opened.map_err(OpenFailure::into_error)?;
        self.copy_manifests_now();
        Ok(open)
    }

    fn try_to_open(&self, db_dir: &Path) -> Result<OpenDatabase, OpenFailure> {
        manifest::check(&self.dir, db_dir)?;
        if !dir::exists(&self.dir.join(LOG_DIR))? {
            carry_over::begin(&self.dir, db_dir, &self.options)?;
        }
        dir::replace_journals(db_dir)?;
        let limit = *self.durable.lock();
        // The database may panic on malformed bytes.
        let (dir, options) = (&self.dir, &self.options);
        let open = catch_unwind(|| OpenDatabase::new(dir, db_dir, options, limit));
        let open = open.unwrap_or_else(|_| Err(has_panicked().into()))?;
        carry_over::finish(&open)?;
        Ok(open)
    }

    /// Makes the log whole and writes everything to tables, for a quick next start.
    pub(super) fn end(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        open.log.sync()?;
        let is_member = open.vote.is_some();
        if !is_member {
            open.apply()?;
        }
        if open.checkpointed.load(Ordering::Relaxed) == open.applied_index() {
            return Ok(());
        }
        if !is_member {
            open.mark()?;
            open.apply()?;
        }
        drop(open);
        let deadline = clock::monotonic() + END_PATIENCE;
        self.checkpoint(|| clock::monotonic() > deadline)?;
        Ok(())
    }

    /// Notes that everything that happened is in the log. A member never knows that: others may go on without it.
    pub(super) fn note_orderly_end(&self, handed_out: &[(LogId, u64)]) -> Result<(), StoreError> {
        let open = self.open()?;
        if open.vote.is_some() {
            return Ok(());
        }
        let seed = open.spaces.log_seed()?.ok_or(StoreError::Closed)?;
        orderly_end::note(&self.dir, open.log.last(), seed, handed_out)
    }

    /// What the run before has noted so; nothing after a crash. Called once, before anything changes.
    pub(super) fn take_orderly_end(&self) -> Result<HashMap<LogId, u64>, StoreError> {
        let open = self.open()?;
        let seed = open.spaces.log_seed()?.ok_or(StoreError::Closed)?;
        let handed_out = orderly_end::take(&self.dir, open.log.last(), seed)?;
        Ok(handed_out
            .filter(|_| open.vote.is_none())
            .unwrap_or_default())
    }

    /// Seals the memtables that exceed their maximum, so that the database writes them to tables.
    pub(super) fn seal_overgrown(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        for keyspace in open.overgrown(&self.options) {
            // The thread that does this looks at it before it waits, so nothing wakes it.
            self.manifests_copied.store(false, Ordering::Relaxed);
            keyspace.rotate_memtable().map_err(failed("flushing"))?;
        }
        Ok(())
    }

    /// Marks the copy of the manifests as stale, and wakes the thread that copies them. Called before they change.
    pub(super) fn manifests_change(&self) {
        self.manifests_copied.store(false, Ordering::Relaxed);
        self.seal_signal.wake();
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
        let is_flushing = self.open().map(|open| open.spaces.is_flushing());
        if is_flushing.is_ok_and(|is_flushing| !is_flushing) {
            self.manifests_copied.store(true, Ordering::Relaxed);
            self.copy_manifests_now();
        }
    }
}

fn is_disk_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == ErrorKind::StorageFull)
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
