//! The store on disk: everything that touches the database. Three keyspaces shared by all queues; chunks with their
//! values apart from the keys, so that compaction moves handles and not messages; the chunks of large batches in extents
//! (see [`super::extents`]); commits without a sync, and our own sync of the journal (see [`super::journal`]). Relies on the exact version of fjall that is pinned in Cargo.toml.

mod chunks; // where chunks are
mod evacuate; // the accounts of the extents
mod recovery; // what a start finds
mod sweep; // removing what is settled or deleted

use std::ops::Range;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use ::fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions,
    OwnedWriteBatch, PersistMode, Snapshot,
};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tracing::warn;

use self::sweep::Removed;
use super::dir::{self, DirLock};
use super::extents::{Extents, Writer};
use super::journal::JournalSync;
use super::keys;
use super::plan::{Change, Plan, Space};
use super::progress::{Note, Progress};
use super::rotate::Rotator;
use super::upkeep::{Upkeep, UpkeepOptions};
use super::{
    Batch, LogState, MetaEntry, OnDamage, Store, StoreError, StoredChunk, manifest, schema, scrub,
};
use crate::model::{LogId, Ticket};

/// Sizes of the database.
#[derive(Clone, Copy, Debug)]
pub struct FjallOptions {
    /// Bytes of chunks in memory before they go to a table. Messages that are settled earlier never do.
    pub msgs_memtable_bytes: u64,
    /// Bytes of records in memory before they go to a table.
    pub state_memtable_bytes: u64,
    /// Size of the files that hold chunks.
    pub blob_file_bytes: u64,
    /// Bytes of journals after which laggards are flushed: what a start after a crash reads again. At least 64 MiB.
    pub journal_bytes_max: u64,
    /// From this many bytes on the chunks of a batch go to an extent. Fewer are put into the database's journal with
    /// the rest of the batch, which takes one sync less.
    pub extent_batch_bytes: usize,
    /// Length of an extent.
    pub extent_bytes: u64,
    /// Bytes of the cache for index and record blocks.
    pub cache_bytes: u64,
    /// What to do when the start finds damage.
    pub on_damage: OnDamage,
    /// Files that stay open for reading.
    pub cached_files: usize,
    /// Background work.
    pub upkeep: UpkeepOptions,
}

const MIB: u64 = 1024 * 1024;

impl Default for FjallOptions {
    fn default() -> FjallOptions {
        FjallOptions {
            msgs_memtable_bytes: 32 * MIB,
            state_memtable_bytes: 8 * MIB,
            blob_file_bytes: 64 * MIB,
            journal_bytes_max: 128 * MIB,
            extent_batch_bytes: 128 * 1024,
            on_damage: OnDamage::Refuse,
            extent_bytes: 64 * MIB,
            cache_bytes: 32 * MIB,
            cached_files: 768,
            upkeep: UpkeepOptions::default(),
        }
    }
}

/// A chunk below this size is not worth an entry of its own besides its place.
const EXTENT_CHUNK_MIN: usize = 2048;
/// Values from this size are kept apart from their keys.
const SEPARATION_BYTES: u32 = 512;
/// The database itself stops writers, in coarse steps, at four sealed memtables; we stop before.
const SEALED_MEMTABLES_MAX: usize = 3;
/// An active memtable may outgrow its size by this factor while the database's worker is busy.
const MEMTABLE_OVERSHOOT_MAX: u64 = 2;

/// The store in a directory.
pub struct FjallStore {
    core: Arc<Core>,
    upkeep: Upkeep,
    rotator: Rotator,
    /// Dropped last: the next broker may come when the database is closed.
    _lock: DirLock,
}

