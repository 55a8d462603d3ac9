//! The log: every batch is one entry, written once past the page cache and made durable by one sync. What the
//! database holds follows from it.
//!
//! Entries stand one after another in extents, each on pages of its own. When an extent is full the next entry begins
//! another one. An entry knows the checksum of the one before, and the last entry that was on disk for certain when
//! it was written (*durable*). So a start can tell an unfinished write from damage: an entry that cannot be read is
//! damaged if anything after it, or the small file `synced`, knows that it was on disk. Otherwise no sync has covered
//! it, it was never reported, and the log ends before it.
//!
//! In a set, terms and indexes are Raft's. Entries that no majority has may be replaced by later ones, and entries are
//! kept for other members until they are purged; see [`chain`].
//!
//! After a failed write or sync the log takes nothing more. It is opened again, and everything after the last
//! durable entry is written anew in a new *term*.

mod chain; // the walk over a member's log at a start
mod damage; // entries that cannot be read
mod entry; // the encoding of entries, pure
mod extent_file; // a file of the log, as a start reads it
mod id; // which entry
mod kept; // the entries that a member keeps for others
mod layout; // where the parts of an entry stand, pure
mod read; // reading entries for others
mod scan; // the walk over the log at a start
mod start; // the log as a start finds it
mod synced; // the files `synced` and `committed`
mod verify; // both copies of the heads
mod vote; // the file `vote`
mod writer; // writing the parts of an entry

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

pub(super) use self::chain::Known;
pub(super) use self::damage::{Damage, keep_aside, keep_bytes};
pub(super) use self::entry::EntryWrite;
use self::entry::{Header, encode_head, footer, head_len, with_addresses};
use self::extent_file::Found;
pub use self::id::EntryId;
use self::id::Written;
use self::kept::Kept;
use self::layout::Layout;
pub(super) use self::start::LogStart;
use self::synced::SyncedFile;
pub(super) use self::verify::{HeadFlaw, head_flaws};
pub use self::vote::Vote;
pub(super) use self::vote::{VoteFile, VoteFlaw};
use self::writer::PartsWriter;
use super::StoreError;
use super::error::io_error;
use super::extents::{ChunkAddress, Extents, IO_BYTES, PAGE, Pages};
use super::writes::{Change, Write};

/// An entry as it is applied to the database.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) writes: Vec<EntryWrite>,
    /// Bytes that it took in the log.
    pub(super) bytes: u64,
}

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    extents: Arc<Extents>,
    /// Known only to this data directory.
    seed: u64,
    end: Mutex<End>,
    /// At most one sync runs at a time. Locked before `end`.
    synced: Mutex<SyncedFile>,
    durable: AtomicU64,
    /// In a set, what a majority has.
    majority: Mutex<SyncedFile>,
}

/// The end of the log.
#[derive(Debug)]
struct End {
    active: Option<ActiveExtent>,
    term: u64,
    /// The generation of the next entry.
    generation: u64,
    /// Index of the last entry.
    last: u64,
    /// Its checksum.
    last_sum: u64,
    /// The entries that are kept for others; `None` outside a set.
    kept: Option<Kept>,
    /// Files with writes since the last sync, besides the active one.
    unsynced: Vec<Arc<File>>,
    /// A write or sync has failed.
    has_failed: bool,
    pages: Pages,
    /// The buffer of a head.
    head: Vec<u8>,
}

/// The extent that the next entry goes to.
#[derive(Debug)]
struct ActiveExtent {
    number: u32,
    file: Arc<File>,
    /// Whether writes go past the page cache.
    direct: bool,
    /// Where the next entry begins.
    at: u64,
    /// Whether all of its space was written before.
    is_written: bool,
}

