//! Appends moved chunks to an extent: gathers them in page-aligned memory and writes it past the page cache where
//! the file system supports that. The data are read later or never, and the copy into the cache, with its
//! memory, would cost more than everything else the broker does for a large body.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::pages::{Pages, open_direct};

/// Where moved chunks are appended.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) active: Option<Active>,
    /// The write buffer, while no extent is active.
    pub(super) pages: Pages,
}

/// The active extent.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) number: u32,
    file: File,
    /// Whether writes go past the page cache.
    direct: bool,
    /// Appended bytes that are not written yet.
    gathered: Pages,
    /// Bytes of the file that are written; `gathered` follows them.
    written: u64,
    /// Whether a write has followed the last sync.
    unsynced: bool,
}

impl Active {
    /// Opens an extent's file to write from its beginning.
    pub(super) fn open(number: u32, path: &Path, gathered: Pages) -> io::Result<Active> {
        let (file, direct) = open_direct(OpenOptions::new().write(true), path)?;
        Ok(Active {
            number,
            file,
            direct,
            gathered,
            written: 0,
            unsynced: false,
        })
    }

    /// Position of the next chunk.
    pub(super) fn end(&self) -> u64 {
        self.written + self.gathered.filled().len() as u64
    }

    /// Adds a chunk, and writes the buffer each time it is full.
    pub(super) fn append(&mut self, path: &Path, mut chunk: &[u8]) -> io::Result<()> {
        while !chunk.is_empty() {
            let taken = self.gathered.fill(chunk);
            chunk = chunk.get(taken..).unwrap_or_default();
            if self.gathered.is_full() {
                self.write(path)?;
            }
        }
        Ok(())
    }

    /// Pads the last page, writes the buffer and makes everything durable.
    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.gathered.pad();
        self.write(path)?;
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Length of the file.
    pub(super) fn file_len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Returns the buffer, for the next extent.
    pub(super) fn into_pages(mut self) -> Pages {
        self.gathered.clear();
        self.gathered
    }

    fn write(&mut self, path: &Path) -> io::Result<()> {
        let pages = self.gathered.filled();
        if pages.is_empty() {
            return Ok(());
        }
        self.unsynced = true;
        match self.file.write_all_at(pages, self.written) {
            // Some file systems report only here that they lack direct I/O.
            Err(e) if self.direct && e.kind() == ErrorKind::InvalidInput => {
                self.direct = false;
                self.file = OpenOptions::new().write(true).open(path)?;
                self.file.write_all_at(pages, self.written)?;
            }
            outcome => outcome?,
        }
        self.written += pages.len() as u64;
        self.gathered.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::pages::{IO_BYTES, PAGE};
    use super::*;

    #[test]
    fn writes_are_whole_aligned_pages() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.ext");
        File::create(&path).unwrap();
        let mut active = Active::open(0, &path, Pages::default()).unwrap();
        active.sync(&path).unwrap();
        assert_eq!(active.end(), 0);
        active.append(&path, &[1; 5000]).unwrap();
        assert_eq!(active.end(), 5000);
        active.sync(&path).unwrap();
        assert_eq!(active.end(), 8192);
        active.append(&path, &vec![2; IO_BYTES + 1]).unwrap();
        assert_eq!(active.gathered.filled(), [2]);
        active.sync(&path).unwrap();
        let expected = [
            vec![1; 5000],
            vec![0; 8192 - 5000],
            vec![2; IO_BYTES + 1],
            vec![0; PAGE - 1],
        ];
        assert_eq!(std::fs::read(&path).unwrap(), expected.concat());
        // A reused extent is written from its beginning, with the same buffer.
        let mut again = Active::open(0, &path, active.into_pages()).unwrap();
        again.append(&path, &[3; 10]).unwrap();
        again.sync(&path).unwrap();
        let found = std::fs::read(&path).unwrap();
        assert_eq!(found[..20], [[3; 10], [0; 10]].concat());
        assert_eq!(found[4096..8192], expected.concat()[4096..8192]);
    }

    #[test]
    fn writes_go_through_the_page_cache_without_direct_io() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.ext");
        File::create(&path).unwrap();
        let mut active = Active::open(0, &path, Pages::misaligned()).unwrap();
        active.append(&path, &[1; 5000]).unwrap();
        active.sync(&path).unwrap();
        active.append(&path, &[2; 4096]).unwrap();
        active.sync(&path).unwrap();
        let expected = [vec![1; 5000], vec![0; 8192 - 5000], vec![2; 4096]].concat();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
    }
}
