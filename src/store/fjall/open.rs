//! The open database with its log: appending entries, and applying those that are durable.
//!
//! The database is a function of the log. It is never synced when an entry is applied; its tables are, when a
//! checkpoint writes them. Each keyspace holds the index of the last entry applied to it, written together with the
//! entry's changes, so its tables tell exactly what they contain. The database's own journals are thrown away at each
//! start, since a power loss may leave any part of them; the log has everything that the tables lack.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::fjall::Snapshot;
use parking_lot::{Mutex, MutexGuard};

use super::apply::{APPLIED_WRITES, Applied, Have, Progress, Replay, apply};
use super::error::{OpenFailure, failed};
use super::found_log::{chunks_of, find_log, go_on_behind, reconcile};
use super::keyspaces::Keyspaces;
use super::options::FjallOptions;
use super::unapplied::{Unapplied, Waiting};
use super::{checkpoint_file, format};
use crate::store::extents::Extents;
use crate::store::log::{Entry, EntryId, Log, VoteFile};
use crate::store::writes::Write;
use crate::store::{StoreError, keys};

/// Directory of the log in the data directory.
pub(super) const LOG_DIR: &str = "log";
/// The open database. All users share it; a reopening after a failure replaces it as a whole.
pub(super) struct OpenDatabase {
    pub(super) spaces: Keyspaces,
    pub(super) extents: Arc<Extents>,
    pub(super) log: Log,
    unapplied: Mutex<Unapplied>,
    /// Held during each change of the database. Locked before the log.
    applied: Mutex<Applied>,
    /// A snapshot from the time of opening, until the extents are counted.
    pub(super) uncounted: Mutex<Option<Snapshot>>,
    /// A snapshot from when no queue was in memory, until the chunks without a live message in it are swept.
    pub(super) unswept: Mutex<Option<Snapshot>>,
    /// Held by the one checkpoint at a time. Locked before `applied`.
    pub(super) checkpointing: Mutex<()>,
    /// The tables have everything up to this entry.
    pub(super) checkpointed: AtomicU64,
    /// Bytes of the log since the last checkpoint file.
    pub(super) since_file: AtomicU64,
    /// What was applied and not returned: by the start, or before a failure. The background thread must know it.
    pub(super) replayed: Mutex<Progress>,
    /// Length of that file.
    pub(super) file_bytes: AtomicU64,
    pub(super) log_dir: PathBuf,
    /// This node's vote; `None` outside a set.
    pub(super) vote: Option<Mutex<VoteFile>>,
}

impl OpenDatabase {
    /// Opens the database and applies the entries of the log that its tables lack: those up to `limit`, if there is one.
    pub(super) fn new(
        dir: &Path,
        db_dir: &Path,
        options: &FjallOptions,
        limit: Option<u64>,
    ) -> Result<OpenDatabase, OpenFailure> {
        let spaces = Keyspaces::open(db_dir, options)?;
        let seed = log_seed(&spaces, dir)?;
        let log_dir = dir.join(LOG_DIR);
        let is_member = spaces.base()?.is_some();
        let vote = is_member.then(|| VoteFile::open(&log_dir, seed));
        let vote = vote.transpose().map_err(OpenFailure::Elsewhere)?;
        let used = spaces.extents_used()?;
        let extents = Extents::open(&log_dir, options.extent_bytes, used);
        let extents = Arc::new(extents.map_err(OpenFailure::Elsewhere)?);
        let have = Have::read(&spaces)?;
        let (least, most) = (have.least(), have.most());
        let mut start = find_log(&spaces, &extents, seed, least, limit)?;
        let mut hurt = start.damages().to_vec();
        let mut upto = u64::MAX;
        if is_member {
            hurt.extend(reconcile(&mut start, &spaces, least, most)?);
            upto = start.majority().max(most);
        }
        go_on_behind(&hurt, dir, is_member, options.on_damage).map_err(OpenFailure::Elsewhere)?;
        let mut applied = Applied {
            index: most,
            term: is_member.then_some(spaces.term()?.map_or(0, |(term, _)| term)),
            extents: used,
        };
        let mut replay = Replay {
            spaces: &spaces,
            extents: &extents,
            have,
            applied: &mut applied,
            progress: Progress::default(),
        };
        let left = replay.all(&start, upto)?;
        let mut replayed = replay.progress;
        // The extents are counted from here on, without what the entries have removed.
        replayed.released.clear();
        replayed.removed_logs.clear(); // the tombstones tell
        let log = start.open().map_err(OpenFailure::Elsewhere)?;
        if is_member {
            complete(&log, &extents, &left, &mut applied);
        } else {
            applied.index = applied.index.max(log.last());
        }
        let file = checkpoint_file::peek(&log_dir);
        // After damage a new file follows, so that a verification does not ask for the lost entries again.
        let is_current = hurt.is_empty() && file.is_some_and(|file| file.index == least);
        let since_file = match is_current {
            true => replayed.bytes,
            false => u64::MAX / 2,
        };
        // Outside a set appends wait instead.
        let in_memory = if is_member {
            options.unapplied_bytes_max
        } else {
            u64::MAX
        };
        let mut unapplied = Unapplied::new(in_memory);
        left.into_iter().for_each(|entry| unapplied.push(entry));
        let open = OpenDatabase {
            checkpointing: Mutex::default(),
            since_file: AtomicU64::new(since_file),
            replayed: Mutex::new(replayed),
            file_bytes: AtomicU64::new(file.map_or(0, |file| file.bytes)),
            log_dir,
            uncounted: Mutex::new(Some(spaces.db.snapshot())),
            unswept: Mutex::default(),
            spaces,
            extents,
            log,
            unapplied: Mutex::new(unapplied),
            vote: vote.map(Mutex::new),
            applied: Mutex::new(applied),
            checkpointed: AtomicU64::new(least),
        };
        if !hurt.is_empty() {
            open.checkpoint(|| false)?; // the next start does not meet the same damage
        }
        Ok(open)
    }

