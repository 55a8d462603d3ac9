//! The open database: its keyspaces, and how batches are written to it.

use std::path::Path;
use std::sync::Arc;

use ::fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch,
    PersistMode, Snapshot,
};
use parking_lot::Mutex;

use super::error::failed;
use super::journal_sync::JournalSync;
use super::options::{FjallOptions, MIB, msgs_keyspace, small_keyspace};
use super::synced::{BatchNote, SyncProgress};
use super::{format, keys};
use crate::model::Ticket;
use crate::store::StoreError;
use crate::store::extents::{Extents, Writer};

/// The database itself stops writers, in coarse steps, at four sealed memtables; we stop before.
pub(super) const SEALED_MEMTABLES_MAX: usize = 3;

/// The open database. Readers hold it shared; it is exchanged as a whole after a failure.
pub(super) struct OpenDatabase {
    pub(super) journal: Mutex<JournalSync>,
    pub(super) msgs: Keyspace,
    pub(super) state: Keyspace,
    pub(super) meta: Keyspace,
    pub(super) extents: Extents,
    /// How the database was when it was opened, until the extents are counted.
    pub(super) uncounted: Mutex<Option<Snapshot>>,
    /// The last ticket of this run that was on disk when the database was opened.
    pub(super) survived: u64,
    progress: Arc<SyncProgress>,
    pub(super) db: Database,
}

impl OpenDatabase {
    pub(super) fn new(
        dir: &Path,
        db_dir: &Path,
        options: &FjallOptions,
        progress: &Arc<SyncProgress>,
    ) -> Result<OpenDatabase, StoreError> {
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
        let meta = keyspace("meta", small_keyspace())?;
        let state = keyspace("state", small_keyspace())?;
        let msgs = keyspace("msgs", msgs_keyspace(options))?;
        let marker = meta
            .get(keys::FORMAT)
            .map_err(failed("reading the format"))?;
        if format::check(dir, marker.as_deref())? {
            meta.insert(keys::FORMAT, format::FORMAT.to_le_bytes())
                .and_then(|()| db.persist(PersistMode::SyncAll))
                .map_err(failed("writing the format"))?;
        }
        let last = msgs.get(keys::LAST_BATCH).map_err(failed("reading"))?;
        let survived = last
            .and_then(|last| BatchNote::decode(&last))
            .filter(|note| note.epoch == progress.epoch())
            .map_or(0, |note| note.ticket);
        let used = meta
            .get(keys::EXTENTS)
            .map_err(failed("reading"))?
            .and_then(|used| (*used).try_into().ok())
            .map_or(0, u32::from_le_bytes);
        let extents = Extents::open(&dir.join("extents"), options.extent_bytes, used)?;
        let uncounted = (!extents.is_unused()).then(|| db.snapshot());
        Ok(OpenDatabase {
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
    pub(super) fn overgrown(&self, options: &FjallOptions) -> impl Iterator<Item = &Keyspace> {
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
