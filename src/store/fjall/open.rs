//! The open database: its keyspaces and the commit of batches.

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

/// The database itself blocks writers, in coarse steps, at four sealed memtables; the store throttles before
/// that.
pub(super) const SEALED_MEMTABLES_MAX: usize = 3;

/// The open database. All users share it; a reopening after a failure replaces it as a whole.
pub(super) struct OpenDatabase {
    pub(super) journal: Mutex<JournalSync>,
    pub(super) msgs: Keyspace,
    pub(super) state: Keyspace,
    pub(super) meta: Keyspace,
    pub(super) extents: Extents,
    /// A snapshot from the time of opening, until the extents are counted.
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
            // A second worker would spin while the first one works, and there is little to compact.
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

    /// Writes a batch with its note. The caller holds the writer of the extents, so that notes are in order.
    ///
    /// The note also puts one key of each batch into `msgs` that nothing removes. So the tables of `msgs`
    /// record how far they reach, and the database can delete old journals.
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

    /// Adds the number after the newest extent to a batch, if the writer has created an extent.
    pub(super) fn note_extents(&self, writes: &mut OwnedWriteBatch, writer: &Writer<'_>) {
        if let Some(used) = writer.used() {
            writes.insert(&self.meta, keys::EXTENTS, used.to_le_bytes());
        }
    }

    /// The keyspaces whose active memtable exceeds its maximum and can be sealed.
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

    /// A batch whose commit writes it to the journal without a sync.
    pub(super) fn batch(&self, capacity: usize) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.db.clone(), capacity)
            .durability(Some(PersistMode::Buffer))
    }
}
