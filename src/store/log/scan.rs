//! What a start finds in the log: the entries after the last one that the database holds, the end, and damage.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use tracing::{info, warn};

use super::entry::{FOOTER_LEN, HEADER_LEN, Header, decode_footer, decode_writes, sum_of};
use super::synced::SyncedFile;
use super::{ActiveExtent, End, Entry, EntryWrite, Log};
use crate::store::StoreError;
use crate::store::error::{io_error, is_lost};
use crate::store::extents::{ChunkAddress, Extents, IO_BYTES, PAGE, Pages, SPARE_MARK};

/// Entries that were on disk and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Damage {
    pub(in crate::store) entries: Range<u64>,
    /// The file and the bytes in it, if they exist.
    pub(in crate::store) place: Option<(PathBuf, Range<u64>)>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Range { start, end } = self.entries;
        write!(f, "entries {start} to {} of the log ", end - 1)?;
        match &self.place {
            Some((path, bytes)) => {
                let (from, to) = (bytes.start, bytes.end);
                write!(f, "({}, bytes {from} to {to}) ", path.display())?;
            }
            None => f.write_str("(no file holds them) ")?,
        }
        f.write_str("cannot be read")
    }
}

/// An entry whose head is whole.
#[derive(Clone, Copy, Debug)]
struct Found {
    header: Header,
    extent: u32,
    at: u64,
    /// Where its whole head begins: at `at`, unless only the copy is whole.
    head_at: u64,
}

impl Found {
    fn end(&self) -> u64 {
        self.at + u64::from(self.header.pages) * PAGE as u64
    }
}

/// The log as a start finds it.
#[derive(Debug)]
pub(in crate::store) struct LogStart {
    extents: Arc<Extents>,
    seed: u64,
    /// The entries to apply, in order.
    entries: Vec<Found>,
    damages: Vec<Damage>,
    /// Where the next entry goes; `None` for a new extent.
    end: Option<(u32, u64)>,
    last: u64,
    last_sum: u64,
    term: u64,
    committed: u64,
    /// The last entry of each extent that the scan has passed.
    last_in: BTreeMap<u32, u64>,
}

impl LogStart {
    /// Scans the log for the entries after `applied`. Takes no entry after `limit`, if there is one.
    pub(in crate::store) fn find(
        extents: &Arc<Extents>,
        seed: u64,
        applied: u64,
        limit: Option<u64>,
    ) -> Result<LogStart, StoreError> {
        let synced = SyncedFile::new(extents.dir(), seed).read();
        let mut scan = Scan::open(extents, seed, synced)?;
        scan.walk(applied, limit.unwrap_or(u64::MAX))?;
        let mut start = LogStart {
            extents: Arc::clone(extents),
            seed,
            entries: scan.entries,
            damages: scan.damages,
            end: scan.end,
            last: scan.last,
            last_sum: scan.last_sum,
            term: scan.term + 1,
            committed: scan.committed,
            last_in: scan.last_in,
        };
        start.cut_torn()?;
        Ok(start)
    }

