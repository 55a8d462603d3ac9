//! The checkpoint file: all keys and values of the database as they were after an entry of the log. From it and the log
//! after that entry the database can be built anew.
//!
//! ```text
//! checkpoint = magic 8 bytes, index of the entry u64, record *, 0 u8, number of records u64, XXH3 of all before u64
//! record     = 1 u8, keyspace u8, key length u32, value length u32, key, value
//! ```
//! Little-endian. A new file replaces the old one when it is whole.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use ::fjall::{Readable, Snapshot};
use tracing::debug;
use xxhash_rust::xxh3::Xxh3;

use super::error::failed;
use super::keyspaces::Keyspaces;
use super::options::FjallOptions;
use crate::store::dir::sync_dir;
use crate::store::error::{StoreError, io_error, is_lost};
use crate::store::keys::{self, KeyspaceName};

/// Name of the file in the log's directory.
const NAME: &str = "checkpoint";
/// First bytes; the last one is the version.
const MAGIC: [u8; 8] = *b"LVRCKP\0\x01";
const RECORD: u8 = 1;
const END: u8 = 0;
/// Bytes of keys and values that are restored in one write.
const RESTORE_BYTES: usize = 1024 * 1024;
/// Buffer of reads and writes.
const BUFFER: usize = 256 * 1024;
/// Number of records after which the writing of a file looks whether it must stop.
const LOOK_AFTER: u64 = 4096;
/// What fails if the database cannot be read.
const READING: &str = "reading for a checkpoint";

/// A checkpoint file that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// It has everything up to this entry.
    pub(super) index: u64,
    pub(super) bytes: u64,
}

/// Writes what the snapshot holds.
pub(super) fn write(
    log_dir: &Path,
    spaces: &Keyspaces,
    snapshot: &Snapshot,
    index: u64,
) -> Result<Checkpoint, StoreError> {
    write_until(log_dir, spaces, snapshot, index, || false)?.ok_or(StoreError::Closed)
}

/// As [`write`]. Gives up when `stop` holds; `None` then. What is not whole leaves nothing: it would take space.
pub(super) fn write_until(
    log_dir: &Path,
    spaces: &Keyspaces,
    snapshot: &Snapshot,
    index: u64,
    stop: impl Fn() -> bool,
) -> Result<Option<Checkpoint>, StoreError> {
    let path = log_dir.join(NAME);
    let new = path.with_extension("new");
    let written = write_new(&new, spaces, snapshot, index, stop);
    let Ok(Some(bytes)) = written else {
        if let Err(error) = std::fs::remove_file(&new) {
            debug!(%error, "an unfinished checkpoint file stays until the next one");
        }
        return written.map(|_| None);
    };
    std::fs::rename(&new, &path).map_err(|e| io_error("renaming", &new, e))?;
    sync_dir(log_dir)?;
    Ok(Some(Checkpoint { index, bytes }))
}

/// Whether no checkpoint file can be written because the database cannot be read.
pub(super) fn is_unreadable(failure: &StoreError) -> bool {
    matches!(failure, StoreError::Database { doing, .. } if *doing == READING)
}

/// Writes a new file, and returns its length. `None` if `stop` has ended it.
fn write_new(
    new: &Path,
    spaces: &Keyspaces,
    snapshot: &Snapshot,
    index: u64,
    stop: impl Fn() -> bool,
) -> Result<Option<u64>, StoreError> {
    let writing = |e| io_error("writing", new, e);
    let mut out = Summed::new(BufWriter::with_capacity(
        BUFFER,
        File::create(new).map_err(writing)?,
    ));
    out.write_all(&MAGIC).map_err(writing)?;
    out.write_all(&index.to_le_bytes()).map_err(writing)?;
    let mut records = 0_u64;
    for space in KeyspaceName::ALL {
        for entry in snapshot.iter(spaces.of(space)) {
            if records.is_multiple_of(LOOK_AFTER) && stop() {
                return Ok(None);
            }
            let (key, value) = entry.into_inner().map_err(failed(READING))?;
            if *key == *keys::applied(space) {
                continue;
            }
            let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
            let head = [&[RECORD, space.code()][..], &len(&key), &len(&value)].concat();
            for part in [&head[..], &key, &value] {
                out.write_all(part).map_err(writing)?;
            }
            records += 1;
        }
    }
    out.write_all(&[END]).map_err(writing)?;
    out.write_all(&records.to_le_bytes()).map_err(writing)?;
    let sum = out.hash.digest().to_le_bytes();
    out.write_all(&sum).map_err(writing)?;
    let bytes = out.bytes;
    let file = out
        .inner
        .into_inner()
        .map_err(|e| writing(e.into_error()))?;
    file.sync_all().map_err(writing)?;
    Ok(Some(bytes))
}

