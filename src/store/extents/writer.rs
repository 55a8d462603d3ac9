//! Appends moved chunks, one writer at a time.

use std::io;
use std::path::Path;

use parking_lot::MutexGuard;

use super::active::{Active, End};
use super::usage::Content;
use super::{ChunkAddress, Extents, Pages};
use crate::store::StoreError;
use crate::store::error::io_error;

/// Appends moved chunks. At most one writer exists at a time.
pub(in crate::store) struct Writer<'a> {
    extents: &'a Extents,
    end: MutexGuard<'a, End>,
}

impl Extents {
    /// Waits for the current writer to end, and excludes others.
    pub(in crate::store) fn writer(&self) -> Writer<'_> {
        Writer {
            extents: self,
            end: self.active.lock(),
        }
    }

    /// Opens the next extent for moved chunks.
    fn begin(&self, pages: Pages) -> Result<Active, StoreError> {
        let (number, _) = self.usage.lock().take(Content::Chunks);
        self.create(number)?;
        let path = self.path(number);
        Active::open(number, &path, pages).map_err(|e| io_error("opening", &path, e))
    }
}

impl Writer<'_> {
    /// Adds a chunk. [`Writer::sync`] writes it at the latest. `None` if the chunk cannot have an address.
    pub(in crate::store) fn append(
        &mut self,
        chunk: &[u8],
    ) -> Result<Option<ChunkAddress>, StoreError> {
        let extents = self.extents;
        let Ok(len) = u32::try_from(chunk.len()) else {
            return Ok(None);
        };
        let is_full = |active: &Active| {
            active.end() > 0 && active.end() + u64::from(len) > extents.extent_bytes
        };
        if self.end.active.as_ref().is_some_and(is_full) {
            self.sync()?;
            self.seal();
        }
        let end = &mut *self.end;
        let active = match &mut end.active {
            Some(active) => active,
            none => none.insert(extents.begin(std::mem::take(&mut end.pages))?),
        };
        let address = u32::try_from(active.end())
            .ok()
            .and_then(|at| ChunkAddress::new(active.number, at, chunk));
        if let Some(address) = &address {
            self.write(|active, path| active.append(path, chunk))?;
            extents.usage.lock().added(address.extent(), len);
        }
        Ok(address)
    }

    /// Writes the appended chunks and makes them durable. Called before their addresses are committed.
    pub(in crate::store) fn sync(&mut self) -> Result<(), StoreError> {
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
        let written = write(active, &path);
        if written.is_err() {
            // What the write has left in the file is unknown. What was synced before is moved on as from any other extent.
            self.seal();
        }
        written.map_err(|e| io_error("writing", &path, e))
    }

    /// Ends the active extent.
    fn seal(&mut self) {
        if let Some(active) = self.end.active.take() {
            let size = active.file_len().unwrap_or(self.extents.extent_bytes);
            self.extents.usage.lock().seal(active.number, size, 0, true);
            self.end.pages = active.into_pages();
        }
    }
}
