//! The open database with its log: appending entries, and applying those that are durable.
//!
//! The database is a function of the log. It is never synced when an entry is applied; its tables are, when a
//! checkpoint writes them. Each keyspace holds the index of the last entry applied to it, written together with the
//! entry's changes, so its tables tell exactly what they contain. The database's own journals are thrown away at each
//! start, since a power loss may leave any part of them; the log has everything that the tables lack.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::fjall::Snapshot;
use bytes::Bytes;
use parking_lot::Mutex;
use tracing::info;

use super::changes::Changes;
use super::error::{OpenFailure, failed};
use super::keyspaces::{Keyspaces, two_numbers};
use super::options::FjallOptions;
use super::{checkpoint_file, format, kept, set_log};
use crate::model::LogId;
use crate::store::error::{Advice, OnDamage};
use crate::store::extents::{ChunkAddress, Extents};
use crate::store::keys::KeyspaceName;
use crate::store::log::{self, Damage, Entry, EntryId, EntryWrite, Log, LogStart, VoteFile};
use crate::store::writes::Write;
use crate::store::{StoreError, keys};

/// Directory of the log in the data directory.
pub(super) const LOG_DIR: &str = "log";
/// A checkpoint file follows when the log has grown by this many times the length of the last one, ...
const LOG_PER_CHECKPOINT_FILE: u64 = 16;
/// ... or when it frees this many times its length. So writing it costs little.
const FREED_PER_CHECKPOINT_FILE: u64 = 4;

/// The open database. All users share it; a reopening after a failure replaces it as a whole.
pub(super) struct OpenDatabase {
    pub(super) spaces: Keyspaces,
    pub(super) extents: Arc<Extents>,
    pub(super) log: Log,
    /// Entries that are appended and not applied, in order.
    unapplied: Mutex<VecDeque<Entry>>,
    /// Held during each change of the database. Locked before the log.
    applied: Mutex<Applied>,
    /// A snapshot from the time of opening, until the extents are counted.
    pub(super) uncounted: Mutex<Option<Snapshot>>,
    /// A snapshot from when no queue was in memory, until the chunks without a live message in it are swept.
    pub(super) unswept: Mutex<Option<Snapshot>>,
    /// The tables have everything up to this entry.
    pub(super) checkpointed: AtomicU64,
    /// Bytes of the log since the last checkpoint file.
    since_file: AtomicU64,
    /// What the start has applied, until the background thread knows.
    pub(super) replayed: Mutex<Progress>,
    /// Length of that file.
    file_bytes: AtomicU64,
    log_dir: PathBuf,
    /// This node's vote; `None` outside a set.
    pub(super) vote: Option<Mutex<VoteFile>>,
}

/// Number of changes after which a write to the database takes no more entries.
const APPLIED_WRITES: usize = 4096;

/// How far the database is.
pub(super) struct Applied {
    /// The last applied entry.
    pub(super) index: u64,
    /// Its term, in a set; 0 while it is not known.
    pub(super) term: Option<u64>,
    /// The number after the newest extent, as the database knows it.
    pub(super) extents: u32,
}

impl Applied {
    /// In a set, the first of these entries with the term of the last one, if that is a new term.
    fn first_of_term<'a>(&self, entries: &'a [Entry]) -> Option<&'a Entry> {
        let last = entries.last()?.term;
        let is_new = self.term.is_some_and(|term| term != last);
        let mut of_term = entries.iter().filter(|entry| entry.term == last);
        if is_new { of_term.next() } else { None }
    }
}

