//! The log as a start finds it, and its opening.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use tracing::info;

use super::chain::{Chain, Known};
use super::damage::Damage;
use super::entry::{decode_writes, footer};
use super::extent_file::{ExtentFile, Found};
use super::kept::Kept;
use super::scan::Scan;
use super::synced::{COMMITTED, SYNCED, SyncedFile};
use super::{ActiveExtent, End, Entry, EntryWrite, Log};
use crate::store::StoreError;
use crate::store::error::io_error;
use crate::store::extents::{ChunkAddress, Extents, IO_BYTES, PAGE, Pages, SPARE_MARK};

/// The log as a start finds it.
#[derive(Debug)]
pub(in crate::store) struct LogStart {
    pub(super) extents: Arc<Extents>,
    seed: u64,
    /// The entries to apply, in order.
    pub(super) entries: Vec<Found>,
    /// In a set, what is kept.
    kept: Option<Kept>,
    damages: Vec<Damage>,
    /// Where the next entry goes; `None` for a new extent.
    end: Option<(u32, u64)>,
    last: u64,
    last_sum: u64,
    term: u64,
    /// The generation that entries of a set are written in from now on.
    generation: u64,
    durable: u64,
    /// The last entry of each extent that the scan has passed.
    last_in: BTreeMap<u32, u64>,
    /// The first entries of the extents.
    heads: Vec<Found>,
    /// Entries that are behind the end in its extent and will not be written again, outside a set.
    behind: Vec<Found>,
}

impl LogStart {
    /// Scans the log for the entries after `applied`. Takes no entry after `limit`, if there is one. Everything up to
    /// `durable` was on disk for certain, whatever the log itself knows: a keyspace has it.
    pub(in crate::store) fn find(
        extents: &Arc<Extents>,
        seed: u64,
        applied: u64,
        durable: u64,
        limit: Option<u64>,
    ) -> Result<LogStart, StoreError> {
        let limit = limit.unwrap_or(u64::MAX);
        let synced = SyncedFile::new(extents.dir(), SYNCED, seed).read();
        let mut scan = Scan::open(extents, seed, synced.id.index.max(durable.min(limit)))?;
        scan.walk(applied, limit)?;
        let mut start = LogStart {
            extents: Arc::clone(extents),
            seed,
            entries: scan.entries,
            kept: None,
            damages: scan.damages,
            end: scan.end,
            last: scan.last,
            last_sum: scan.last_sum,
            term: scan.term + 1,
            generation: 0,
            durable: scan.durable,
            last_in: scan.last_in,
            heads: scan.heads,
            // A reopening writes the same entries again.
            behind: if limit == u64::MAX {
                scan.behind
            } else {
                Vec::new()
            },
        };
        start.cut_torn()?;
        Ok(start)
    }

    /// As [`LogStart::find`], for the log of a member of a set. It takes all entries: what the set does not need it
    /// replaces. An end before them would let the next entry overwrite some that the file `synced` knows.
    pub(in crate::store) fn find_kept(
        extents: &Arc<Extents>,
        seed: u64,
        known: &Known,
    ) -> Result<LogStart, StoreError> {
        let synced = SyncedFile::new(extents.dir(), SYNCED, seed).read();
        let chain = Chain::find(extents, seed, known, synced)?;
        let mut start = LogStart {
            extents: Arc::clone(extents),
            seed,
            entries: chain.kept.iter().copied().collect(),
            damages: chain.damages,
            end: chain.end,
            last: chain.kept.last().index,
            last_sum: chain.kept.last_sum().unwrap_or(0),
            kept: Some(chain.kept),
            term: 0,
            generation: chain.generation + 1,
            durable: chain.durable,
            last_in: chain.last_in,
            heads: chain.heads,
            behind: Vec::new(),
        };
        start.cut_torn()?;
        if let Some(kept) = &mut start.kept {
            kept.truncate(start.last);
            kept.purge(known.purged);
        }
        let needed = |found: &Found| found.header.index > known.applied;
        start.entries.retain(needed);
        Ok(start)
    }

    /// The last entry.
    pub(in crate::store) fn last(&self) -> u64 {
        self.last
    }

    /// The last entry that a majority is known to have, in a set.
    pub(in crate::store) fn majority(&self) -> u64 {
        let recorded = SyncedFile::new(self.extents.dir(), COMMITTED, self.seed)
            .read()
            .id;
        let kept = self.kept.as_ref().and_then(|kept| kept.get(recorded.index));
        let is_there = kept.is_some_and(|found| found.header.term == recorded.term);
        if is_there { recorded.index } else { 0 }
    }

