//! A log in a preallocated file: the least that a broker can do for durability. It has no index and is never
//! read.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Length of the file in bytes. A full file is overwritten from its beginning.
const FILE_BYTES: u64 = 256 * 1024 * 1024;
/// Size of the writes that allocate the file, in bytes.
const FILL_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct PreallocatedLog {
    file: File,
    /// Position of the next write.
    at: u64,
    /// Records that are not written yet.
    pending: Vec<u8>,
}

impl PreallocatedLog {
    /// Creates the file in a directory, without a name, so that it disappears with this value.
    pub(crate) fn open(dir: &Path) -> io::Result<PreallocatedLog> {
        let path = dir.join(format!("ideal-log.{}", std::process::id()));
        let file = File::create_new(&path)?;
        fs::remove_file(&path)?;
        let zeros = vec![0; FILL_BYTES];
        for at in (0..FILE_BYTES).step_by(FILL_BYTES) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(PreallocatedLog {
            file,
            at: 0,
            pending: Vec::new(),
        })
    }

    /// Adds a record to the next write.
    pub(crate) fn push(&mut self, record: &[u8]) {
        let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
        self.pending.extend_from_slice(&len.to_le_bytes());
        self.pending.extend_from_slice(record);
    }

    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.at + self.pending.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.pending, self.at)?;
        self.at += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_follow_each_other_and_the_file_is_reused() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = PreallocatedLog::open(dir.path()).unwrap();
        for record in [&b"one"[..], b"three"] {
            log.push(record);
        }
        log.write().unwrap();
        log.sync().unwrap();
        let mut bytes = [0; 16];
        log.file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"\x03\0\0\0one\x05\0\0\0three");
        log.at = FILE_BYTES - 1;
        log.push(b"next");
        log.write().unwrap();
        assert_eq!(log.at, 8);
    }
}
