//! The progress of a run, for its recovery after a crash. Every batch carries a *note* ([`BatchNote`]) with
//! its number and the number of the last synced batch, and a small file records the last synced batch after
//! each sync. If a batch that is known to be synced is missing, the data are damaged. Other missing batches
//! may be torn by a power loss.
//!
//! The file is written without a sync. It survives the end of the process; after a power loss it may have an
//! older state, which is true as well.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing::debug;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::Ticket;
use crate::store::StoreError;
use crate::store::error::io_error;

/// Name of the file in the data directory.
const SYNCED_FILE: &str = "synced";
/// Length of an encoded note.
const NOTE_LEN: usize = 32;

/// The note that every batch carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchNote {
    /// A random number that tells runs apart.
    pub(super) epoch: u64,
    /// The committer's last ticket.
    pub(super) ticket: u64,
    /// Number of the batch in its run, from 1 on. 0 in notes of earlier releases.
    pub(super) serial: u64,
    /// The last batch of the run that was synced before this one was written; 0 without one.
    pub(super) synced: u64,
}

impl BatchNote {
    pub(super) fn encode(self) -> Vec<u8> {
        [self.epoch, self.ticket, self.serial, self.synced]
            .map(u64::to_le_bytes)
            .concat()
    }

    /// Reads a note, also one of earlier releases, which wrote only the first half.
    pub(super) fn decode(bytes: &[u8]) -> Option<BatchNote> {
        let mut padded = [0; NOTE_LEN];
        let known = bytes.len() == NOTE_LEN || bytes.len() == NOTE_LEN / 2;
        padded
            .get_mut(..bytes.len())
            .filter(|_| known)?
            .copy_from_slice(bytes);
        let [epoch, ticket, serial, synced] = numbers(&padded)?;
        Some(BatchNote {
            epoch,
            ticket,
            serial,
            synced,
        })
    }
}

/// A batch of a run that is on disk, in this journal or a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SyncedBatch {
    pub(super) epoch: u64,
    pub(super) serial: u64,
    pub(super) journal: u64,
}

/// The progress of this run. Batches are numbered in the order of their writes, since each commit holds the
/// writer of the extents.
#[derive(Debug)]
pub(super) struct SyncProgress {
    epoch: u64,
    path: PathBuf,
    serial: AtomicU64,
    ticket: AtomicU64,
    synced: AtomicU64,
    /// A journal that exists before the next batch begins.
    journal: AtomicU64,
    /// The last committed batch.
    committed: Mutex<SyncedBatch>,
    /// The file and the number of the synced batch that it records.
    file: Mutex<(Option<File>, u64)>,
}

impl SyncProgress {
    pub(super) fn new(dir: &Path) -> SyncProgress {
        SyncProgress {
            epoch: rand::random(),
            path: dir.join(SYNCED_FILE),
            serial: AtomicU64::new(0),
            ticket: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            journal: AtomicU64::new(0),
            committed: Mutex::default(),
            file: Mutex::default(),
        }
    }

    /// Tells this run's batches from those of earlier runs.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Records that this journal exists.
    pub(super) fn saw_journal(&self, number: u64) {
        self.journal.fetch_max(number, Ordering::Relaxed);
    }

    /// The note of the next batch, and a lower bound for the journal that it goes to.
    pub(super) fn begin(&self, ticket: Option<Ticket>) -> (BatchNote, u64) {
        if let Some(ticket) = ticket {
            self.ticket.store(ticket.0, Ordering::Relaxed);
        }
        let note = BatchNote {
            epoch: self.epoch,
            ticket: self.ticket.load(Ordering::Relaxed),
            serial: self.serial.fetch_add(1, Ordering::Relaxed) + 1,
            synced: self.synced.load(Ordering::Relaxed),
        };
        (note, self.journal.load(Ordering::Relaxed))
    }

    /// Records the commit of the batch with this note.
    pub(super) fn committed(&self, note: BatchNote, journal: u64) {
        *self.committed.lock() = SyncedBatch {
            epoch: self.epoch,
            serial: note.serial,
            journal,
        };
    }

    /// The last batch that a sync beginning now makes durable.
    pub(super) fn before_sync(&self) -> SyncedBatch {
        *self.committed.lock()
    }

