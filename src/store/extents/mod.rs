//! Extents: preallocated files that are used again and again. Some hold the entries of the log (see
//! [`super::log`]), and in them the chunks; others hold chunks that were moved out of sparse extents. The database
//! stores the chunks' addresses. Knows bytes and files; knows nothing of entries and keys.
//!
//! Three rules make this safe across a power loss:
//! - A moved chunk is synced before the database learns its address ([`Writer::sync`]), and an entry of the log
//!   before it is applied, so every address leads to its chunk.
//! - An extent is reused only after a checkpoint has made the removal of all its chunks durable
//!   ([`Extents::before_checkpoint`]), so a removal that a power loss undoes finds its chunk again.
//! - Each write starts on a new page, so no write touches a page with synced data.

mod active; // the extent that moved chunks are appended to
mod address; // the address of a chunk, pure
mod pages; // memory aligned to pages
mod reader; // reading chunks back
mod spare; // extents that are made ready for the log
mod usage; // how much of each extent is in use, pure
mod writer; // appending moved chunks

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::FallocateFlags;

use self::active::End;
pub(super) use self::address::ChunkAddress;
use self::pages::open_direct;
pub(super) use self::pages::{IO_BYTES, PAGE, Pages};
use self::reader::Reader;
use self::usage::{Content, ExtentUsage, Fate};
pub(super) use self::writer::Writer;
use super::StoreError;
use super::dir::{free_bytes, sync_dir};
use super::error::{io_error, is_lost};

/// First bytes of an extent that was made ready and never used.
pub(super) const SPARE_MARK: &[u8] = b"leveret spare\0\0\x01";
/// Suffix of the files that hold entries of the log.
const LOG_SUFFIX: &str = "log";
/// Suffix of the files that hold moved chunks.
const CHUNKS_SUFFIX: &str = "ext";
/// The space of an extent is preallocated only while the disk has room for this many extents.
const ROOMY_EXTENTS: u64 = 16;

#[derive(Debug)]
pub(super) struct Extents {
    dir: PathBuf,
    /// Length of an extent. A larger chunk gets an extent of its own length.
    extent_bytes: u64,
    /// The extents of the log that a start finds.
    found_log: Vec<u32>,
    usage: Mutex<ExtentUsage>,
    /// Locked before `usage`.
    active: Mutex<End>,
    reader: Reader,
    /// Number of [`Held`] that exist.
    held: AtomicUsize,
}

/// While it exists, no extent is used again or removed.
#[derive(Debug)]
pub(super) struct Held(Arc<Extents>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Release);
    }
}

impl Extents {
    /// Opens the extents in a directory, and creates the directory if necessary. Numbers below `used` were
    /// given out before, even if their files are missing.
    pub(super) fn open(dir: &Path, extent_bytes: u64, used: u32) -> Result<Extents, StoreError> {
        std::fs::create_dir_all(dir).map_err(|e| io_error("creating", dir, e))?;
        if let Some(parent) = dir.parent() {
            sync_dir(parent)?;
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|e| io_error("reading", dir, e))? {
            let entry = entry.map_err(|e| io_error("reading", dir, e))?;
            let metadata = entry
                .metadata()
                .map_err(|e| io_error("reading", &entry.path(), e))?;
            if let Some((number, content)) = number_of(&entry.path()) {
                found.push((number, content, metadata.len()));
            }
        }
        found.sort_unstable_by_key(|(number, ..)| *number);
        Ok(Extents {
            dir: dir.to_owned(),
            extent_bytes: extent_bytes.min(u64::from(u32::MAX)),
            usage: Mutex::new(ExtentUsage::new(found.iter().copied(), used)),
            found_log: found
                .into_iter()
                .filter(|(_, content, _)| *content == Content::Entries)
                .map(|(number, ..)| number)
                .collect(),
            active: Mutex::default(),
            reader: Reader::default(),
            held: AtomicUsize::new(0),
        })
    }

