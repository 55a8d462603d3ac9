//! Small files that hold the position of an entry and are never synced themselves. They survive the end of the
//! process; after a power loss they may hold an earlier position, which is true as well.
//!
//! - `synced`: the last entry that is on disk for certain, written after each sync. With it a start can tell that the
//!   last entry is damaged and not unfinished.
//! - `committed`: in a set, the last entry that a majority is known to have. With it a start applies entries before it
//!   has heard a leader.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tracing::debug;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::id::EntryId;

/// Name of the file of the last synced entry in the log's directory.
pub(super) const SYNCED: &str = "synced";
/// Name of the file of the last committed entry.
pub(super) const COMMITTED: &str = "committed";

#[derive(Debug)]
pub(super) struct SyncedFile {
    path: PathBuf,
    seed: u64,
    file: Option<File>,
}

impl SyncedFile {
    pub(super) fn new(dir: &Path, name: &str, seed: u64) -> SyncedFile {
        SyncedFile {
            path: dir.join(name),
            seed,
            file: None,
        }
    }

    /// The recorded position; the zero position if the file is missing or damaged. Earlier releases recorded no term.
    pub(super) fn read(&self) -> EntryId {
        let Ok(bytes) = std::fs::read(&self.path) else {
            return EntryId::default();
        };
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 8).and_then(|it| it.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let index = number(0);
        let id = EntryId {
            term: number(8),
            index,
        };
        let before = [index.to_le_bytes(), self.sum(&index.to_le_bytes())].concat();
        if bytes == self.encode(id) {
            id
        } else if bytes == before {
            EntryId { term: 0, index }
        } else {
            EntryId::default()
        }
    }

    /// Records a position. A failure only means that less can be told from it.
    pub(super) fn record(&mut self, id: EntryId) {
        if let Err(error) = self.write(id) {
            debug!(path = %self.path.display(), %error, "cannot record a position of the log");
            self.file = None;
        }
    }

    fn write(&mut self, id: EntryId) -> io::Result<()> {
        let bytes = self.encode(id);
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

    fn encode(&self, id: EntryId) -> [u8; 24] {
        let numbers = [id.index.to_le_bytes(), id.term.to_le_bytes()].concat();
        let sum = self.sum(&numbers);
        let mut bytes = numbers.into_iter().chain(sum);
        std::array::from_fn(|_| bytes.next().unwrap_or(0))
    }

    fn sum(&self, numbers: &[u8]) -> [u8; 8] {
        xxh3_64_with_seed(numbers, self.seed).to_le_bytes()
    }
}