/// What was applied, for the background work.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes in the log.
    pub(super) bytes: u64,
    pub(super) removed_chunks: u64,
    pub(super) removed_logs: Vec<LogId>,
    /// What entries sweep.
    pub(super) sweeps: Vec<(LogId, Range<u64>)>,
    /// Addresses of removed chunks, until they are released.
    pub(super) released: Vec<ChunkAddress>,
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
        let marker = spaces.meta.get(keys::FORMAT);
        format::check(
            dir,
            marker.map_err(failed("reading the format"))?.as_deref(),
        )?;
        let seed = spaces.log_seed()?.ok_or_else(|| {
            StoreError::Corrupt("the database has lost its log's seed".to_owned())
        })?;
        let log_dir = dir.join(LOG_DIR);
        let is_member = spaces.base()?.is_some();
        let vote = is_member.then(|| VoteFile::open(&log_dir, seed));
        let vote = vote.transpose().map_err(OpenFailure::Elsewhere)?;
        let used = spaces.extents_used()?;
        let extents = Extents::open(&log_dir, options.extent_bytes, used);
        let extents = Arc::new(extents.map_err(OpenFailure::Elsewhere)?);
        let have = KeyspaceName::ALL.map(|space| spaces.applied(space));
        let [msgs, state, meta] = have;
        let have = [msgs?, state?, meta?];
        let least = have.into_iter().min().unwrap_or(0);
        let most = have.into_iter().max().unwrap_or(0);
        let mut start = find_log(&spaces, &extents, seed, least, limit)?;
        let mut hurt = start.damages().to_vec();
        let mut upto = u64::MAX;
        if is_member {
            hurt.extend(set_log::reconcile(&mut start, &spaces, least, most)?);
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
        let unapplied = replay.all(&start, upto)?;
        let mut replayed = replay.progress;
        // The extents are counted from here on, without what the entries have removed.
        replayed.released.clear();
        replayed.removed_logs.clear(); // the tombstones tell
        let log = start.open().map_err(OpenFailure::Elsewhere)?;
        if is_member {
            complete(&log, &extents, &unapplied, &mut applied);
        } else {
            applied.index = applied.index.max(log.last());
        }
        let file = checkpoint_file::peek(&log_dir);
        // After damage a new file follows, so that a verification does not ask for the lost entries again.
        let is_current = hurt.is_empty() && file.is_some_and(|file| file.index == least);
        let open = OpenDatabase {
            since_file: AtomicU64::new(if is_current {
                replayed.bytes
            } else {
                u64::MAX / 2
            }),
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
            .append(writes, |entry| self.unapplied.lock().push_back(entry))
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
            .append_as(id, writes, |entry| self.unapplied.lock().push_back(entry))
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
        self.log.truncate(last)?;
        let mut unapplied = self.unapplied.lock();
        let kept = unapplied.partition_point(|entry| entry.index <= last);
        let gone = unapplied.split_off(kept);
        drop(unapplied);
        for entry in gone {
            self.extents.released(&set_log::chunks_of(&entry));
        }
        Ok(())
    }

    /// Applies the durable entries, in order, several in one write.
    pub(super) fn apply(&self) -> Result<Progress, StoreError> {
        self.apply_upto(u64::MAX)
    }

    /// Applies the durable entries up to `upto`, in order.
    pub(super) fn apply_upto(&self, upto: u64) -> Result<Progress, StoreError> {
        let mut progress = Progress::default();
        loop {
            let mut applied = self.applied.lock();
            let entries = self.next_durable(upto);
            if entries.is_empty() {
                self.since_file.fetch_add(progress.bytes, Ordering::Relaxed);
                return Ok(progress);
            }
            let outcome = apply(
                &self.spaces,
                &self.extents,
                &entries,
                |_| true,
                &mut applied,
                &mut progress,
            );
            if outcome.is_err() {
                // Nothing may be applied before them.
                let mut unapplied = self.unapplied.lock();
                entries
                    .into_iter()
                    .rev()
                    .for_each(|entry| unapplied.push_front(entry));
                return outcome.map(|()| progress);
            }
            self.extents.released(&progress.released);
            progress.released.clear();
        }
    }

    /// Number of entries up to this one that are appended and not applied.
    pub(super) fn unapplied_upto(&self, upto: u64) -> u64 {
        let unapplied = self.unapplied.lock();
        let bounds = unapplied.front().zip(unapplied.back());
        bounds.map_or(0, |(first, last)| {
            (last.index.min(upto) + 1).saturating_sub(first.index)
        })
    }

    /// Takes the next durable entries, about [`APPLIED_WRITES`] together.
    fn next_durable(&self, upto: u64) -> Vec<Entry> {
        let committed = self.log.committed().min(upto);
        let mut unapplied = self.unapplied.lock();
        let mut writes = 0;
        let durable = unapplied.iter().take_while(|entry| {
            let takes = entry.index <= committed && writes < APPLIED_WRITES;
            writes += entry.writes.len();
            takes
        });
        let durable = durable.count();
        unapplied.drain(..durable).collect()
    }

    /// Excludes other changes of the database while it is held.
    pub(super) fn changing(&self) -> parking_lot::MutexGuard<'_, Applied> {
        self.applied.lock()
    }

    /// Writes all memtables to tables, so that the next start needs no entry up to now, and from time to time the
    /// checkpoint file, so that nothing needs them but for the chunks in them. Then the extents that were empty before
    /// can be used again. Gives up when `stop` holds; false then.
    pub(super) fn checkpoint(&self, stop: impl Fn() -> bool) -> Result<bool, StoreError> {
        let since_file = self.since_file.load(Ordering::Relaxed);
        let file_bytes = self.file_bytes.load(Ordering::Relaxed);
        let (is_file_due, upto, emptied, snapshot) = {
            let mut applied = self.changing();
            let unneeded = applied.index.min(self.log.unneeded());
            let freed = self.extents.emptied_bytes(unneeded);
            let is_file_due = since_file >= file_bytes.saturating_mul(LOG_PER_CHECKPOINT_FILE)
                || (freed > 0 && freed >= file_bytes.saturating_mul(FREED_PER_CHECKPOINT_FILE));
            let emptied = match is_file_due {
                true => self.extents.before_checkpoint(unneeded),
                false => Vec::new(),
            };
            let sealed = self.seal(&mut applied);
            if sealed.is_err() {
                self.extents.after_checkpoint(emptied, false)?;
                return sealed.map(|()| false);
            }
            let snapshot = is_file_due.then(|| self.spaces.db.snapshot());
            (is_file_due, applied.index, emptied, snapshot)
        };
        let done = self.finish_checkpoint(upto, snapshot, &stop);
        self.extents
            .after_checkpoint(emptied, matches!(done, Ok(true)))?;
        if matches!(done, Ok(true)) {
            self.checkpointed.fetch_max(upto, Ordering::Relaxed);
            if is_file_due {
                self.since_file.fetch_sub(since_file, Ordering::Relaxed);
            }
        }
        done
    }

    /// Makes a checkpoint with a checkpoint file, so that a database that is built anew knows what no entry says.
    pub(super) fn checkpoint_whole(&self) -> Result<(), StoreError> {
        self.since_file.store(u64::MAX / 2, Ordering::Relaxed);
        self.checkpoint(|| false).map(drop)
    }

    fn finish_checkpoint(
        &self,
        upto: u64,
        snapshot: Option<Snapshot>,
        stop: impl Fn() -> bool,
    ) -> Result<bool, StoreError> {
        if !self.spaces.wait_for_flush(stop)? {
            return Ok(false);
        }
        self.spaces.sync_names()?;
        if let Some(snapshot) = snapshot {
            let file = checkpoint_file::write(&self.log_dir, &self.spaces, &snapshot, upto)?;
            self.file_bytes.store(file.bytes, Ordering::Relaxed);
        }
        Ok(true)
    }

    fn seal(&self, applied: &mut Applied) -> Result<(), StoreError> {
        let mut writes = self.spaces.batch(4);
        applied.extents = self.extents.used();
        let used = applied.extents.to_le_bytes();
        writes.insert(&self.spaces.meta, keys::EXTENTS, used);
        if let Some((purged, _)) = self.log.bounds() {
            // The extents of purged entries are used again after the checkpoint.
            let purged = two_numbers(purged.term, purged.index);
            writes.insert(&self.spaces.meta, keys::BASE, purged);
        }
        for space in KeyspaceName::ALL {
            self.spaces.note_applied(&mut writes, space, applied.index);
        }
        writes.commit().map_err(failed("writing"))?;
        for keyspace in self.spaces.all() {
            keyspace.rotate_memtable().map_err(failed("flushing"))?;
        }
        Ok(())
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
        extents.added(&set_log::chunks_of(entry));
    }
    if applied.term == Some(0) {
        applied.term = log.term_of(applied.index);
    }
}