    /// Reads the chunks at these addresses. `None` stands for a chunk that is missing or damaged.
    pub(super) fn read(
        &self,
        addresses: &[ChunkAddress],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut chunks = Vec::with_capacity(addresses.len());
        let mut rest = addresses;
        while let Some(first) = rest.first() {
            let (now, later) = rest.split_at(reader::neighbours(rest));
            let path = self.path(first.extent);
            match self.reader.read(&path, now) {
                Ok(read) => chunks.extend(read),
                Err(e) if is_lost(&e) && now.len() > 1 => {
                    for address in now {
                        chunks.extend(self.read(&[*address])?); // finds those that can be read
                    }
                }
                Err(e) if is_lost(&e) => chunks.push(None),
                Err(e) => return Err(io_error("reading", &path, e)),
            }
            rest = later;
        }
        Ok(chunks)
    }

    /// Counts these chunks as removed. Called after the commit of their removal.
    pub(super) fn released(&self, addresses: &[ChunkAddress]) {
        if addresses.is_empty() {
            return;
        }
        let mut usage = self.usage.lock();
        for address in addresses {
            usage.released(address.extent, address.len);
        }
    }

    /// Takes over the bytes of live chunks per extent at the time the database was opened. Returns the
    /// extents whose files are missing.
    pub(super) fn counted(&self, found: &BTreeMap<u32, u64>) -> Vec<(u32, u64)> {
        self.usage.lock().count(found)
    }

    /// The extents whose last chunks are worth moving, see [`ExtentUsage::sparse`]. None while all are kept.
    pub(super) fn sparse(&self, slack: u64, upto: u64, live_max: u64) -> Vec<u32> {
        if self.is_held() {
            return Vec::new();
        }
        self.usage.lock().sparse(slack, upto, live_max)
    }

    /// Notes that what these extents still hold cannot be moved.
    pub(super) fn stuck(&self, numbers: &[u32]) {
        self.usage.lock().stuck(numbers);
    }

    /// Keeps all extents that hold a chunk now, also when it is removed or moved.
    pub(super) fn hold(self: &Arc<Extents>) -> Held {
        self.held.fetch_add(1, Ordering::Acquire);
        Held(Arc::clone(self))
    }

    fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire) > 0
    }

    /// Bytes of the extents that [`Extents::before_checkpoint`] would take.
    pub(super) fn emptied_bytes(&self, upto: u64) -> u64 {
        if self.is_held() {
            return 0;
        }
        self.usage.lock().emptied(upto) as u64 * self.extent_bytes
    }

    /// Called before a checkpoint that covers the entries up to `upto`. Pass the result to
    /// [`Extents::after_checkpoint`].
    pub(super) fn before_checkpoint(&self, upto: u64) -> Vec<u32> {
        if self.is_held() {
            return Vec::new();
        }
        self.usage.lock().take_emptied(upto)
    }

    /// Called after the checkpoint. If it succeeded, the extents emptied before it become reusable.
    pub(super) fn after_checkpoint(&self, emptied: Vec<u32>, done: bool) -> Result<(), StoreError> {
        if emptied.is_empty() {
            return Ok(());
        }
        let mut usage = self.usage.lock();
        if !done {
            usage.put_back(emptied);
            return Ok(());
        }
        drop(usage);
        let mut removed = Vec::new();
        for number in emptied {
            let path = self.path(number);
            if self.usage.lock().finish(number, self.extent_bytes) == Fate::Remove {
                removed.push((number, path));
            }
        }
        self.remove(&removed)
    }

    /// The number after the newest extent.
    pub(super) fn used(&self) -> u32 {
        self.usage.lock().next_number()
    }

    /// Length of an extent.
    pub(super) fn extent_bytes(&self) -> u64 {
        self.extent_bytes
    }

    /// The extents of the log that existed at the start, by number.
    pub(super) fn found_log(&self) -> impl Iterator<Item = u32> {
        self.found_log.iter().copied()
    }

    /// Their directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes an extent active for the log. Returns its number, and whether all of its space was written before.
    pub(super) fn begin_log(&self) -> Result<(u32, bool), StoreError> {
        let (number, exists) = self.usage.lock().take(Content::Entries);
        if !exists {
            self.create(number)?;
        }
        Ok((number, exists))
    }

    /// Whether an extent is ready for the log whose space was written before.
    pub(super) fn has_spare(&self) -> bool {
        self.usage.lock().has_spare()
    }

    /// Goes on with the log in an extent of an earlier run.
    pub(super) fn resume_log(&self, number: u32) {
        self.usage.lock().resume(number);
    }

    /// Records the last log entry in an extent of an earlier run.
    pub(super) fn ends_with(&self, number: u32, last_index: u64) {
        self.usage.lock().ends_with(number, last_index);
    }

    /// Ends an extent of the log, whose appends end at `end`.
    pub(super) fn seal_log(&self, number: u32, end: u64, last_index: u64) {
        let size = end.max(self.extent_bytes);
        let filled = end >= self.extent_bytes / 4 * 3;
        self.usage.lock().seal(number, size, last_index, filled);
    }

    /// Counts chunks that an entry of the log has put.
    pub(super) fn added(&self, addresses: &[ChunkAddress]) {
        let mut usage = self.usage.lock();
        for address in addresses {
            usage.added(address.extent, address.len);
        }
    }

    /// Frees buffers, and the disk space of all spare extents but `keep`.
    pub(super) fn trim(&self, keep: usize) -> Result<(), StoreError> {
        self.reader.trim();
        let taken = self.usage.lock().take_spare(keep);
        let path = |number| self.dir.join(format!("{number}.{LOG_SUFFIX}"));
        let removed: Vec<_> = taken.into_iter().map(|it| (it, path(it))).collect();
        self.remove(&removed)
    }

    /// Allocated bytes on disk.
    pub(super) fn disk_bytes(&self) -> Result<u64, StoreError> {
        use std::os::unix::fs::MetadataExt;
        const BLOCK: u64 = 512; // the unit of `st_blocks` everywhere
        let reading = |e| io_error("reading", &self.dir, e);
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.dir).map_err(reading)? {
            match entry.map_err(reading)?.metadata() {
                Ok(metadata) => bytes += metadata.blocks() * BLOCK,
                Err(e) if e.kind() == ErrorKind::NotFound => {} // removed since
                Err(e) => return Err(reading(e)),
            }
        }
        Ok(bytes)
    }

    /// Removes files. Goes on behind one that cannot be removed.
    fn remove(&self, files: &[(u32, PathBuf)]) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for (number, path) in files {
            let removed = std::fs::remove_file(path).map_err(|e| io_error("removing", path, e));
            // Not before: a read between the two would open the file again, and keep its space.
            self.reader.forget(*number);
            outcome = outcome.and(removed);
        }
        outcome
    }

    /// Creates the file of an extent, and allocates its space.
    fn create(&self, number: u32) -> Result<(), StoreError> {
        let path = self.path(number);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| io_error("creating", &path, e))?;
        let room = free_bytes(&self.dir).unwrap_or(0) / ROOMY_EXTENTS;
        // Only for speed: without it the file grows with each write.
        let flags = FallocateFlags::empty();
        if room >= self.extent_bytes
            && let Err(error) = rustix::fs::fallocate(&file, flags, 0, self.extent_bytes)
        {
            tracing::debug!(path = %path.display(), %error, "cannot preallocate an extent");
        }
        sync_dir(&self.dir)
    }

    /// Opens the file of an extent.
    pub(super) fn open_file(
        &self,
        number: u32,
        options: &mut OpenOptions,
    ) -> Result<(File, bool), StoreError> {
        let path = self.path(number);
        open_direct(options, &path).map_err(|e| io_error("opening", &path, e))
    }

    /// The file of an extent.
    pub(super) fn path(&self, number: u32) -> PathBuf {
        let content = self.usage.lock().content(number);
        let suffix = match content.unwrap_or(Content::Entries) {
            Content::Entries => LOG_SUFFIX,
            Content::Chunks => CHUNKS_SUFFIX,
        };
        self.dir.join(format!("{number}.{suffix}"))
    }
}

fn number_of(path: &Path) -> Option<(u32, Content)> {
    let content = match path.extension()?.to_str()? {
        LOG_SUFFIX => Content::Entries,
        CHUNKS_SUFFIX => Content::Chunks,
        _ => return None,
    };
    Some((path.file_stem()?.to_str()?.parse().ok()?, content))
}

#[cfg(test)]
mod tests;
