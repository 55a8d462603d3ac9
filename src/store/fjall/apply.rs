//! Applies entries of the log to the database, several in one write: while it is open, and those that a start finds.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use tracing::info;

use super::changes::Changes;
use super::error::OpenFailure;
use super::keyspaces::{Keyspaces, two_numbers};
use crate::model::LogId;
use crate::store::extents::{ChunkAddress, Extents};
use crate::store::keys::KeyspaceName;
use crate::store::log::{Entry, EntryWrite, LogStart};
use crate::store::{StoreError, keys};

/// Number of changes after which a write to the database takes no more entries.
pub(super) const APPLIED_WRITES: usize = 4096;

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

impl Progress {
    /// Adds what was applied next.
    pub(super) fn add(&mut self, next: Progress) {
        self.bytes += next.bytes;
        self.removed_chunks += next.removed_chunks;
        self.removed_logs.extend(next.removed_logs);
        self.sweeps.extend(next.sweeps);
        self.released.extend(next.released);
    }
}

/// The last entry that the tables of each keyspace have.
#[derive(Clone, Copy)]
pub(super) struct Have([u64; KeyspaceName::ALL.len()]);

impl Have {
    pub(super) fn read(spaces: &Keyspaces) -> Result<Have, StoreError> {
        let [msgs, state, meta] = KeyspaceName::ALL.map(|space| spaces.applied(space));
        Ok(Have([msgs?, state?, meta?]))
    }

    /// What all have.
    pub(super) fn least(self) -> u64 {
        self.0.into_iter().min().unwrap_or(0)
    }

    /// What at least one has.
    pub(super) fn most(self) -> u64 {
        self.0.into_iter().max().unwrap_or(0)
    }

    pub(super) fn lacks(self, space: KeyspaceName, index: u64) -> bool {
        let have = self.0.get(usize::from(space.code()));
        have.is_some_and(|have| *have < index)
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

/// Applies the end of the log at a start, many entries in one write.
pub(super) struct Replay<'a> {
    pub(super) spaces: &'a Keyspaces,
    pub(super) extents: &'a Extents,
    pub(super) have: Have,
    pub(super) applied: &'a mut Applied,
    pub(super) progress: Progress,
}

impl Replay<'_> {
    /// Applies the entries up to `upto`. Returns the others.
    pub(super) fn all(
        &mut self,
        start: &LogStart,
        upto: u64,
    ) -> Result<VecDeque<Entry>, OpenFailure> {
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
        let have = self.have;
        apply(
            self.spaces,
            self.extents,
            entries,
            |space| have.lacks(space, first),
            self.applied,
            &mut self.progress,
        )
    }
}
