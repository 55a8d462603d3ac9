//! The file `synced`: the index of the last entry that is on disk for certain. It is written after each sync and never
//! synced itself. It survives the end of the process; after a power loss it may hold an earlier index, which is true as
//! well. With it a start can tell that the last entry is damaged and not unfinished.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tracing::debug;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Name of the file in the log's directory.
const NAME: &str = "synced";

#[derive(Debug)]
pub(super) struct SyncedFile {
    path: PathBuf,
    seed: u64,
    file: Option<File>,
}

impl SyncedFile {
    pub(super) fn new(dir: &Path, seed: u64) -> SyncedFile {
        SyncedFile {
            path: dir.join(NAME),
            seed,
            file: None,
        }
    }

    /// The recorded index; 0 if the file is missing or damaged.
    pub(super) fn read(&self) -> u64 {
        let Ok(bytes) = std::fs::read(&self.path) else {
            return 0;
        };
        let (Some(&index), true) = (bytes.first_chunk::<8>(), bytes.len() == 16) else {
            return 0;
        };
        let index = u64::from_le_bytes(index);
        if bytes == self.encode(index) {
            index
        } else {
            0
        }
    }

    /// Records an index. A failure only means that less damage can be told from unfinished writes.
    pub(super) fn record(&mut self, index: u64) {
        if let Err(error) = self.write(index) {
            debug!(path = %self.path.display(), %error, "cannot record the synced entry");
            self.file = None;
        }
    }

    fn write(&mut self, index: u64) -> io::Result<()> {
        let bytes = self.encode(index);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(&self.path)?,
            ),
        };
        file.write_all_at(&bytes, 0)
    }

    fn encode(&self, index: u64) -> [u8; 16] {
        let number = index.to_le_bytes();
        let sum = xxh3_64_with_seed(&number, self.seed).to_le_bytes();
        let mut bytes = number.into_iter().chain(sum);
        std::array::from_fn(|_| bytes.next().unwrap_or(0))
    }
}
