//! Page-aligned memory for reads and writes past the page cache (`O_DIRECT`), and the opening of files for
//! them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Every direct read and write is aligned to this in the file and in memory, and its length is a multiple of
/// it.
pub(in crate::store) use crate::store::chunk::PAGE;
/// Maximum bytes of one read or write.
pub(in crate::store) const IO_BYTES: usize = 1024 * 1024;

#[cfg(target_os = "linux")]
const DIRECT: i32 = rustix::fs::OFlags::DIRECT.bits().cast_signed();
#[cfg(not(target_os = "linux"))]
const DIRECT: i32 = 0;

/// Opens a file for direct I/O where the file system supports it. The second value tells whether it does.
pub(in crate::store) fn open_direct(
    options: &mut OpenOptions,
    path: &Path,
) -> io::Result<(File, bool)> {
    match options.clone().custom_flags(DIRECT).open(path) {
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok((options.open(path)?, false)),
        opened => Ok((opened?, DIRECT != 0)),
    }
}

/// The buffer of one read or write. Allocated at its first use.
#[derive(Debug, Default)]
pub(in crate::store) struct Pages {
    memory: Vec<u8>,
    /// Index of the first aligned byte.
    start: usize,
    len: usize,
}

impl Pages {
    /// Copies as many bytes as fit. Returns their number.
    pub(in crate::store) fn fill(&mut self, bytes: &[u8]) -> usize {
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

    /// Room for `len` bytes, with any contents, in place of what was there. May hold more than [`IO_BYTES`].
    pub(in crate::store) fn room(&mut self, len: usize) -> &mut [u8] {
        if self.memory.len() < len + PAGE {
            self.memory = vec![0; len.max(IO_BYTES) + PAGE];
            self.start = self.memory.as_ptr().align_offset(PAGE).min(PAGE);
        }
        self.len = len;
        self.memory
            .get_mut(self.start..self.start + len)
            .unwrap_or_default()
    }

    pub(in crate::store) fn filled(&self) -> &[u8] {
        self.memory
            .get(self.start..self.start + self.len)
            .unwrap_or_default()
    }

    /// Whether it holds [`IO_BYTES`].
    pub(in crate::store) fn is_full(&self) -> bool {
        self.len == IO_BYTES
    }

    pub(in crate::store) fn clear(&mut self) {
        self.len = 0;
    }

    /// Replaces the contents: `read` fills a buffer of `len` bytes (at most [`IO_BYTES`]) and returns how
    /// many it got.
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

    /// Memory that direct I/O refuses, to imitate a file system without direct I/O.
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
    fn a_file_without_direct_io_is_opened_through_the_page_cache() {
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
    fn holds_whole_aligned_pages() {
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
