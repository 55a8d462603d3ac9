//! Memory that is aligned to pages, for reads and writes past the page cache, and opening files for those.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Every read and write starts at a multiple of this, in the file and in memory, and its length is one.
pub(super) const PAGE: usize = 4096;
/// Bytes that are read or written at once.
pub(super) const IO_BYTES: usize = 1024 * 1024;

#[cfg(target_os = "linux")]
const DIRECT: i32 = rustix::fs::OFlags::DIRECT.bits().cast_signed();
#[cfg(not(target_os = "linux"))]
const DIRECT: i32 = 0;

/// Opens a file past the page cache, where the file system lets it: the second value says so.
pub(super) fn open_direct(options: &mut OpenOptions, path: &Path) -> io::Result<(File, bool)> {
    match options.clone().custom_flags(DIRECT).open(path) {
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok((options.open(path)?, false)),
        opened => Ok((opened?, DIRECT != 0)),
    }
}

/// Memory for one read or write. Takes none until it is used.
#[derive(Debug, Default)]
pub(super) struct Pages {
    memory: Vec<u8>,
    /// Where the first whole page begins.
    start: usize,
    len: usize,
}

impl Pages {
    /// Adds as much as fits, and says how much.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        self.allocate();
        let from = self.start + self.len;
        let taken = bytes.len().min(IO_BYTES - self.len);
        if let (Some(room), Some(bytes)) =
            (self.memory.get_mut(from..from + taken), bytes.get(..taken))
        {
            room.copy_from_slice(bytes);
        }
        self.len += taken;
        taken
    }

    /// Fills the last page with zeros.
    pub(super) fn pad(&mut self) {
        let from = self.start + self.len;
        self.len = self.len.next_multiple_of(PAGE);
        if let Some(rest) = self.memory.get_mut(from..self.start + self.len) {
            rest.fill(0);
        }
    }

    /// What it holds.
    pub(super) fn filled(&self) -> &[u8] {
        self.memory
            .get(self.start..self.start + self.len)
            .unwrap_or_default()
    }

    /// Whether it holds [`IO_BYTES`].
    pub(super) fn is_full(&self) -> bool {
        self.len == IO_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Takes `len` bytes, at most [`IO_BYTES`], from `read`, which is given the room for them.
    pub(super) fn read(
        &mut self,
        len: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.allocate();
        self.len = 0;
        if let Some(room) = self
            .memory
            .get_mut(self.start..self.start + len.min(IO_BYTES))
        {
            self.len = read(room)?;
        }
        Ok(())
    }

    /// Memory that a disk refuses, as all memory is refused by a file system that has only its page cache.
    #[cfg(test)]
    pub(super) fn misaligned() -> Pages {
        let mut pages = Pages::default();
        pages.allocate();
        pages.start = if pages.start % 2 == 0 { 1 } else { 0 };
        pages
    }

    fn allocate(&mut self) {
        if self.memory.is_empty() {
            self.memory = vec![0; IO_BYTES + PAGE];
            self.start = self.memory.as_ptr().align_offset(PAGE).min(PAGE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_file_that_only_the_page_cache_can_read_is_opened_all_the_same() {
        let path = Path::new("/proc/self/status");
        let (mut file, direct) = open_direct(OpenOptions::new().read(true), path).unwrap();
        assert!(!direct);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(text.contains("VmRSS"), "{text}");
        let missing = open_direct(OpenOptions::new().read(true), Path::new("/proc/none"));
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn holds_whole_pages_at_whole_pages() {
        let mut pages = Pages::default();
        assert_eq!(pages.filled(), b"");
        assert_eq!(pages.fill(&[1; 5000]), 5000);
        pages.pad();
        assert_eq!(
            pages.filled(),
            [vec![1; 5000], vec![0; 2 * PAGE - 5000]].concat()
        );
        assert_eq!(pages.filled().as_ptr().align_offset(PAGE), 0);
        assert_eq!(pages.fill(&[2; IO_BYTES]), IO_BYTES - 2 * PAGE);
        assert!(pages.is_full());
        pages.read(PAGE, |room| Ok(room.len() - 1)).unwrap();
        assert_eq!(pages.filled().len(), PAGE - 1);
    }
}