    /// The entries that were on disk and cannot be read.
    pub(in crate::store) fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Reads the entries to apply, in order.
    pub(in crate::store) fn entries(&self) -> impl Iterator<Item = Result<Entry, StoreError>> {
        let mut file: Option<ExtentFile> = None;
        self.entries.iter().map(move |found| {
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
        for found in &self.entries {
            if found.header.index > self.committed {
                self.write_again(found)?;
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
        Ok(Log {
            synced: Mutex::new(SyncedFile::new(self.extents.dir(), self.seed)),
            extents: self.extents,
            seed: self.seed,
            committed: AtomicU64::new(self.last),
            end: Mutex::new(End {
                active,
                term: self.term,
                last: self.last,
                last_sum: self.last_sum,
                unsynced: Vec::new(),
                has_failed: false,
                pages: Pages::default(),
                head: Vec::new(),
            }),
        })
    }

    fn write_again(&self, found: &Found) -> Result<(), StoreError> {
        let path = self.extents.path(found.extent);
        let again = || {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let mut at = found.at;
            while at < found.end() {
                let len = usize::try_from(found.end() - at).map_or(IO_BYTES, |it| it.min(IO_BYTES));
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, at)?;
                file.write_all_at(&bytes, at)?;
                at += len as u64;
            }
            file.sync_data()
        };
        again().map_err(|e| io_error("writing", &path, e))
    }

    /// Ends the log before the first entry that may be unfinished and has a chunk that is not whole.
    fn cut_torn(&mut self) -> Result<(), StoreError> {
        let first = self
            .entries
            .partition_point(|found| found.header.index <= self.committed);
        let mut torn = None;
        for (at, entry) in self.entries().enumerate().skip(first) {
            let entry = entry?;
            let addresses: Vec<ChunkAddress> = entry
                .writes
                .iter()
                .filter_map(|write| match write {
                    EntryWrite::PutChunk { address, .. } => Some(*address),
                    EntryWrite::Put { .. }
                    | EntryWrite::Remove { .. }
                    | EntryWrite::RemoveChunk { .. } => None,
                })
                .collect();
            if self.extents.read(&addresses)?.contains(&None) {
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
        self.entries.truncate(at);
        self.last = found.header.index - 1;
        self.last_sum = found.header.previous;
        self.end = Some((found.extent, found.at));
        self.last_in.retain(|_, last| *last < found.header.index);
        self.last_in.insert(found.extent, self.last);
        Ok(())
    }
}

/// A file of the log that is scanned.
#[derive(Debug)]
struct ExtentFile {
    number: u32,
    path: PathBuf,
    file: File,
    len: u64,
}

impl ExtentFile {
    fn open(extents: &Extents, number: u32) -> Result<ExtentFile, StoreError> {
        let path = extents.path(number);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len, file) = opened.map_err(|e| io_error("opening", &path, e))?;
        Ok(ExtentFile {
            number,
            path,
            file,
            len,
        })
    }

    /// Up to `len` bytes; fewer where the file ends or the disk fails.
    fn read(&self, at: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(left)];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(bytes),
            Err(e) if is_lost(&e) => Ok(Vec::new()),
            Err(e) => Err(io_error("reading", &self.path, e)),
        }
    }

    /// The entry that begins here, if its head is whole.
    fn whole_at(&self, at: u64, seed: u64) -> Result<Option<(Header, Vec<u8>)>, StoreError> {
        let mut head = self.read(at, PAGE)?;
        let Some(header) = Header::decode(&head) else {
            return Ok(None);
        };
        let len = header.head_len as usize;
        if len as u64 > u64::from(header.pages) * PAGE as u64 || at + len as u64 > self.len {
            return Ok(None);
        }
        if len > head.len() {
            head = self.read(at, len)?;
        }
        head.truncate(len);
        let is_whole = head.len() == len && sum_of(seed, &head) == header.sum;
        Ok(is_whole.then_some((header, head)))
    }

    /// The whole entries from `at` on whose index is at least `from`, wherever they begin.
    fn entries_from(&self, mut at: u64, from: u64, seed: u64) -> Result<Vec<Found>, StoreError> {
        let mut found = Vec::new();
        while let Some(data) = self.next_data(at) {
            at = data - data % PAGE as u64;
            let bytes = self.read(at, IO_BYTES)?;
            for (page, start) in bytes.chunks(PAGE).zip((at..).step_by(PAGE)) {
                let may_be = page.len() >= HEADER_LEN
                    && Header::decode(page).is_some_and(|header| header.index >= from);
                if may_be && let Some((header, _)) = self.whole_at(start, seed)? {
                    found.push(Found {
                        header,
                        extent: self.number,
                        at: start,
                        head_at: start,
                    });
                }
            }
            at += IO_BYTES as u64;
        }
        Ok(found)
    }

    /// The entry with this index that begins at `at` and whose head is damaged, by the copy of its head before `end`.
    fn copied(
        &self,
        at: u64,
        end: u64,
        index: u64,
        seed: u64,
    ) -> Result<Option<Found>, StoreError> {
        let mut page = at;
        while page < end {
            let bytes = self.read(page, IO_BYTES)?;
            for (bytes, start) in bytes.chunks(PAGE).zip((page..).step_by(PAGE)) {
                let footer = bytes.get(PAGE - FOOTER_LEN..).and_then(decode_footer);
                let before = start + (PAGE - FOOTER_LEN) as u64;
                let head_at = footer.and_then(|len| before.checked_sub(len as u64));
                let Some(head_at) = head_at.filter(|head_at| *head_at >= at) else {
                    continue;
                };
                let found = self.whole_at(head_at, seed)?;
                if let Some((header, _)) = found
                    && header.index == index
                    && at + u64::from(header.pages) * PAGE as u64 == start + PAGE as u64
                {
                    return Ok(Some(Found {
                        header,
                        extent: self.number,
                        at,
                        head_at,
                    }));
                }
            }
            page += IO_BYTES as u64;
        }
        Ok(None)
    }

    /// Where the file holds data from `at` on. A file system that does not tell has data everywhere.
    fn next_data(&self, at: u64) -> Option<u64> {
        if at >= self.len {
            return None;
        }
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => Some(data),
            Err(rustix::io::Errno::NXIO) => None,
            Err(_) => Some(at),
        }
    }
}

/// The walk over the entries.
struct Scan {
    seed: u64,
    files: BTreeMap<u32, ExtentFile>,
    /// The first entries of the extents.
    heads: Vec<Found>,
    /// Extents without a first entry.
    headless: Vec<u32>,
    entries: Vec<Found>,
    damages: Vec<Damage>,
    end: Option<(u32, u64)>,
    last: u64,
    last_sum: u64,
    term: u64,
    committed: u64,
    last_in: BTreeMap<u32, u64>,
}

impl Scan {
    fn open(extents: &Extents, seed: u64, synced: u64) -> Result<Scan, StoreError> {
        let mut scan = Scan {
            seed,
            files: BTreeMap::new(),
            heads: Vec::new(),
            headless: Vec::new(),
            entries: Vec::new(),
            damages: Vec::new(),
            end: None,
            last: 0,
            last_sum: 0,
            term: 0,
            committed: synced,
            last_in: BTreeMap::new(),
        };
        for number in extents.found_log() {
            let file = ExtentFile::open(extents, number)?;
            match file.whole_at(0, seed)? {
                Some((header, _)) => {
                    scan.term = scan.term.max(header.term);
                    scan.heads.push(Found {
                        header,
                        extent: number,
                        at: 0,
                        head_at: 0,
                    });
                }
                None if file.read(0, SPARE_MARK.len())? == SPARE_MARK => {}
                None => scan.headless.push(number),
            }
            scan.files.insert(number, file);
        }
        scan.heads
            .sort_unstable_by_key(|head| (head.header.index, head.header.term));
        Ok(scan)
    }