impl FjallStore {
    /// Opens or creates the store in a directory, after repairing what a power loss has torn.
    pub fn open(dir: &Path, options: FjallOptions) -> Result<FjallStore, StoreError> {
        let lock = dir::lock(dir)?;
        // The database may panic over bytes that make no sense.
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
        let core = Core {
            dir: dir.to_owned(),
            options,
            progress: Arc::new(Progress::new(dir)),
            manifests_copied: AtomicBool::new(false),
            open: RwLock::default(),
            removed: Mutex::default(),
        };
        core.open_database()?;
        let core = Arc::new(core);
        let remains = core.load_tombs()?;
        let upkeep = Upkeep::start(core.clone(), options.upkeep, remains)?;
        let rotator = Rotator::start(core.clone())?;
        Ok(FjallStore {
            core,
            upkeep,
            rotator,
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
        self.upkeep.stop();
        self.rotator.stop();
        self.core.close();
        self.core.copy_manifests_now();
    }
}

impl Store for FjallStore {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let open = self.core.open()?;
        if batch.ticket.0 != 0 && batch.ticket.0 <= open.survived {
            return Ok(()); // it was on disk when the database was opened again
        }
        let mut writer = open.extents.writer();
        let plan = Plan::new(batch, &self.core.removed.lock().dead);
        let (removed_logs, removed_chunks) = (plan.removed_logs.clone(), plan.removed_chunks);
        let mut writes = open.batch(batch.ops.len() + 1);
        let to_extent = batch.bytes >= self.core.options.extent_batch_bytes;
        let mut released = Vec::new();
        for write in plan.into_writes() {
            let space = match write.space {
                Space::Msgs => &open.msgs,
                Space::State => &open.state,
                Space::Meta => &open.meta,
            };
            match write.change {
                Change::PutChunk(log, first, chunk) => {
                    let worth = to_extent && chunk.len() >= EXTENT_CHUNK_MIN;
                    let place = if worth { writer.append(&chunk)? } else { None };
                    match place {
                        Some(place) => {
                            writes.insert(
                                space,
                                keys::placed(log, first, keys::PUT),
                                place.encode(),
                            );
                        }
                        None => writes.insert(space, write.key, chunk),
                    }
                }
                Change::RemoveChunk(log, first) => match open.placed(log, first)? {
                    Some((generation, place)) => {
                        chunks::remove(&mut writes, space, &keys::placed(log, first, generation));
                        released.push(place);
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
            self.rotator.wake();
        }
        if !removed_logs.is_empty() {
            self.core.removed.lock().dead.extend(&removed_logs);
        }
        self.upkeep
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

    fn meta(&self, prefix: &[u8]) -> Result<Vec<MetaEntry>, StoreError> {
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
        self.upkeep.committed(0, removed, Vec::new());
        Ok(next)
    }

    fn throttled(&self) -> bool {
        let Ok(open) = self.core.open() else {
            return false; // the commit will say what is wrong
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
        self.upkeep.space_is_short();
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.core.close();
        scrub::write_again(&self.core.db_dir())?;
        self.core.open_database()?;
        self.upkeep.reopened(self.core.load_tombs()?);
        Ok(())
    }
}

/// What the store and its background thread share.
pub(super) struct Core {
    dir: PathBuf,
    options: FjallOptions,
    progress: Arc<Progress>,
    /// The copy of the manifests is as they were when last looked at.
    manifests_copied: AtomicBool,
    open: RwLock<Option<Open>>,
    removed: Mutex<Removed>,
}

/// The open database. Readers hold it shared; it is exchanged as a whole after a failure.
pub(super) struct Open {
    journal: Mutex<JournalSync>,
    pub(super) msgs: Keyspace,
    pub(super) state: Keyspace,
    meta: Keyspace,
    extents: Extents,
    /// How the database was when it was opened, until the extents are counted.
    uncounted: Mutex<Option<Snapshot>>,
    /// The last ticket of this run that was on disk when the database was opened.
    survived: u64,
    progress: Arc<Progress>,
    db: Database,
}

impl Core {
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
    fn unswept(&self) -> usize {
        let removed = self.removed.lock();
        removed.dead.len() - removed.swept.len()
    }

    fn db_dir(&self) -> PathBuf {
        self.dir.join("db")
    }

    fn close(&self) {
        let open = self.open.write().take();
        drop(open);
    }

    fn open_database(&self) -> Result<(), StoreError> {
        let db_dir = self.db_dir();
        let on_damage = self.options.on_damage;
        manifest::check(&self.dir, &db_dir, on_damage)?;
        if db_dir.exists() {
            scrub::scrub(&self.dir, &db_dir, on_damage)?;
        }
        let open = Open::new(&self.dir, &db_dir, &self.options, &self.progress)?;
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
    pub(super) fn rotate_overgrown(&self) -> Result<(), StoreError> {
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
    fn copy_manifests_now(&self) {
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
    pub(super) fn rotate_all(&self) -> Result<(), StoreError> {
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

impl Open {
    fn new(
        dir: &Path,
        db_dir: &Path,
        options: &FjallOptions,
        progress: &Arc<Progress>,
    ) -> Result<Open, StoreError> {
        let db = Database::builder(db_dir)
            .cache_size(options.cache_bytes)
            .max_cached_files(Some(options.cached_files))
            .journal_compression(CompressionType::None)
            .max_journaling_size(options.journal_bytes_max.max(64 * MIB))
            // A second worker would spin while the first one works; ours has little to compact.
            .worker_threads(1)
            .open()
            .map_err(failed("opening the database"))?;
        let keyspace = |name, create: KeyspaceCreateOptions| {
            db.keyspace(name, || create)
                .map_err(failed("opening the database"))
        };
        let small = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(u64::MAX) // see `rotate`
                .data_block_compression_policy(CompressionPolicy::disabled())
        };
        let meta = keyspace("meta", small())?;
        let state = keyspace("state", small())?;
        let msgs = keyspace("msgs", msgs_options(options))?;
        let marker = meta
            .get(keys::FORMAT)
            .map_err(failed("reading the format"))?;
        if schema::check(dir, marker.as_deref())? {
            meta.insert(keys::FORMAT, schema::FORMAT.to_le_bytes())
                .and_then(|()| db.persist(PersistMode::SyncAll))
                .map_err(failed("writing the format"))?;
        }
        let last = msgs.get(keys::LAST_BATCH).map_err(failed("reading"))?;
        let survived = last
            .and_then(|last| Note::decode(&last))
            .filter(|note| note.epoch == progress.epoch())
            .map_or(0, |note| note.ticket);
        let used = meta
            .get(keys::EXTENTS)
            .map_err(failed("reading"))?
            .and_then(|used| (*used).try_into().ok())
            .map_or(0, u32::from_le_bytes);
        let extents = Extents::open(&dir.join("extents"), options.extent_bytes, used)?;
        let uncounted = (!extents.is_unused()).then(|| db.snapshot());
        Ok(Open {
            extents,
            uncounted: Mutex::new(uncounted),
            journal: Mutex::new(JournalSync::new(db_dir)),
            msgs,
            state,
            meta,
            survived,
            progress: Arc::clone(progress),
            db,
        })
    }

    /// Writes a batch, with a note. Whoever writes holds the writer of the extents, so that notes are in order.
    ///
    /// Besides its purpose, the note leaves one key of each batch in `msgs` whatever else vanishes there, so that the
    /// tables know how far they reach and old journals can go.
    pub(super) fn commit(
        &self,
        mut writes: OwnedWriteBatch,
        ticket: Option<Ticket>,
        _writer: &Writer<'_>,
    ) -> ::fjall::Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        let (note, journal) = self.progress.begin(ticket);
        writes.insert(&self.msgs, keys::LAST_BATCH, note.encode());
        writes.commit()?;
        self.progress.committed(note, journal);
        Ok(())
    }

    /// Has a batch say which extents are in use, if that is news.
    pub(super) fn note_extents(&self, writes: &mut OwnedWriteBatch, writer: &Writer<'_>) {
        if let Some(used) = writer.used() {
            writes.insert(&self.meta, keys::EXTENTS, used.to_le_bytes());
        }
    }

    /// The keyspaces whose active memtable is larger than it should be.
    fn overgrown(&self, options: &FjallOptions) -> impl Iterator<Item = &Keyspace> {
        let state = options.state_memtable_bytes;
        [
            (&self.msgs, options.msgs_memtable_bytes),
            (&self.state, state),
            (&self.meta, state),
        ]
        .into_iter()
        .filter(|(keyspace, max)| {
            keyspace.tree.active_memtable().size() > *max
                && keyspace.sealed_memtable_count() < SEALED_MEMTABLES_MAX
        })
        .map(|(keyspace, _)| keyspace)
    }

    /// A batch that is written when it is committed, and synced by nobody yet.
    pub(super) fn batch(&self, capacity: usize) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.db.clone(), capacity)
            .durability(Some(PersistMode::Buffer))
    }
}

/// The open database while it is in use.
pub(super) struct OpenGuard<'a>(RwLockReadGuard<'a, Option<Open>>);

impl std::ops::Deref for OpenGuard<'_> {
    type Target = Open;

    #[expect(
        clippy::expect_used,
        reason = "checked when the guard was made, and nobody writes while it is held"
    )]
    fn deref(&self) -> &Open {
        self.0.as_ref().expect("open while guarded")
    }
}

fn msgs_options(options: &FjallOptions) -> KeyspaceCreateOptions {
    let separation = KvSeparationOptions::default()
        .separation_threshold(SEPARATION_BYTES)
        .compression(CompressionType::None)
        .file_target_size(options.blob_file_bytes)
        // Chunks die in about the order in which they were written, so files die whole: rewriting the survivors of
        // a file early would be in vain for most.
        .staleness_threshold(0.6)
        .age_cutoff(1.0);
    KeyspaceCreateOptions::default()
        .max_memtable_size(u64::MAX) // see `rotate`
        .with_kv_separation(Some(separation))
        .data_block_compression_policy(CompressionPolicy::disabled())
        .data_block_size_policy(BlockSizePolicy::all(16 * 1024))
        // Chunks are found by ranges, for which filters are of no use.
        .filter_policy(FilterPolicy::disabled())
}

/// Names what was being done when the database failed.
pub(super) fn failed(doing: &'static str) -> impl Fn(::fjall::Error) -> StoreError {
    move |error| match error {
        ::fjall::Error::Io(source) => StoreError::Io {
            doing: doing.to_owned(),
            source,
        },
        other => StoreError::Database {
            doing,
            reason: other.to_string(),
        },
    }
}

fn corrupt<E: std::fmt::Display>(what: &'static str, log: LogId) -> impl Fn(E) -> StoreError {
    move |error| StoreError::Corrupt(format!("{what} of log {}: {error}", log.0))
}

#[cfg(test)]
mod tests;
