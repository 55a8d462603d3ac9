//! Scans the database's journals for whole batches and their notes. Changes nothing.
//!
//! A journal, as fjall 3.1 writes it, is a sequence of batches and then zeroes; integers are little-endian:
//!
//! ```text
//! batch = 1 u8, items u32, sequence number u64, item * items, 3 u8, xxh3 of the items u64, "FJL\x03"
//! item  = 2 u8, type u8, compression u8, keyspace u64, key length u16, value length u32, stored length u32, key, value
//!       | 4 u8, keyspace u64
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::keys::LAST_BATCH;
use super::synced::BatchNote;

const BATCH_START: u8 = 1;
const ITEM: u8 = 2;
const BATCH_END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Bytes of one read or copy.
pub(super) const STEP: usize = 256 * 1024;
/// Maximum length of a note.
const NOTE_LEN_MAX: u64 = 64;

/// The contents of a journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JournalContent {
    /// Bytes of the whole batches at its beginning.
    pub(super) whole: u64,
    /// Bytes after them up to the last one that is not zero, if any.
    pub(super) torn: Option<u64>,
    /// Notes of the whole batches.
    pub(super) notes: Notes,
}

/// The last note of each run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) all: Vec<BatchNote>,
}

impl Notes {
    fn add(&mut self, note: BatchNote) {
        match self.all.last_mut() {
            Some(last) if last.epoch == note.epoch => *last = note,
            _ => self.all.push(note),
        }
    }

    pub(super) fn last(&self) -> Option<BatchNote> {
        self.all.last().copied()
    }

    /// Number of the last batch of a run.
    pub(super) fn last_of(&self, epoch: u64) -> Option<u64> {
        let of_run = self.all.iter().filter(|note| note.epoch == epoch);
        of_run.map(|note| note.serial).max()
    }
}

pub(super) fn scan(path: &Path) -> io::Result<JournalContent> {
    let (whole, notes) = whole_from(path, 0)?;
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(whole))?;
    Ok(JournalContent {
        whole,
        torn: last_nonzero(file)?,
        notes,
    })
}

/// The end of the whole batches that begin at `at`, and their notes.
pub(super) fn whole_from(path: &Path, at: u64) -> io::Result<(u64, Notes)> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(at))?;
    let mut scan = Scan {
        reader: BufReader::with_capacity(STEP, file),
        left: len.saturating_sub(at),
        note: None,
    };
    let mut whole = at;
    let mut notes = Notes::default();
    while scan.batch()? {
        whole = len - scan.left;
        if let Some(note) = scan.note {
            notes.add(note);
        }
    }
    Ok((whole, notes))
}

/// The next whole batches after an incomplete batch at `at`: their range and their notes.
pub(super) fn next_whole(path: &Path, at: u64) -> io::Result<Option<(Range<u64>, Notes)>> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; STEP];
    let mut from = at;
    loop {
        file.seek(SeekFrom::Start(from))?;
        let read = file.read(&mut buffer)?;
        let part = buffer.get(..read).unwrap_or_default();
        for found in memchr::memmem::find_iter(part, &TRAILER) {
            let begin = from + (found + TRAILER.len()) as u64;
            let (end, notes) = whole_from(path, begin)?;
            if end > begin {
                return Ok(Some((begin..end, notes)));
            }
        }
        // A trailer may straddle the end of the bytes read.
        let step = read.saturating_sub(TRAILER.len() - 1);
        if step == 0 {
            return Ok(None);
        }
        from += step as u64;
    }
}

/// Length up to the last byte that is not zero.
pub(super) fn last_nonzero(mut file: File) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; STEP];
    let zeroes = vec![0; STEP];
    let (mut at, mut found) = (0u64, None);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(found);
        }
        let part = buffer.get(..read).unwrap_or_default();
        // Most bytes are zeroes, so whole blocks of them are compared and skipped.
        if !zeroes.starts_with(part)
            && let Some(last) = part.iter().rposition(|byte| *byte != 0)
        {
            found = Some(at + last as u64 + 1);
        }
        at += read as u64;
    }
}

