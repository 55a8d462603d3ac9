//! Extents: files beside the database that hold the chunks of large batches. A chunk is written once, and the
//! space is reused. The database stores the chunks' addresses. Knows bytes and files; knows nothing of keys.
//!
//! Three rules make this safe across a power loss:
//! - A chunk is synced before the database learns its address ([`Writer::sync`]), so every address leads to
//!   its chunk.
//! - An extent is reused only after a sync has made the removal of all its chunks durable
//!   ([`Extents::before_sync`]), so a removal that a power loss undoes finds its chunk again.
//! - Each batch starts on a new page, so no write touches a page with synced data.

mod address; // the address of a chunk, pure
mod pages; // memory aligned to pages
mod reader; // reading chunks back
mod usage; // how much of each extent is in use, pure
mod writer; // the end of an extent

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::FallocateFlags;

pub(super) use self::address::ChunkAddress;
use self::pages::Pages;
use self::reader::Reader;
use self::usage::{ExtentUsage, Fate};
use self::writer::Active;
use super::StoreError;
use super::dir::{free_bytes, sync_dir};
use super::error::{io_error, is_lost};

/// The space of an extent is preallocated only while the disk has room for this many extents.
const ROOMY_EXTENTS: u64 = 16;

#[derive(Debug)]
pub(super) struct Extents {
    dir: PathBuf,
    /// Length of an extent. A larger chunk gets an extent of its own length.
    extent_bytes: u64,
    usage: Mutex<ExtentUsage>,
    /// Locked before `usage`.
    active: Mutex<End>,
    reader: Reader,
}

/// The end of the extents, where chunks are appended.
#[derive(Debug, Default)]
struct End {
    active: Option<Active>,
    /// The write buffer, while no extent is active.
    pages: Pages,
}

/// Appends chunks. At most one writer exists at a time.
pub(super) struct Writer<'a> {
    extents: &'a Extents,
    end: MutexGuard<'a, End>,
    used: Option<u32>,
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
            if let Some(number) = number_of(&entry.path()) {
                found.push((number, metadata.len()));
            }
        }
        Ok(Extents {
            dir: dir.to_owned(),
            extent_bytes: extent_bytes.min(u64::from(u32::MAX)),
            usage: Mutex::new(ExtentUsage::new(found, used)),
            active: Mutex::default(),
            reader: Reader::default(),
        })
    }

    /// Waits for the current writer to end, and excludes others.
    pub(super) fn writer(&self) -> Writer<'_> {
        Writer {
            extents: self,
            end: self.active.lock(),
            used: None,
        }
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

    /// Whether no extent holds a live chunk.
    pub(super) fn is_unused(&self) -> bool {
        self.usage.lock().is_unused()
    }

    /// The extents whose last chunks are worth moving, see [`ExtentUsage::sparse`].
    pub(super) fn sparse(&self, slack: u64) -> Vec<u32> {
        self.usage.lock().sparse(slack)
    }

    /// Called before a sync of the database. Pass the result to [`Extents::after_sync`].
    pub(super) fn before_sync(&self) -> Vec<u32> {
        self.usage.lock().take_emptied()
    }

    /// Called after the sync. If it succeeded, the extents emptied before it become reusable.
    pub(super) fn after_sync(&self, emptied: Vec<u32>, synced: bool) -> Result<(), StoreError> {
        if emptied.is_empty() {
            return Ok(());
        }
        let mut usage = self.usage.lock();
        if !synced {
            usage.put_back(emptied);
            return Ok(());
        }
        let removed: Vec<u32> = emptied
            .into_iter()
            .filter(|number| usage.finish(*number, self.extent_bytes) == Fate::Remove)
            .collect();
        drop(usage);
        self.remove(&removed)
    }

    /// Frees buffers, and the disk space of all spare extents but `keep`.
    pub(super) fn trim(&self, keep: usize) -> Result<(), StoreError> {
        self.reader.trim();
        let removed = self.usage.lock().take_spare(keep);
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

    fn remove(&self, numbers: &[u32]) -> Result<(), StoreError> {
        for number in numbers {
            self.reader.forget(*number);
            let path = self.path(*number);
            std::fs::remove_file(&path).map_err(|e| io_error("removing", &path, e))?;
        }
        Ok(())
    }

    /// Opens the next extent for appending.
    fn begin(&self, pages: Pages, used: &mut Option<u32>) -> Result<Active, StoreError> {
        let (number, exists) = self.usage.lock().take();
        let path = self.path(number);
        let active =
            Active::open(number, &path, pages).map_err(|e| io_error("opening", &path, e))?;
        if !exists {
            *used = Some(number.saturating_add(1));
            let room = free_bytes(&self.dir).unwrap_or(0) / ROOMY_EXTENTS;
            // Only for speed: without it the file grows with each write.
            let flags = FallocateFlags::empty();
            if room >= self.extent_bytes
                && let Err(error) =
                    rustix::fs::fallocate(active.file(), flags, 0, self.extent_bytes)
            {
                tracing::debug!(path = %path.display(), %error, "cannot preallocate an extent");
            }
            sync_dir(&self.dir)?;
        }
        Ok(active)
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number}.ext"))
    }
}

impl Writer<'_> {
    /// Adds a chunk. [`Writer::sync`] writes it at the latest. `None` if the chunk cannot have an address.
    pub(super) fn append(&mut self, chunk: &[u8]) -> Result<Option<ChunkAddress>, StoreError> {
        let extents = self.extents;
        let Ok(len) = u32::try_from(chunk.len()) else {
            return Ok(None);
        };
        let is_full = |active: &Active| {
            active.end() > 0 && active.end() + u64::from(len) > extents.extent_bytes
        };
        if self.end.active.as_ref().is_some_and(is_full) {
            self.seal()?;
        }
        let end = &mut *self.end;
        let active = match &mut end.active {
            Some(active) => active,
            none => none.insert(extents.begin(std::mem::take(&mut end.pages), &mut self.used)?),
        };
        let address = u32::try_from(active.end())
            .ok()
            .and_then(|at| ChunkAddress::new(active.number, at, chunk));
        if address.is_some() {
            extents.usage.lock().added(active.number, len);
            self.write(|active, path| active.append(path, chunk))?;
        }
        Ok(address)
    }

    /// The number after the newest extent, if this writer has created one.
    pub(super) fn used(&self) -> Option<u32> {
        self.used
    }

    /// Writes the appended chunks and makes them durable. Called before their addresses are committed.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.write(Active::sync)
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut Active, &Path) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let Some(active) = &mut self.end.active else {
            return Ok(());
        };
        let path = self.extents.path(active.number);
        write(active, &path).map_err(|e| {
            // The extent's contents are unknown now. The next opening of the database counts it anew.
            self.end.active = None;
            io_error("writing", &path, e)
        })
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        if let Some(active) = self.end.active.take() {
            let size = active.end().max(self.extents.extent_bytes);
            self.extents.usage.lock().seal(active.number, size);
            self.end.pages = active.into_pages();
        }
        Ok(())
    }
}

fn number_of(path: &Path) -> Option<u32> {
    path.extension().filter(|extension| *extension == "ext")?;
    path.file_stem()?.to_str()?.parse().ok()
}