    fn walk(&mut self, applied: u64, limit: u64) -> Result<(), StoreError> {
        let before = self
            .heads
            .partition_point(|head| head.header.index <= applied + 1);
        let start = before.checked_sub(1).and_then(|at| self.heads.get(at));
        let mut position = start.map(|head| (head.extent, 0));
        let mut expected = start.map_or(applied + 1, |head| head.header.index);
        let mut previous = None;
        let mut term = 0;
        while expected <= limit {
            let mut follows = self.follows(position, expected, previous, term)?;
            let mut later = Vec::new();
            if follows.is_none() {
                later = self.later(position, expected, term)?;
                let knows = later.iter().map(|found| found.header.committed).max();
                self.committed = self.committed.max(knows.unwrap_or(0));
                if self.committed >= expected {
                    follows = self.copied(position, expected, &later)?;
                }
            }
            if let Some(found) = follows {
                self.term = self.term.max(found.header.term);
                term = found.header.term;
                self.committed = self.committed.max(found.header.committed);
                self.last_in.insert(found.extent, expected);
                if expected > applied {
                    self.entries.push(found);
                }
                previous = Some(found.header.sum);
                position = Some((found.extent, found.end()));
                expected += 1;
                continue;
            }
            let next = later
                .iter()
                .min_by_key(|found| (found.header.index, u64::MAX - found.header.term));
            let is_needed = self.committed >= expected && self.committed > applied;
            let Some(next) = next.filter(|next| is_needed || next.header.index <= applied + 1)
            else {
                if is_needed {
                    let lost = expected.max(applied + 1)..self.committed + 1;
                    self.damaged(lost.clone(), position, None);
                    expected = lost.end;
                    position = None;
                } else if expected <= applied {
                    position = None; // the database holds what is missing
                    expected = applied + 1;
                }
                break;
            };
            let lost = expected.max(applied + 1)..next.header.index;
            if !lost.is_empty() {
                self.damaged(lost, position, Some(next));
            }
            expected = next.header.index;
            previous = None;
            position = Some((next.extent, next.at));
        }
        self.last = (expected - 1).max(applied);
        self.last_sum = previous.unwrap_or(0);
        self.end = position;
        Ok(())
    }