/// Reads batches until one is incomplete.
struct Scan<R> {
    reader: R,
    left: u64,
    /// Note of the batch that was read last.
    note: Option<BatchNote>,
}

impl<R: Read> Scan<R> {
    /// Reads one batch; false if it is incomplete.
    fn batch(&mut self) -> io::Result<bool> {
        let Some([BATCH_START, count @ .., _, _, _, _, _, _, _, _]) = self.take::<13>(None)? else {
            return Ok(false);
        };
        let mut hash = Xxh3::new();
        self.note = None;
        for _ in 0..u32::from_le_bytes(count) {
            if !self.item(&mut hash)? {
                return Ok(false);
            }
        }
        let Some([BATCH_END, end @ ..]) = self.take::<13>(None)? else {
            return Ok(false);
        };
        let mut expected = [0; 12];
        for (to, from) in expected
            .iter_mut()
            .zip(hash.digest().to_le_bytes().into_iter().chain(TRAILER))
        {
            *to = from;
        }
        Ok(end == expected)
    }

    fn item(&mut self, hash: &mut Xxh3) -> io::Result<bool> {
        match self.take::<1>(Some(hash))? {
            Some([ITEM]) => {}
            Some([CLEAR]) => return Ok(self.take::<8>(Some(hash))?.is_some()),
            _ => return Ok(false),
        }
        // Type, compression and keyspace. The next take ignores the value's uncompressed length.
        if self.take::<10>(Some(hash))?.is_none() {
            return Ok(false);
        }
        let Some([k0, k1, _, _, _, _, stored @ ..]) = self.take::<10>(Some(hash))? else {
            return Ok(false);
        };
        let key = u64::from(u16::from_le_bytes([k0, k1]));
        let value = u64::from(u32::from_le_bytes(stored));
        if key == LAST_BATCH.len() as u64 && value <= NOTE_LEN_MAX {
            return self.maybe_note(value, hash);
        }
        self.skip(key + value, hash)
    }

    /// Reads an item that may be a note.
    fn maybe_note(&mut self, value: u64, hash: &mut Xxh3) -> io::Result<bool> {
        let Some(key) = self.take::<{ LAST_BATCH.len() }>(Some(hash))? else {
            return Ok(false);
        };
        let mut bytes = Vec::new();
        for _ in 0..value {
            let Some([byte]) = self.take::<1>(Some(hash))? else {
                return Ok(false);
            };
            bytes.push(byte);
        }
        if key == LAST_BATCH {
            self.note = BatchNote::decode(&bytes);
        }
        Ok(true)
    }

    /// The next `N` bytes; `None` if the journal ends before.
    fn take<const N: usize>(&mut self, hash: Option<&mut Xxh3>) -> io::Result<Option<[u8; N]>> {
        if self.left < N as u64 {
            return Ok(None);
        }
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.left -= N as u64;
        if let Some(hash) = hash {
            hash.update(&bytes);
        }
        Ok(Some(bytes))
    }

    fn skip(&mut self, mut len: u64, hash: &mut Xxh3) -> io::Result<bool> {
        if self.left < len {
            return Ok(false);
        }
        self.left -= len;
        let mut buffer = [0; 8192];
        while len > 0 {
            let step = usize::try_from(len)
                .unwrap_or(buffer.len())
                .min(buffer.len());
            let part = buffer.get_mut(..step).unwrap_or_default();
            self.reader.read_exact(part)?;
            hash.update(part);
            len -= step as u64;
        }
        Ok(true)
    }
}

/// Length of the whole batches in a journal.
#[cfg(test)]
pub(super) fn whole_bytes(path: &Path) -> io::Result<u64> {
    scan(path).map(|content| content.whole)
}