    /// In a set, the term of a kept entry, or of the one before them.
    pub(in crate::store) fn term_of(&self, index: u64) -> Option<u64> {
        self.kept.as_ref()?.term_of(index)
    }

    /// In a set, forgets the log before this entry, which the database holds.
    pub(in crate::store) fn begin_after(&mut self, id: super::EntryId) {
        self.kept = Some(Kept::after(id, None));
        self.entries.clear();
        self.last = id.index;
        self.last_sum = 0;
    }

    /// The entries that were on disk and cannot be read.
    pub(in crate::store) fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Reads the entries to apply, in order.
    pub(in crate::store) fn entries(&self) -> impl Iterator<Item = Result<Entry, StoreError>> {
        self.read(&self.entries)
    }

    fn read(&self, found: &[Found]) -> impl Iterator<Item = Result<Entry, StoreError>> {
        let mut file: Option<ExtentFile> = None;
        found.iter().map(move |found| {
            if file.as_ref().is_none_or(|file| file.number != found.extent) {
                file = Some(ExtentFile::open(&self.extents, found.extent)?);
            }
            let read = file
                .as_ref()
                .map(|file| file.whole_at(found.head_at, self.seed))
                .transpose()?
                .flatten();
            let writes = read
                .and_then(|(_, head)| {
                    decode_writes(&head, found.extent, u32::try_from(found.at).ok()?)
                })
                .ok_or_else(|| {
                    StoreError::Corrupt(format!(
                        "entry {} of the log makes no sense to this release",
                        found.header.index
                    ))
                })?;
            Ok(Entry {
                index: found.header.index,
                term: found.header.term,
                writes,
                bytes: found.end() - found.at,
            })
        })
    }

    /// Opens the log behind the entries found. Those that may not be on disk are written again, since a sync that has
    /// failed before may have dropped them from the cache.
    pub(in crate::store) fn open(self) -> Result<Log, StoreError> {
        for (extent, last) in &self.last_in {
            self.extents.ends_with(*extent, *last);
        }
        let unsynced = |found: &&Found| found.header.index > self.durable;
        let mut written: Option<(u32, File)> = None;
        for found in self.entries.iter().filter(unsynced) {
            let file = self.writable(&mut written, found.extent)?;
            let again = write_again(file, found);
            again.map_err(|e| io_error("writing", &self.extents.path(found.extent), e))?;
        }
        self.synced(written.take())?;
        let is_behind = |found: &&Found| {
            let is_after = |(extent, at)| extent == found.extent && at <= found.at;
            self.kept.is_none() && self.end.is_some_and(is_after)
        };
        for found in self.behind.iter().filter(is_behind) {
            let file = self.writable(&mut written, found.extent)?;
            let erased = erase_heads(file, found);
            erased.map_err(|e| io_error("writing", &self.extents.path(found.extent), e))?;
        }
        self.synced(written)?;
        for head in &self.heads {
            // In a set, earlier ones are replaced, and lead to those that have replaced them.
            let is_behind = match &self.kept {
                Some(kept) => match kept.last_written() {
                    Some(last) => head.written() > last,
                    None => head.id() > kept.last(),
                },
                None => head.header.index > self.last,
            };
            if is_behind && !self.is_needed(head.extent) {
                self.forget(head.extent)?;
            }
        }
        let active = match self.end {
            Some((number, at)) => {
                self.extents.resume_log(number);
                let mut options = OpenOptions::new();
                let (file, direct) = self.extents.open_file(number, options.write(true))?;
                file.sync_data()
                    .map_err(|e| io_error("syncing", &self.extents.path(number), e))?;
                Some(ActiveExtent {
                    number,
                    file: Arc::new(file),
                    direct,
                    at,
                    is_written: true,
                })
            }
            None => None,
        };
        let mut synced = SyncedFile::new(self.extents.dir(), SYNCED, self.seed);
        if let Some(last) = self.kept.as_ref().and_then(Kept::last_written) {
            synced.record(last); // a power loss may have taken an earlier position
        }
        Ok(Log {
            synced: Mutex::new(synced),
            majority: Mutex::new(SyncedFile::new(self.extents.dir(), COMMITTED, self.seed)),
            extents: self.extents,
            seed: self.seed,
            durable: AtomicU64::new(self.last),
            end: Mutex::new(End {
                active,
                term: self.term,
                generation: self.generation,
                last: self.last,
                last_sum: self.last_sum,
                kept: self.kept,
                unsynced: Vec::new(),
                has_failed: false,
                pages: Pages::default(),
                head: Vec::new(),
            }),
        })
    }

