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

use super::id::{EntryId, Written};

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

    /// The recorded position; the zero position if the file is missing or damaged. Earlier releases recorded no generation,
    /// and before that no term.
    pub(super) fn read(&self) -> Written {
        let Ok(bytes) = std::fs::read(&self.path) else {
            return Written::default();
        };
        let Some((numbers, sum)) = bytes.split_last_chunk() else {
            return Written::default();
        };
        if *sum != self.sum(numbers) {
            return Written::default();
        }
        let number = |at: usize| {
            let bytes = numbers.get(at..at + 8).and_then(|it| it.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        Written {
            generation: number(16),
            id: EntryId {
                term: number(8),
                index: number(0),
            },
        }
    }

    /// Records a position. A failure only means that less can be told from it.
    pub(super) fn record(&mut self, position: Written) {
        if let Err(error) = self.write(position) {
            debug!(path = %self.path.display(), %error, "cannot record a position of the log");
            self.file = None;
        }
    }

    fn write(&mut self, position: Written) -> io::Result<()> {
        let bytes = self.encode(position);
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

    fn encode(&self, position: Written) -> [u8; 32] {
        let Written { generation, id } = position;
        let numbers = [id.index, id.term, generation].map(u64::to_le_bytes);
        let numbers = numbers.concat();
        let sum = self.sum(&numbers);
        let mut bytes = numbers.into_iter().chain(sum);
        std::array::from_fn(|_| bytes.next().unwrap_or(0))
    }

    fn sum(&self, numbers: &[u8]) -> [u8; 8] {
        xxh3_64_with_seed(numbers, self.seed).to_le_bytes()
    }
}
