//! Extents: files beside the database in which the chunks of large batches lie, so that they are written once, to
//! space that is used again. The database keeps their places. Knows bytes and files; knows nothing of keys.
//!
//! What makes it safe: a chunk is synced before the database hears of its place ([`Writer::sync`]), so a place that is
//! found after a power loss is never empty. An extent is written anew only when a sync has made the removal of all its
//! chunks final ([`Extents::before_sync`]), so a removal that a power loss undoes finds its chunk again. Batches start
//! on a page of their own: nothing is written to a page that holds what was synced before.

mod address; // where a chunk lies, pure
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

/// With less free space than so many extents need, an extent's space is not allocated beforehand.
const ROOMY_EXTENTS: u64 = 16;

/// The extents of a data directory.
#[derive(Debug)]
pub(super) struct Extents {
    dir: PathBuf,
    /// Length of an extent. One with a chunk that is larger is as long as that.
    extent_bytes: u64,
    usage: Mutex<ExtentUsage>,
    /// Taken before `ledger`.
    active: Mutex<End>,
    reader: Reader,
}

/// Where chunks are appended.
#[derive(Debug, Default)]
struct End {
    active: Option<Active>,
    /// Memory to write from, while no extent is active.
    pages: Pages,
}

/// Appends chunks. While one exists there is no other.
pub(super) struct Writer<'a> {
    extents: &'a Extents,
    end: MutexGuard<'a, End>,
    used: Option<u32>,
}

impl Extents {
    /// Opens the extents in a directory, which is created if need be. Numbers below `used` were in use before, whether
    /// or not their files are there.
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

    /// Waits until nobody appends, and keeps others from it.
    pub(super) fn writer(&self) -> Writer<'_> {
        Writer {
            extents: self,
            end: self.active.lock(),
            used: None,
        }
    }

    /// The chunks at these places; `None` for one that is not there any more, or never was.
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
                        chunks.extend(self.read(&[*address])?); // only some of them
                    }
                }
                Err(e) if is_lost(&e) => chunks.push(None),
                Err(e) => return Err(io_error("reading", &path, e)),
            }
            rest = later;
        }
        Ok(chunks)
    }

    /// These chunks are removed: the change is committed.
    pub(super) fn released(&self, addresses: &[ChunkAddress]) {
        if addresses.is_empty() {
            return;
        }
        let mut usage = self.usage.lock();
        for address in addresses {
            usage.released(address.extent, address.len);
        }
    }

    /// So many bytes of chunks were in each extent when the database was opened. Returns those of them that are missing.
    pub(super) fn counted(&self, found: &BTreeMap<u32, u64>) -> Vec<(u32, u64)> {
        self.usage.lock().count(found)
    }

    /// Whether no chunk lies in an extent.
    pub(super) fn is_unused(&self) -> bool {
        self.usage.lock().is_unused()
    }

    /// The extents from which it is worth moving what is left, see [`ExtentUsage::sparse`].
    pub(super) fn sparse(&self, slack: u64) -> Vec<u32> {
        self.usage.lock().sparse(slack)
    }

    /// To be called before a sync of the database, and its result to be handed to [`Extents::after_sync`].
    pub(super) fn before_sync(&self) -> Vec<u32> {
        self.usage.lock().take_emptied()
    }

    /// The sync has ended: what was emptied before it may be used again, unless it failed.
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

    /// Gives memory back, and the space of spare extents but for so many.
    pub(super) fn trim(&self, keep: usize) -> Result<(), StoreError> {
        self.reader.trim();
        let removed = self.usage.lock().take_spare(keep);
        self.remove(&removed)
    }

    /// Bytes on disk.
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

    /// Makes another extent the active one.
    fn begin(&self, pages: Pages, used: &mut Option<u32>) -> Result<Active, StoreError> {
        let (number, exists) = self.usage.lock().take();
        let path = self.path(number);
        let active =
            Active::open(number, &path, pages).map_err(|e| io_error("opening", &path, e))?;
        if !exists {
            *used = Some(number.saturating_add(1));
            let room = free_bytes(&self.dir).unwrap_or(0) / ROOMY_EXTENTS;
            // Only for speed: where it cannot be done the file grows as it is written.
            let flags = FallocateFlags::empty();
            if room >= self.extent_bytes
                && let Err(error) =
                    rustix::fs::fallocate(active.file(), flags, 0, self.extent_bytes)
            {
                tracing::debug!(path = %path.display(), %error, "cannot allocate an extent beforehand");
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
    /// Adds a chunk, which is written by [`Writer::sync`] at the latest. `None` if it cannot lie in an extent.
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

    /// Every extent that is in use has a number below, if this writer has made a new one.
    pub(super) fn used(&self) -> Option<u32> {
        self.used
    }

    /// Writes what was appended and makes it durable. To be called before the places are committed.
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
            // What it holds now is anybody's guess. It is counted anew when the database is opened again.
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

/// The number of an extent's file.
fn number_of(path: &Path) -> Option<u32> {
    path.extension().filter(|extension| *extension == "ext")?;
    path.file_stem()?.to_str()?.parse().ok()
}