    /// Writes a batch to the log. It is applied when it is durable.
    pub(super) fn append(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.log
            .append(writes, |entry| self.unapplied.lock().push(entry))
    }

    /// Writes an entry without changes. It knows that the last batch is on disk, so the next start can tell if that is
    /// damaged.
    pub(super) fn mark(&self) -> Result<(), StoreError> {
        self.log.sync()?;
        self.append(Vec::new())?;
        self.log.sync()
    }

    /// Writes the next entry of a set to the log.
    pub(super) fn append_as(&self, id: EntryId, writes: Vec<Write>) -> Result<(), StoreError> {
        self.log
            .append_as(id, writes, |entry| self.unapplied.lock().push(entry))
    }

    /// Forgets the entries after `last`, and their chunks.
    pub(super) fn truncate(&self, last: u64) -> Result<(), StoreError> {
        let applied = self.applied.lock();
        if last < applied.index {
            return Err(StoreError::Corrupt(format!(
                "entry {} was applied, and the set has replaced it",
                applied.index
            )));
        }
        let gone = self.unapplied.lock().cut(last);
        let gone = gone.into_iter().map(|waiting| self.whole(waiting));
        let gone = gone.collect::<Result<Vec<Entry>, StoreError>>()?;
        self.log.truncate(last)?;
        for entry in gone {
            self.extents.released(&chunks_of(&entry));
        }
        Ok(())
    }

    /// Applies the durable entries, in order, several in one write.
    pub(super) fn apply(&self) -> Result<Progress, StoreError> {
        self.apply_upto(u64::MAX)
    }

    /// Applies the durable entries up to `upto`, in order. Returns what was applied since the last call that has not failed.
    pub(super) fn apply_upto(&self, upto: u64) -> Result<Progress, StoreError> {
        while let Some(progress) = self.apply_some(upto)? {
            self.since_file.fetch_add(progress.bytes, Ordering::Relaxed);
            self.replayed.lock().add(progress);
        }
        Ok(std::mem::take(&mut *self.replayed.lock()))
    }

    /// Applies the next durable entries up to `upto`; `None` without one.
    fn apply_some(&self, upto: u64) -> Result<Option<Progress>, StoreError> {
        let mut applied = self.applied.lock();
        let entries = self.next_durable(upto)?;
        if entries.is_empty() {
            return Ok(None);
        }
        let mut progress = Progress::default();
        let outcome = apply(
            &self.spaces,
            &self.extents,
            &entries,
            |_| true,
            &mut applied,
            &mut progress,
        );
        if let Err(failure) = outcome {
            // Nothing may be applied before them.
            let mut unapplied = self.unapplied.lock();
            for entry in entries.into_iter().rev() {
                unapplied.put_back(Waiting::InMemory(entry));
            }
            return Err(failure);
        }
        self.extents
            .released(&std::mem::take(&mut progress.released));
        Ok(Some(progress))
    }

    /// Number of entries that are appended and not applied.
    pub(super) fn unapplied(&self) -> usize {
        self.unapplied.lock().len()
    }

    /// Takes the next durable entries, about [`APPLIED_WRITES`] together.
    fn next_durable(&self, upto: u64) -> Result<Vec<Entry>, StoreError> {
        let durable = self.log.durable().min(upto);
        let mut entries = Vec::new();
        let mut writes = 0;
        while writes < APPLIED_WRITES {
            // Not locked while the log is read: an append locks the log first.
            let Some(waiting) = self.unapplied.lock().take(durable) else {
                break;
            };
            let index = waiting.index();
            match self.whole(waiting) {
                Ok(entry) => {
                    writes += entry.writes.len();
                    entries.push(entry);
                }
                Err(error) => {
                    self.unapplied.lock().put_back(Waiting::InLog(index));
                    return if entries.is_empty() {
                        Err(error)
                    } else {
                        Ok(entries)
                    };
                }
            }
        }
        Ok(entries)
    }

    /// The entry, read from the log if it is not in memory.
    fn whole(&self, waiting: Waiting) -> Result<Entry, StoreError> {
        match waiting {
            Waiting::InMemory(entry) => Ok(entry),
            Waiting::InLog(index) => self.log.entry(index),
        }
    }

    /// Excludes other changes of the database while it is held.
    pub(super) fn changing(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock()
    }

    /// The last applied entry.
    pub(super) fn applied_index(&self) -> u64 {
        self.applied.lock().index
    }

    /// The last applied entry, in a set.
    pub(super) fn applied_id(&self) -> EntryId {
        let applied = self.applied.lock();
        EntryId {
            term: applied.term.unwrap_or(0),
            index: applied.index,
        }
    }
}

/// Counts the chunks of entries that no majority may have, and completes what is applied.
fn complete(log: &Log, extents: &Arc<Extents>, unapplied: &VecDeque<Entry>, applied: &mut Applied) {
    for entry in unapplied {
        extents.added(&chunks_of(entry));
    }
    if applied.term == Some(0) {
        applied.term = log.term_of(applied.index);
    }
}

/// The seed of the log's checksums, if this release knows the format of the directory.
fn log_seed(spaces: &Keyspaces, dir: &Path) -> Result<u64, OpenFailure> {
    let marker = spaces.meta.get(keys::FORMAT);
    let marker = marker.map_err(failed("reading the format"))?;
    format::check(dir, marker.as_deref())?;
    let seed = spaces.log_seed()?;
    let lost = || StoreError::Corrupt("the database has lost its log's seed".to_owned());
    Ok(seed.ok_or_else(lost)?)
}