    /// Records a successful sync; `journal` is the newest one.
    pub(super) fn after_sync(&self, synced: SyncedBatch, journal: Option<u64>) {
        if let Some(journal) = journal {
            self.saw_journal(journal);
        }
        let mut file = self.file.lock();
        let (open, said) = &mut *file;
        if synced.serial <= *said {
            return;
        }
        self.synced.fetch_max(synced.serial, Ordering::Relaxed);
        match write(open, &self.path, synced) {
            Ok(()) => *said = synced.serial,
            Err(error) => {
                // The file only helps to tell damage after a crash; confirms do not depend on it. Its older
                // state stays true.
                debug!(path = %self.path.display(), %error, "cannot record the synced batch");
                *open = None;
            }
        }
    }
}

fn write(file: &mut Option<File>, path: &Path, synced: SyncedBatch) -> io::Result<()> {
    let file = match file {
        Some(file) => file,
        none => none.insert(
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?,
        ),
    };
    let SyncedBatch {
        epoch,
        serial,
        journal,
    } = synced;
    let mut bytes = [epoch, serial, journal].map(u64::to_le_bytes).concat();
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    file.write_all_at(&bytes, 0)
}

/// The last synced batch that the previous run recorded. `None` if the file is missing or damaged.
pub(super) fn read_synced(dir: &Path) -> Result<Option<SyncedBatch>, StoreError> {
    let path = dir.join(SYNCED_FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("reading", &path, e)),
    };
    let Ok(bytes) = <[u8; NOTE_LEN]>::try_from(bytes) else {
        return Ok(None);
    };
    let (content, _) = bytes.split_at(NOTE_LEN - 8);
    let sum = xxh3_64(content);
    Ok(numbers(&bytes)
        .filter(|[.., told]| *told == sum)
        .map(|[epoch, serial, journal, _]| SyncedBatch {
            epoch,
            serial,
            journal,
        }))
}

/// Removes the record of the previous run, which is no longer true after damaged batches were cut out.
pub(super) fn forget_synced(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(SYNCED_FILE);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io_error("removing", &path, e)),
        _ => Ok(()),
    }
}

fn numbers(bytes: &[u8; NOTE_LEN]) -> Option<[u64; 4]> {
    let (numbers, _) = bytes.as_chunks::<8>();
    <[[u8; 8]; 4]>::try_from(numbers)
        .ok()
        .map(|numbers| numbers.map(u64::from_le_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_this_and_earlier_releases_are_read() {
        let note = BatchNote {
            epoch: 7,
            ticket: 8,
            serial: 9,
            synced: 6,
        };
        let bytes = note.encode();
        assert_eq!(BatchNote::decode(&bytes), Some(note));
        let earlier = BatchNote {
            serial: 0,
            synced: 0,
            ..note
        };
        assert_eq!(BatchNote::decode(&bytes[..16]), Some(earlier));
        assert_eq!(BatchNote::decode(&bytes[..31]), None);
        assert_eq!(BatchNote::decode(b""), None);
    }

    #[test]
    fn the_file_records_the_last_synced_batch() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_synced(dir.path()).unwrap(), None);
        let progress = SyncProgress::new(dir.path());
        let commit = |ticket| {
            let (note, journal) = progress.begin(ticket);
            progress.committed(note, journal);
            note
        };
        assert_eq!(commit(Some(Ticket(5))).serial, 1);
        let first = progress.before_sync();
        let second = commit(None);
        assert_eq!((second.ticket, second.serial, second.synced), (5, 2, 0));
        progress.after_sync(first, Some(3));
        let told = read_synced(dir.path()).unwrap().unwrap();
        assert_eq!((told.serial, told.journal), (1, 0));
        assert_eq!(commit(None).synced, 1);
        progress.after_sync(progress.before_sync(), Some(4));
        progress.after_sync(first, Some(3));
        let told = read_synced(dir.path()).unwrap().unwrap();
        assert_eq!(
            (told.epoch, told.serial, told.journal),
            (progress.epoch(), 3, 3)
        );
        // A damaged file counts as missing.
        let mut bytes = std::fs::read(dir.path().join(SYNCED_FILE)).unwrap();
        bytes[9] ^= 1;
        std::fs::write(dir.path().join(SYNCED_FILE), &bytes).unwrap();
        assert_eq!(read_synced(dir.path()).unwrap(), None);
        forget_synced(dir.path()).unwrap();
        forget_synced(dir.path()).unwrap();
    }
}
