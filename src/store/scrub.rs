//! What is done to the database's journals before it is opened. A power loss may tear the last batches of the
//! newest journal in ways that make the database refuse to open (a lost page inside a value); none of them was
//! confirmed, so the journal is cut at the first batch that is not whole, and the rest is kept aside as `.torn`.
//!
//! A journal, as fjall 3.1 writes it, is a sequence of batches and then zeroes; integers are little-endian:
//!
//! ```text
//! batch = 1 u8, items u32, sequence number u64, item * items, 3 u8, xxh3 of the items u64, "FJL\x03"
//! item  = 2 u8, type u8, compression u8, keyspace u64, key length u16, value length u32, stored length u32, key, value
//!       | 4 u8, keyspace u64
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tracing::warn;
use xxhash_rust::xxh3::Xxh3;

use super::StoreError;
use super::dir::{io_error, journals, sync_dir};

const BATCH_START: u8 = 1;
const ITEM: u8 = 2;
const BATCH_END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Bytes read or copied at once.
const STEP: usize = 256 * 1024;

/// Cuts what is torn off the journals in the database's directory. A journal that is damaged although a newer one
/// has batches was whole once: its loss is not a torn write, and opening would hide it, so it is an error.
pub(super) fn scrub(db: &Path) -> Result<(), StoreError> {
    let mut newer_has_batches = false;
    for (_, path) in journals(db)?.iter().rev() {
        let extent = extent(path).map_err(|e| io_error("reading", path, e))?;
        if let Some(torn) = extent.torn {
            if newer_has_batches {
                return Err(StoreError::Corrupt(format!(
                    "{} is damaged at byte {}, and later changes exist: the disk has lost what was once synced",
                    path.display(),
                    extent.whole,
                )));
            }
            let kept = cut(path, extent.whole, torn).map_err(|e| io_error("cutting", path, e))?;
            sync_dir(db)?;
            warn!(
                journal = %path.display(), at = extent.whole, bytes = torn, kept_as_torn = kept,
                "cut off an unfinished write; nothing in it was confirmed"
            );
        }
        newer_has_batches |= extent.whole > 0;
    }
    Ok(())
}

/// Writes every journal again in place and syncs it. After a failed sync the kernel may hold pages that it takes
/// for written: reads see them, the disk does not, and the next sync says nothing. Writing makes them dirty again.
pub(super) fn write_again(db: &Path) -> Result<(), StoreError> {
    for (_, path) in journals(db)? {
        write_again_file(&path).map_err(|e| io_error("writing", &path, e))?;
    }
    Ok(())
}

fn write_again_file(path: &Path) -> io::Result<()> {
    let whole = extent(path)?.whole;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut at = 0;
    let mut buffer = vec![0; STEP];
    while at < whole {
        let step = usize::try_from(whole - at).unwrap_or(STEP).min(STEP);
        let part = buffer.get_mut(..step).unwrap_or_default();
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(part)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(part)?;
        at += step as u64;
    }
    file.sync_all()
}

/// What a journal holds.
#[derive(Debug, PartialEq, Eq)]
struct Extent {
    /// Bytes of whole batches.
    whole: u64,
    /// Bytes behind them up to the last that is not zero, if any.
    torn: Option<u64>,
}

fn extent(path: &Path) -> io::Result<Extent> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut scan = Scan {
        reader: BufReader::with_capacity(STEP, file),
        left: len,
    };
    let mut whole = 0;
    while scan.batch()? {
        whole = len - scan.left;
    }
    let mut file = scan.reader.into_inner();
    file.seek(SeekFrom::Start(whole))?;
    Ok(Extent {
        whole,
        torn: last_nonzero(file)?,
    })
}

/// Length up to the last byte that is not zero.
fn last_nonzero(mut file: File) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; STEP];
    let zeroes = vec![0; STEP];
    let (mut at, mut found) = (0u64, None);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(found);
        }
        let part = buffer.get(..read).unwrap_or_default();
        // Most of it is zeroes, so they are passed over by the quickest means.
        if !zeroes.starts_with(part)
            && let Some(last) = part.iter().rposition(|byte| *byte != 0)
        {
            found = Some(at + last as u64 + 1);
        }
        at += read as u64;
    }
}

/// Cuts a journal. False if the disk is too full to keep what was cut off: a start must not fail of that.
fn cut(path: &Path, at: u64, torn: u64) -> io::Result<bool> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let aside = path.with_extension("jnl.torn");
    let kept = match keep_aside(&file, at, torn, &aside) {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::StorageFull => {
            if aside.try_exists()? {
                std::fs::remove_file(&aside)?;
            }
            false
        }
        Err(e) => return Err(e),
    };
    file.set_len(at)?;
    file.sync_all()?;
    Ok(kept)
}

fn keep_aside(mut file: &File, at: u64, torn: u64, aside: &Path) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    let mut kept = File::create(aside)?;
    io::copy(&mut file.take(torn), &mut kept)?;
    kept.sync_all()
}

/// Reads batches as long as they are whole.
struct Scan<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Scan<R> {
    /// Reads one batch; false if it is not whole.
    fn batch(&mut self) -> io::Result<bool> {
        let Some([BATCH_START, count @ .., _, _, _, _, _, _, _, _]) = self.take::<13>(None)? else {
            return Ok(false);
        };
        let mut hash = Xxh3::new();
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
        // Type, compression, keyspace and the length that the value would have without compression.
        if self.take::<10>(Some(hash))?.is_none() {
            return Ok(false);
        }
        let Some([k0, k1, _, _, _, _, stored @ ..]) = self.take::<10>(Some(hash))? else {
            return Ok(false);
        };
        let key = u64::from(u16::from_le_bytes([k0, k1]));
        let value = u64::from(u32::from_le_bytes(stored));
        self.skip(key + value, hash)
    }

    /// The next bytes; `None` if the journal ends before.
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
    extent(path).map(|extent| extent.whole)
}