/// The log as a start finds it that needs the entries after `from`, up to `limit`.
pub(super) fn find_log(
    spaces: &Keyspaces,
    extents: &Arc<Extents>,
    seed: u64,
    from: u64,
    limit: Option<u64>,
) -> Result<LogStart, OpenFailure> {
    let found = match spaces.base()? {
        Some(base) => {
            let known = set_log::known(spaces, base, from)?;
            LogStart::find_kept(extents, seed, &known)
        }
        None => {
            let mut durable = 0;
            for space in KeyspaceName::ALL {
                durable = spaces.applied(space)?.max(durable);
            }
            LogStart::find(extents, seed, from, durable, limit)
        }
    };
    found.map_err(OpenFailure::Elsewhere)
}

/// Keeps the bytes of damaged entries aside and reports them, or refuses to start.
fn go_on_behind(
    hurt: &[Damage],
    dir: &Path,
    is_member: bool,
    on_damage: OnDamage,
) -> Result<(), StoreError> {
    let refusal = match (is_member, on_damage) {
        (true, _) => Some(Advice::Rejoin),
        (false, OnDamage::Refuse) => Some(Advice::Recover),
        (false, OnDamage::Recover) => None,
    };
    if let Some((damage, advice)) = hurt.first().zip(refusal) {
        return Err(StoreError::Damaged {
            what: damage.to_string(),
            advice,
        });
    }
    log::keep_aside(hurt, &kept::directory(dir))?;
    hurt.iter()
        .try_for_each(|damage| kept::note(dir, &damage.to_string()))
}