    /// Whether an extent holds entries that a member keeps, or the end of the log.
    fn is_needed(&self, extent: u32) -> bool {
        let mut kept = self.kept.iter().flat_map(Kept::iter);
        self.end.is_some_and(|(end, _)| end == extent) || kept.any(|found| found.extent == extent)
    }

    /// The file of an extent, open for writing: the one that is open, if it is that one's. The other is synced.
    fn writable<'a>(
        &self,
        open: &'a mut Option<(u32, File)>,
        extent: u32,
    ) -> Result<&'a File, StoreError> {
        let file = match open.take() {
            Some((number, file)) if number == extent => file,
            other => {
                self.synced(other)?;
                let path = self.extents.path(extent);
                let file = OpenOptions::new().read(true).write(true).open(&path);
                file.map_err(|e| io_error("opening", &path, e))?
            }
        };
        let (_, file) = open.insert((extent, file));
        Ok(file)
    }

    fn synced(&self, open: Option<(u32, File)>) -> Result<(), StoreError> {
        let Some((extent, file)) = open else {
            return Ok(());
        };
        let synced = file.sync_data();
        synced.map_err(|e| io_error("syncing", &self.extents.path(extent), e))
    }

    /// Marks an extent as unused: its entries are behind the end of the log. Their indexes are given out again, and a later
    /// start must not take them for those.
    fn forget(&self, extent: u32) -> Result<(), StoreError> {
        let path = self.extents.path(extent);
        let mut page = SPARE_MARK.to_vec();
        page.resize(PAGE, 0);
        let mark = || {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.write_all_at(&page, 0)?;
            file.sync_data()
        };
        mark().map_err(|e| io_error("writing", &path, e))
    }

    /// Ends the log before the first entry that may be unfinished and is not all there: a chunk is not whole, or its file
    /// ends before its last page.
    fn cut_torn(&mut self) -> Result<(), StoreError> {
        let first = self
            .entries
            .partition_point(|found| found.header.index <= self.durable);
        let mut torn = None;
        let unsynced = self.entries.get(first..).unwrap_or_default();
        for ((entry, found), at) in self.read(unsynced).zip(unsynced).zip(first..) {
            let entry = entry?;
            let file = ExtentFile::open(&self.extents, found.extent)?;
            let addresses: Vec<ChunkAddress> = entry
                .writes
                .iter()
                .filter_map(|write| match write {
                    EntryWrite::PutChunk { address, .. } => Some(*address),
                    EntryWrite::Put { .. }
                    | EntryWrite::Remove { .. }
                    | EntryWrite::RemoveChunk { .. }
                    | EntryWrite::Sweep { .. } => None,
                })
                .collect();
            if file.len < found.end() || self.extents.read(&addresses)?.contains(&None) {
                torn = Some(at);
                break;
            }
        }
        let Some((at, found)) = torn.and_then(|at| Some((at, *self.entries.get(at)?))) else {
            return Ok(());
        };
        info!(
            entries = self.entries.len() - at,
            "cut unfinished entries off the log; none of them was confirmed"
        );
        self.behind.extend(self.entries.drain(at..));
        self.last = found.header.index - 1;
        self.last_sum = found.header.previous;
        self.end = Some((found.extent, found.at));
        match self.kept {
            // An earlier extent may end with entries that were replaced.
            Some(_) => self
                .last_in
                .values_mut()
                .for_each(|last| *last = (*last).min(self.last)),
            None => self.last_in.retain(|_, last| *last < found.header.index),
        }
        self.last_in.insert(found.extent, self.last);
        Ok(())
    }
}

/// Writes an entry again, with both copies of its head. A power loss may have left only one of them.
fn write_again(file: &File, found: &Found) -> io::Result<()> {
    let mut at = found.at;
    while at < found.end() {
        let len = usize::try_from(found.end() - at).map_or(IO_BYTES, |it| it.min(IO_BYTES));
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, at)?;
        file.write_all_at(&bytes, at)?;
        at += len as u64;
    }
    let mut head = vec![0; found.header.head_len as usize];
    file.read_exact_at(&mut head, found.head_at)?;
    let footer = footer(found.header.head_len);
    let footer_at = found.end() - footer.len() as u64;
    file.write_all_at(&footer, footer_at)?;
    for head_at in [found.at, footer_at - head.len() as u64] {
        if head_at != found.head_at {
            file.write_all_at(&head, head_at)?;
        }
    }
    Ok(())
}

/// Zeros both copies of the head of an entry that is forgotten, whose index is given out again.
fn erase_heads(file: &File, found: &Found) -> io::Result<()> {
    let zeros = [0; PAGE];
    file.write_all_at(&zeros, found.at)?;
    file.write_all_at(&zeros, found.end() - PAGE as u64)
}
