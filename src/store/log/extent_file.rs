//! A file of the log, as a start reads it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::entry::{FOOTER_LEN, HEADER_LEN, Header, decode_footer, sum_of};
use super::id::{EntryId, Written};
use crate::store::StoreError;
use crate::store::error::{io_error, is_lost};
use crate::store::extents::{Extents, IO_BYTES, PAGE};

/// An entry whose head is whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) header: Header,
    pub(super) extent: u32,
    pub(super) at: u64,
    /// Where its whole head begins: at `at`, unless only the copy is whole.
    pub(super) head_at: u64,
}

impl Found {
    pub(super) fn id(&self) -> EntryId {
        EntryId {
            term: self.header.term,
            index: self.header.index,
        }
    }

    pub(super) fn written(&self) -> Written {
        Written {
            generation: self.header.generation,
            id: self.id(),
        }
    }

    /// Position after its last page.
    pub(super) fn end(&self) -> u64 {
        self.at + u64::from(self.header.pages) * PAGE as u64
    }
}

/// A file of the log that is scanned.
#[derive(Debug)]
pub(super) struct ExtentFile {
    pub(super) number: u32,
    pub(super) path: PathBuf,
    file: File,
    pub(super) len: u64,
}

impl ExtentFile {
    pub(super) fn open(extents: &Extents, number: u32) -> Result<ExtentFile, StoreError> {
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
    pub(super) fn read(&self, at: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(left)];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(bytes),
            Err(e) if is_lost(&e) => Ok(Vec::new()),
            Err(e) => Err(io_error("reading", &self.path, e)),
        }
    }

    /// The entry that begins here, if its head is whole.
    pub(super) fn whole_at(
        &self,
        at: u64,
        seed: u64,
    ) -> Result<Option<(Header, Vec<u8>)>, StoreError> {
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

    /// As [`ExtentFile::whole_at`], with its place.
    pub(super) fn found_at(&self, at: u64, seed: u64) -> Result<Option<Found>, StoreError> {
        let whole = self.whole_at(at, seed)?;
        Ok(whole.map(|(header, _)| Found {
            header,
            extent: self.number,
            at,
            head_at: at,
        }))
    }

    /// The whole entries from `at` on whose index is at least `from`, wherever they begin.
    pub(super) fn entries_from(
        &self,
        mut at: u64,
        from: u64,
        seed: u64,
    ) -> Result<Vec<Found>, StoreError> {
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

    /// Whether anything was written.
    pub(super) fn has_data(&self) -> bool {
        self.next_data(0).is_some()
    }

    /// The entry that begins at `at` and whose head is damaged, by the copy of its head before `end`.
    pub(super) fn copied_at(
        &self,
        at: u64,
        end: u64,
        seed: u64,
    ) -> Result<Option<Found>, StoreError> {
        self.copied_if(at, end, seed, |_| true)
    }

    /// As [`ExtentFile::copied_at`], if the header fits.
    pub(super) fn copied_if(
        &self,
        at: u64,
        end: u64,
        seed: u64,
        fits: impl Fn(&Header) -> bool,
    ) -> Result<Option<Found>, StoreError> {
        let mut page = at;
        while let Some(data) = self.next_data(page).filter(|data| *data < end) {
            page = data - data % PAGE as u64;
            let bytes = self.read(page, IO_BYTES)?;
            let pages = bytes.chunks(PAGE).zip((page..end).step_by(PAGE));
            for (bytes, start) in pages {
                let footer = bytes.get(PAGE - FOOTER_LEN..).and_then(decode_footer);
                let before = start + (PAGE - FOOTER_LEN) as u64;
                let head_at = footer.and_then(|len| before.checked_sub(len as u64));
                let Some(head_at) = head_at.filter(|head_at| *head_at >= at) else {
                    continue;
                };
                let found = self.whole_at(head_at, seed)?;
                if let Some((header, _)) = found
                    && fits(&header)
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