    /// The entry with this index that follows on what was found: at this position, or at the beginning of an extent.
    fn follows(
        &self,
        position: Option<(u32, u64)>,
        index: u64,
        previous: Option<u64>,
        term: u64,
    ) -> Result<Option<Found>, StoreError> {
        let fits = |header: &Header| {
            header.index == index
                && header.term >= term
                && previous.is_none_or(|sum| header.previous == sum)
        };
        let mut found = None;
        if let Some((extent, at)) = position
            && let Some(file) = self.files.get(&extent)
            && let Some((header, _)) = file.whole_at(at, self.seed)?
            && fits(&header)
        {
            found = Some(Found {
                header,
                extent,
                at,
                head_at: at,
            });
        }
        // An entry that was cut off may still stand here while its successor began a new extent.
        let heads = self.heads.iter().filter(|head| fits(&head.header)).copied();
        Ok(found
            .into_iter()
            .chain(heads)
            .max_by_key(|found| found.header.term))
    }

    /// Whole entries that may come after what was found, from this index on.
    fn later(
        &self,
        position: Option<(u32, u64)>,
        index: u64,
        term: u64,
    ) -> Result<Vec<Found>, StoreError> {
        let mut later: Vec<Found> = self
            .heads
            .iter()
            .filter(|head| head.header.index >= index)
            .copied()
            .collect();
        let rest = self.headless.iter().map(|number| (*number, 0));
        for (extent, at) in rest.chain(position) {
            if let Some(file) = self.files.get(&extent) {
                later.extend(file.entries_from(at, index, self.seed)?);
            }
        }
        later.retain(|found| found.header.term >= term);
        Ok(later)
    }

    /// The entry with this index by the copy of its head: at this position, or at the beginning of an extent whose first
    /// head is damaged.
    fn copied(
        &self,
        position: Option<(u32, u64)>,
        index: u64,
        later: &[Found],
    ) -> Result<Option<Found>, StoreError> {
        let firsts = self.headless.iter().map(|number| (*number, 0));
        for (extent, at) in position.into_iter().chain(firsts) {
            let Some(file) = self.files.get(&extent) else {
                continue;
            };
            let behind = later
                .iter()
                .filter(|found| found.extent == extent && found.at > at);
            let end = behind.map(|found| found.at).min().unwrap_or(file.len);
            if let Some(found) = file.copied(at, end, index, self.seed)? {
                warn!(entry = index, file = %file.path.display(), "a head is damaged; its copy is whole");
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn damaged(&mut self, entries: Range<u64>, from: Option<(u32, u64)>, next: Option<&Found>) {
        let place = from.and_then(|(extent, at)| {
            let file = self.files.get(&extent)?;
            let end = match next {
                Some(next) if next.extent == extent => next.at,
                _ => file.len,
            };
            (at < end).then(|| (file.path.clone(), at..end))
        });
        self.damages.push(Damage { entries, place });
    }
}

/// Copies the bytes of damaged stretches to a directory, so that nothing is lost when the log goes on.
pub(in crate::store) fn keep_aside(
    damages: &[Damage],
    dir: &std::path::Path,
) -> Result<(), StoreError> {
    let copy = |path: &std::path::Path, bytes: &Range<u64>| -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let file = File::open(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut kept = File::create(dir.join(format!("{name}-{}", bytes.start)))?;
        let mut part = vec![0; IO_BYTES];
        let mut at = bytes.start;
        while at < bytes.end {
            let len = usize::try_from(bytes.end - at).map_or(IO_BYTES, |it| it.min(IO_BYTES));
            let room = part.get_mut(..len).unwrap_or_default();
            if file.read_exact_at(room, at).is_err() {
                room.fill(0); // the disk does not return them
            }
            io::Write::write_all(&mut kept, room)?;
            at += len as u64;
        }
        kept.sync_all()
    };
    for damage in damages {
        if let Some((path, bytes)) = &damage.place {
            copy(path, bytes).map_err(|e| io_error("keeping a copy of", path, e))?;
        }
    }
    Ok(())
}