impl Log {
    /// The index of the last entry that is on disk for certain.
    pub(super) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The index of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.end.lock().last
    }

    /// The term of the entries that this opening writes, outside a set.
    pub(super) fn term(&self) -> u64 {
        self.end.lock().term
    }

    /// Writes a batch as the next entry. A power loss may undo it until [`Log::sync`]. `queue` gets the entry before
    /// another one can be appended.
    pub(super) fn append(
        &self,
        writes: Vec<Write>,
        queue: impl FnOnce(Entry),
    ) -> Result<(), StoreError> {
        let mut end = self.end.lock();
        if end.has_failed {
            return Err(StoreError::Closed);
        }
        let id = EntryId {
            term: end.term,
            index: end.last + 1,
        };
        let entry = self.write(&mut end, id, writes);
        end.has_failed |= entry.is_err();
        queue(entry?);
        Ok(())
    }

    /// As [`Log::append`], for the entry of a set that comes next.
    pub(super) fn append_as(
        &self,
        id: EntryId,
        writes: Vec<Write>,
        queue: impl FnOnce(Entry),
    ) -> Result<(), StoreError> {
        let mut end = self.end.lock();
        if end.has_failed {
            return Err(StoreError::Closed);
        }
        let last = end.kept.as_ref().map(Kept::last);
        if !last.is_some_and(|last| id.index == last.index + 1 && id.term >= last.term) {
            return Err(out_of_order(id, end.last));
        }
        let entry = self.write(&mut end, id, writes);
        end.has_failed |= entry.is_err();
        queue(entry?);
        Ok(())
    }

    /// Forgets the entries after `last`, which no majority has. They stay on disk until later ones replace them.
    pub(super) fn truncate(&self, last: u64) -> Result<(), StoreError> {
        let mut end = self.end.lock();
        if end.has_failed {
            return Err(StoreError::Closed);
        }
        let before = end.last;
        let kept = end.kept.as_mut().filter(|kept| kept.base().index <= last);
        let Some(kept) = kept.filter(|_| last <= before) else {
            return Err(out_of_order(
                EntryId {
                    term: 0,
                    index: last,
                },
                before,
            ));
        };
        kept.truncate(last);
        end.last_sum = kept.last_sum().unwrap_or(0);
        end.generation += u64::from(last < before);
        end.last = last;
        self.durable.fetch_min(last, Ordering::AcqRel);
        Ok(())
    }

    /// Keeps the entries up to `upto` no longer for others.
    pub(super) fn purge(&self, upto: u64) {
        if let Some(kept) = &mut self.end.lock().kept {
            kept.purge(upto);
        }
    }

    /// The entry before the first kept one, and the last entry. `None` outside a set.
    pub(super) fn bounds(&self) -> Option<(EntryId, EntryId)> {
        let end = self.end.lock();
        end.kept.as_ref().map(|kept| (kept.base(), kept.last()))
    }

    /// Number and bytes of the kept entries.
    pub(super) fn kept(&self) -> (usize, u64) {
        let end = self.end.lock();
        let kept = end.kept.as_ref();
        kept.map_or((0, 0), |kept| (kept.len(), kept.bytes()))
    }

    /// The index up to which entries must be purged so that at most these bytes of them stay.
    pub(super) fn excess_upto(&self, keep_bytes: u64) -> u64 {
        let end = self.end.lock();
        let kept = end.kept.as_ref();
        kept.map_or(0, |kept| kept.excess_upto(keep_bytes))
    }

    /// The index up to which nothing but chunks is needed of entries that are applied.
    pub(super) fn unneeded(&self) -> u64 {
        let end = self.end.lock();
        end.kept.as_ref().map_or(u64::MAX, |kept| kept.base().index)
    }

    /// The term of a kept entry.
    pub(super) fn term_of(&self, index: u64) -> Option<u64> {
        let end = self.end.lock();
        end.kept.as_ref()?.term_of(index)
    }

    /// Records that a majority has everything up to this entry.
    pub(super) fn record_majority(&self, id: EntryId) {
        // Its generation tells nothing here.
        self.majority.lock().record(Written { generation: 0, id });
    }

    /// What was recorded so.
    pub(super) fn majority(&self) -> EntryId {
        self.majority.lock().read().id
    }

    /// Makes all entries durable that were appended before this call.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let mut synced = self.synced.lock();
        let mut end = self.end.lock();
        if end.has_failed {
            return Err(StoreError::Closed);
        }
        let upto = end.last;
        let last = match &end.kept {
            Some(kept) => kept.last_written(),
            None => Some(Written {
                generation: 0,
                id: EntryId {
                    term: end.term,
                    index: upto,
                },
            }),
        };
        if upto <= self.durable() {
            return Ok(());
        }
        let mut files = std::mem::take(&mut end.unsynced);
        files.extend(end.active.as_ref().map(|active| Arc::clone(&active.file)));
        drop(end);
        if let Err(error) = files.iter().try_for_each(|file| file.sync_data()) {
            self.end.lock().has_failed = true;
            return Err(StoreError::Io {
                doing: "syncing the log".to_owned(),
                source: error,
            });
        }
        self.durable.store(upto, Ordering::Release);
        if let Some(last) = last {
            synced.record(last);
        }
        Ok(())
    }

    fn write(&self, end: &mut End, id: EntryId, writes: Vec<Write>) -> Result<Entry, StoreError> {
        let head = head_len(&writes);
        let layout = Layout::new(head, chunks(&writes));
        let total = layout.total;
        let mut active = self.extent_for(end, total as u64)?;
        let begins = u32::try_from(active.at);
        let fits = u32::try_from(active.at + total as u64);
        let (Ok(at), Ok(_), Ok(head_len)) = (begins, fits, u32::try_from(head)) else {
            return Err(self.failed(&active, ErrorKind::FileTooLarge.into()));
        };
        let header = Header {
            head_len,
            pages: u32::try_from(total / PAGE).unwrap_or(u32::MAX),
            generation: end.generation,
            term: id.term,
            index: id.index,
            durable: self.durable(),
            previous: end.last_sum,
            sum: 0,
        };
        let addresses = addresses(&writes, active.number, at, &layout)?;
        let mut head = std::mem::take(&mut end.head);
        let sum = encode_head(self.seed, header, &writes, &addresses, at, &mut head);
        let footer = footer(head_len);
        let mut writer = PartsWriter::new(&mut end.pages, active.at);
        let mut write = |pages: &[IoSlice<'_>], at| self.write_at(&mut active, pages, at);
        for part in layout.parts(&head, chunks(&writes), &footer) {
            writer.add(part, &mut write)?;
        }
        writer.finish(&mut write)?;
        if head.capacity() <= IO_BYTES {
            end.head = head;
        }
        self.extents.added(&addresses);
        if let Some(kept) = &mut end.kept {
            kept.push(Found {
                header: Header { sum, ..header },
                extent: active.number,
                at: active.at,
                head_at: active.at,
            });
        }
        active.at += total as u64;
        end.active = Some(active);
        end.last += 1;
        end.last_sum = sum;
        Ok(Entry {
            index: header.index,
            term: header.term,
            writes: with_addresses(writes, &addresses),
            bytes: total as u64,
        })
    }

    /// The extent for an entry of this length: the active one, if it has room.
    fn extent_for(&self, end: &mut End, len: u64) -> Result<ActiveExtent, StoreError> {
        if let Some(active) = end.active.take() {
            let has_room = active.at + len <= self.extents.extent_bytes();
            // Syncs in the other one take less time.
            let is_slow = !active.is_written && self.extents.has_spare();
            if active.at == 0 || (has_room && !is_slow) {
                return Ok(active);
            }
            self.extents.seal_log(active.number, active.at, end.last);
            end.unsynced.push(active.file);
        }
        let (number, is_written) = self.extents.begin_log()?;
        let (file, direct) = self
            .extents
            .open_file(number, OpenOptions::new().write(true))?;
        Ok(ActiveExtent {
            number,
            file: Arc::new(file),
            direct,
            at: 0,
            is_written,
        })
    }

    fn write_at(
        &self,
        active: &mut ActiveExtent,
        pages: &[IoSlice<'_>],
        at: u64,
    ) -> Result<(), StoreError> {
        match writer::write_all_at(&active.file, pages, at) {
            // Some file systems report only here that they lack direct I/O.
            Err(e) if active.direct && e.kind() == ErrorKind::InvalidInput => {
                active.direct = false;
                let path = self.extents.path(active.number);
                let file = OpenOptions::new().write(true).open(&path);
                active.file = Arc::new(file.map_err(|e| io_error("opening", &path, e))?);
                writer::write_all_at(&active.file, pages, at)
            }
            outcome => outcome,
        }
        .map_err(|e| self.failed(active, e))
    }

    fn failed(&self, active: &ActiveExtent, error: io::Error) -> StoreError {
        io_error("writing", &self.extents.path(active.number), error)
    }
}

fn out_of_order(id: EntryId, last: u64) -> StoreError {
    let EntryId { term, index } = id;
    StoreError::Corrupt(format!(
        "entry {index} of term {term} does not fit behind entry {last} of the log"
    ))
}

fn chunks(writes: &[Write]) -> impl Iterator<Item = &[u8]> {
    writes.iter().filter_map(|write| match &write.change {
        Change::PutChunk(_, _, chunk) => Some(&chunk[..]),
        Change::Put(_) | Change::Remove | Change::RemoveChunk(..) | Change::Sweep(..) => None,
    })
}

/// The addresses of the chunks of an entry that begins at `at`.
fn addresses(
    writes: &[Write],
    extent: u32,
    at: u32,
    layout: &Layout,
) -> Result<Vec<ChunkAddress>, StoreError> {
    chunks(writes)
        .zip(&layout.chunks_at)
        .map(|(chunk, from)| {
            let address = u32::try_from(at as usize + from)
                .ok()
                .and_then(|from| ChunkAddress::new(extent, from, chunk));
            address.ok_or_else(|| StoreError::Corrupt("a chunk that makes no sense".to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests;