/// Applies the end of the log at a start, many entries in one write.
struct Replay<'a> {
    spaces: &'a Keyspaces,
    extents: &'a Extents,
    /// The last entry that each keyspace has.
    have: [u64; KeyspaceName::ALL.len()],
    applied: &'a mut Applied,
    progress: Progress,
}

impl Replay<'_> {
    /// Applies the entries up to `upto`. Returns the others.
    fn all(&mut self, start: &LogStart, upto: u64) -> Result<VecDeque<Entry>, OpenFailure> {
        let most = self.applied.index;
        let mut count = 0_u64;
        let mut unapplied = VecDeque::new();
        let mut group = Vec::new();
        let mut writes = 0;
        for entry in start.entries() {
            let entry = entry.map_err(OpenFailure::Elsewhere)?;
            if entry.index > upto {
                unapplied.push_back(entry);
                continue;
            }
            count += 1;
            // Each entry up to `most` is lacked by keyspaces of its own.
            let ends_group = entry.index <= most || writes >= APPLIED_WRITES;
            writes += entry.writes.len();
            group.push(entry);
            if ends_group {
                self.group(&std::mem::take(&mut group))?;
                writes = 0;
            }
        }
        self.group(&group)?;
        if count > 0 {
            info!(
                entries = count,
                bytes = self.progress.bytes,
                "applied the end of the log"
            );
        }
        Ok(unapplied)
    }

    /// Applies entries to the keyspaces that have less than the first one.
    fn group(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let first = entries.first().map_or(0, |entry| entry.index);
        let lacks = |space: KeyspaceName| {
            let have = self.have.get(usize::from(space.code()));
            have.is_some_and(|have| *have < first)
        };
        apply(
            self.spaces,
            self.extents,
            entries,
            lacks,
            self.applied,
            &mut self.progress,
        )
    }
}

/// Applies entries, in one write, to the keyspaces that lack them.
pub(super) fn apply(
    spaces: &Keyspaces,
    extents: &Extents,
    entries: &[Entry],
    lacks: impl Fn(KeyspaceName) -> bool,
    applied: &mut Applied,
    progress: &mut Progress,
) -> Result<(), StoreError> {
    let Some(last) = entries.last() else {
        return Ok(());
    };
    let writes = entries.iter().map(|entry| entry.writes.len()).sum();
    let mut changes = Changes::of_entries(entries.len(), writes);
    for write in entries.iter().flat_map(|entry| &entry.writes) {
        match write {
            EntryWrite::Put { space, key, value } if lacks(*space) => {
                if let Some(log) = keys::tomb_of(*space, key) {
                    progress.removed_logs.push(log);
                }
                changes.put(*space, key.clone(), value.clone());
            }
            EntryWrite::Remove { space, key } if lacks(*space) => {
                changes.remove(*space, key.clone());
            }
            EntryWrite::PutChunk {
                log,
                first,
                address,
            } if lacks(KeyspaceName::Msgs) => changes.put_chunk(*log, *first, *address),
            EntryWrite::RemoveChunk { log, first } if lacks(KeyspaceName::Msgs) => {
                progress.removed_chunks += 1;
                if let Some(address) = changes.take_chunk(*log, *first) {
                    progress.released.push(address);
                } else if let Some((generation, address)) = spaces.address_of(*log, *first)? {
                    changes.remove_chunk(*log, *first, generation);
                    progress.released.push(address);
                }
            }
            EntryWrite::Sweep { log, offsets } => progress.sweeps.push((*log, offsets.clone())),
            EntryWrite::Put { .. }
            | EntryWrite::Remove { .. }
            | EntryWrite::PutChunk { .. }
            | EntryWrite::RemoveChunk { .. } => {} // the keyspace has it
        }
    }
    let mut term_begun = applied.term;
    if lacks(KeyspaceName::Meta)
        && let Some(first) = applied.first_of_term(entries)
    {
        let term = two_numbers(first.term, first.index);
        let key = Bytes::from_static(keys::TERM);
        changes.put(KeyspaceName::Meta, key, term.into());
        term_begun = Some(first.term);
    }
    let used = extents.used();
    let is_new = used != applied.extents;
    if is_new && lacks(KeyspaceName::Meta) {
        changes.touch(KeyspaceName::Meta);
    }
    changes.commit(spaces, last.index, is_new.then_some(used))?;
    applied.extents = used;
    applied.term = term_begun;
    applied.index = last.index;
    progress.bytes += entries.iter().map(|entry| entry.bytes).sum::<u64>();
    Ok(())
}