/// The checkpoint in the log's directory, read through to its end. `None` if it is missing or damaged.
pub(super) fn find(log_dir: &Path) -> Result<Option<Checkpoint>, StoreError> {
    let mut bytes = 0;
    let read = Reading::open(log_dir).and_then(|mut reading| {
        while reading.record()?.is_some() {}
        bytes = reading.input.bytes;
        Ok(reading.index)
    });
    match read {
        Ok(index) => Ok(Some(Checkpoint { index, bytes })),
        Err(e) if is_lost(&e) => Ok(None),
        Err(e) => Err(io_error("reading", &path(log_dir), e)),
    }
}

/// The checkpoint in the log's directory, as its first bytes tell. A start has no time to read a long file through.
pub(super) fn peek(log_dir: &Path) -> Option<Checkpoint> {
    let reading = Reading::open(log_dir).ok()?;
    Some(Checkpoint {
        index: reading.index,
        bytes: reading.left,
    })
}

/// Writes the checkpoint's records to a new database.
pub(super) fn restore(
    log_dir: &Path,
    spaces: &Keyspaces,
    options: &FjallOptions,
) -> Result<(), StoreError> {
    let reading_failed = |e| io_error("reading", &path(log_dir), e);
    let mut reading = Reading::open(log_dir).map_err(reading_failed)?;
    let mut writes = spaces.batch(1024);
    let mut gathered = 0;
    while let Some((space, key, value)) = reading.record().map_err(reading_failed)? {
        gathered += key.len() + value.len();
        writes.insert(spaces.of(space), key, value);
        if gathered >= RESTORE_BYTES {
            writes.commit().map_err(failed("restoring"))?;
            writes = spaces.batch(1024);
            gathered = 0;
            spaces.flush_overgrown(options)?;
        }
    }
    for space in KeyspaceName::ALL {
        spaces.note_applied(&mut writes, space, reading.index);
    }
    writes.commit().map_err(failed("restoring"))
}

/// The file's path.
pub(super) fn path(log_dir: &Path) -> PathBuf {
    log_dir.join(NAME)
}

type Record = (KeyspaceName, Vec<u8>, Vec<u8>);

/// Reads records in order. Damage is [`ErrorKind::InvalidData`].
struct Reading {
    input: Summed<BufReader<File>>,
    index: u64,
    left: u64,
    records: u64,
}

impl Reading {
    fn open(log_dir: &Path) -> io::Result<Reading> {
        let file = File::open(path(log_dir))?;
        let left = file.metadata()?.len();
        let mut input = Summed::new(BufReader::with_capacity(BUFFER, file));
        let magic: [u8; 8] = take(&mut input)?;
        if magic != MAGIC {
            return Err(ErrorKind::InvalidData.into());
        }
        let index = u64::from_le_bytes(take(&mut input)?);
        Ok(Reading {
            input,
            index,
            left,
            records: 0,
        })
    }

    /// The next record; `None` at the end, if all that was read fits the checksum.
    fn record(&mut self) -> io::Result<Option<Record>> {
        let damaged = || io::Error::from(ErrorKind::InvalidData);
        match take(&mut self.input)? {
            [RECORD] => {
                let [space] = take(&mut self.input)?;
                let space = KeyspaceName::of_code(space).ok_or_else(damaged)?;
                let key_len = u32::from_le_bytes(take(&mut self.input)?);
                let value_len = u32::from_le_bytes(take(&mut self.input)?);
                let key = self.bytes(key_len)?;
                let value = self.bytes(value_len)?;
                self.records += 1;
                Ok(Some((space, key, value)))
            }
            [END] => {
                let records = u64::from_le_bytes(take(&mut self.input)?);
                let expected = self.input.hash.digest();
                let sum = u64::from_le_bytes(take(&mut self.input)?);
                match records == self.records && sum == expected {
                    true => Ok(None),
                    false => Err(damaged()),
                }
            }
            _ => Err(damaged()),
        }
    }

    fn bytes(&mut self, len: u32) -> io::Result<Vec<u8>> {
        // A damaged length must not reserve more than there is.
        if u64::from(len) > self.left {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; len as usize];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn take<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Sums up what passes.
struct Summed<T> {
    inner: T,
    hash: Xxh3,
    bytes: u64,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Summed<T> {
        Summed {
            inner,
            hash: Xxh3::new(),
            bytes: 0,
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.pass(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(room)?;
        self.pass(room.get(..read).unwrap_or_default());
        Ok(read)
    }
}
