//! What is done to the database's journals before it is opened. A power loss may tear the last batches of the
//! newest journal in ways that make the database refuse to open (a lost page inside a value); none of them was
//! confirmed, so the journal is cut at the first batch that is not whole, and the rest is kept aside as `.torn`.
//!
//! What was synced is another matter: it cannot be torn, so if it is not whole it has been damaged, and opening would
//! hide that. A batch that is not whole was synced if a later journal has batches (a journal is synced before the next
//! one is made), if a whole batch behind it says so in its note, or if the last run has noted (see [`super::progress`])
//! that it synced more than is left. Whole batches behind it alone say nothing: of what was not synced a power loss
//! may leave any part.
//!
//! A journal, as fjall 3.1 writes it, is a sequence of batches and then zeroes; integers are little-endian:
//!
//! ```text
//! batch = 1 u8, items u32, sequence number u64, item * items, 3 u8, xxh3 of the items u64, "FJL\x03"
//! item  = 2 u8, type u8, compression u8, keyspace u64, key length u16, value length u32, stored length u32, key, value
//!       | 4 u8, keyspace u64
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use tracing::{error, warn};
use xxhash_rust::xxh3::Xxh3;

use super::dir::{io_error, journals, sync_dir};
use super::keys::LAST_BATCH;
use super::progress::{Note, Synced, forget_synced, read_synced};
use super::{Advice, OnDamage, StoreError};

const BATCH_START: u8 = 1;
const ITEM: u8 = 2;
const BATCH_END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Bytes read or copied at once.
const STEP: usize = 256 * 1024;
/// No note is longer.
const NOTE_LEN_MAX: u64 = 64;

/// Cuts what is torn off the journals in the database's directory, which is in the data directory `dir`. What is
/// damaged is an error, or is cut out.
pub(super) fn scrub(dir: &Path, db: &Path, on_damage: OnDamage) -> Result<(), StoreError> {
    let synced = read_synced(dir)?;
    let mut found = Vec::new();
    for (number, path) in journals(db)? {
        let extent = extent(&path).map_err(|e| io_error("reading", &path, e))?;
        found.push(Journal {
            number,
            path,
            extent,
        });
    }
    match verdict(&found, synced)? {
        Verdict::Whole => Ok(()),
        Verdict::Torn => {
            for journal in &found {
                journal.cut_torn()?;
            }
            sync_dir(db)
        }
        Verdict::Damaged(what) if on_damage == OnDamage::Refuse => Err(StoreError::Damaged {
            what,
            advice: Advice::Recover,
        }),
        Verdict::Damaged(what) => {
            error!("{what}; going on without the changes that cannot be read");
            for journal in found.iter().filter(|journal| journal.extent.torn.is_some()) {
                let path = &journal.path;
                cut_out(path).map_err(|e| io_error("mending", path, e))?;
            }
            sync_dir(db)?;
            forget_synced(dir)
        }
    }
}

/// Whether the journals in the database's directory hold nothing: no batch was ever written to them whole.
pub(super) fn hold_nothing(db: &Path) -> Result<bool, StoreError> {
    for (number, path) in journals(db)? {
        let extent = extent(&path).map_err(|e| io_error("reading", &path, e))?;
        if number > 0 || extent.whole > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A journal and what it holds.
struct Journal {
    number: u64,
    path: PathBuf,
    extent: Extent,
}

/// What the journals are in together.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Whole,
    /// Something was being written when the power was lost, and nothing else is missing.
    Torn,
    /// Something is missing that was synced: what.
    Damaged(String),
}

fn verdict(journals: &[Journal], synced: Option<Synced>) -> Result<Verdict, StoreError> {
    let damaged = |what| Ok(Verdict::Damaged(what));
    let Some((newest, _)) = journals.split_last() else {
        return damaged("the database has no journal".to_owned());
    };
    for pair in journals.windows(2) {
        if let [before, after] = pair
            && before.number + 1 != after.number
        {
            return damaged(format!("journal {}.jnl is missing", before.number + 1));
        }
    }
    if let Some(synced) = synced.filter(|synced| synced.journal > newest.number) {
        return damaged(format!("journal {}.jnl is missing", synced.journal));
    }
    let torn = journals
        .iter()
        .position(|journal| journal.extent.torn.is_some());
    let whole = journals.get(..=torn.unwrap_or(journals.len() - 1));
    let notes = || {
        whole
            .into_iter()
            .flatten()
            .map(|journal| &journal.extent.notes)
    };
    // The last run synced a batch that is in none of the journals that it can be in.
    let is_short = synced.is_some_and(|synced| {
        let seen = notes()
            .filter_map(|notes| notes.last_of(synced.epoch))
            .max();
        journals
            .iter()
            .any(|journal| journal.number == synced.journal)
            && seen.is_none_or(|seen| seen < synced.serial)
    });
    let Some(index) = torn else {
        return match is_short {
            true => damaged("the journals end before what was synced last".to_owned()),
            false => Ok(Verdict::Whole),
        };
    };
    let (Some(journal), later) = (journals.get(index), journals.get(index + 1..)) else {
        return Ok(Verdict::Whole);
    };
    let behind = later.into_iter().flatten();
    let later_has_batches = behind.into_iter().any(|later| later.extent.whole > 0);
    let last = notes().filter_map(|notes| notes.last()).next_back();
    let says_so = |note: Note| {
        last.is_some_and(|last| match last.epoch == note.epoch {
            true => note.synced > last.serial,
            false => note.synced > 0,
        })
    };
    let path = &journal.path;
    if later_has_batches
        || is_short
        || has_behind(journal, says_so).map_err(|e| io_error("reading", path, e))?
    {
        return damaged(format!(
            "{} is damaged at byte {}, in what was synced once",
            path.display(),
            journal.extent.whole,
        ));
    }
    Ok(Verdict::Torn)
}

/// Whether a whole batch behind what is torn has such a note.
fn has_behind(journal: &Journal, is_such: impl Fn(Note) -> bool) -> io::Result<bool> {
    let mut at = journal.extent.whole;
    while let Some((range, notes)) = next_whole(&journal.path, at)? {
        if notes.all.iter().any(|note| is_such(*note)) {
            return Ok(true);
        }
        at = range.end;
    }
    Ok(false)
}

impl Journal {
    /// Cuts off what is torn, if anything is.
    fn cut_torn(&self) -> Result<(), StoreError> {
        let Some(torn) = self.extent.torn else {
            return Ok(());
        };
        let at = self.extent.whole;
        let kept = cut(&self.path, at, torn).map_err(|e| io_error("cutting", &self.path, e))?;
        warn!(
            journal = %self.path.display(), at, bytes = torn, kept_as_torn = kept,
            "cut off an unfinished write; nothing in it was confirmed"
        );
        Ok(())
    }
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
    /// What the whole batches say.
    notes: Notes,
}

/// The last note of each run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Notes {
    all: Vec<Note>,
}

impl Notes {
    fn add(&mut self, note: Note) {
        match self.all.last_mut() {
            Some(last) if last.epoch == note.epoch => *last = note,
            _ => self.all.push(note),
        }
    }

    fn last(&self) -> Option<Note> {
        self.all.last().copied()
    }

    /// The last batch of a run.
    fn last_of(&self, epoch: u64) -> Option<u64> {
        let of_run = self.all.iter().filter(|note| note.epoch == epoch);
        of_run.map(|note| note.serial).max()
    }
}

fn extent(path: &Path) -> io::Result<Extent> {
    let (whole, notes) = whole_from(path, 0)?;
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(whole))?;
    Ok(Extent {
        whole,
        torn: last_nonzero(file)?,
        notes,
    })
}

/// Where the whole batches end that begin at `at`, and what they say.
fn whole_from(path: &Path, at: u64) -> io::Result<(u64, Notes)> {
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

/// The next whole batches behind a batch at `at` that is not whole: where they begin and end, and what they say.
fn next_whole(path: &Path, at: u64) -> io::Result<Option<(Range<u64>, Notes)>> {
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
        // One may lie over the end of what was read.
        let step = read.saturating_sub(TRAILER.len() - 1);
        if step == 0 {
            return Ok(None);
        }
        from += step as u64;
    }
}

/// Writes a journal anew without what is damaged, and keeps what it was aside.
fn cut_out(path: &Path) -> io::Result<()> {
    let new = path.with_extension("jnl.mended");
    let mut from = File::open(path)?;
    let mut to = File::create(&new)?;
    let (mut at, _) = whole_from(path, 0)?;
    let mut copy = |range: Range<u64>| -> io::Result<()> {
        from.seek(SeekFrom::Start(range.start))?;
        io::copy(&mut (&mut from).take(range.end - range.start), &mut to).map(drop)
    };
    copy(0..at)?;
    let aside = keep(path)?;
    while let Some((range, _)) = next_whole(path, at)? {
        error!(
            journal = %path.display(), at, bytes = range.start - at, kept = %aside.display(),
            "cut changes out that cannot be read: they are lost; what they held of messages, the queues will miss"
        );
        at = range.end;
        copy(range)?;
    }
    let mut tail = File::open(path)?;
    tail.seek(SeekFrom::Start(at))?;
    if let Some(bytes) = last_nonzero(tail)? {
        error!(
            journal = %path.display(), at, bytes, kept = %aside.display(),
            "cut changes off that cannot be read: they are lost; what they held of messages, the queues will miss"
        );
    }
    to.sync_all()?;
    std::fs::rename(&new, path)
}

/// Gives a journal a second name that no file has yet.
fn keep(path: &Path) -> io::Result<PathBuf> {
    for number in 1_u64.. {
        let aside = path.with_extension(format!("jnl.damaged-{number}"));
        match std::fs::hard_link(path, &aside) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            outcome => return outcome.map(|()| aside),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
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
    /// That of the batch that was read last.
    note: Option<Note>,
}

impl<R: Read> Scan<R> {
    /// Reads one batch; false if it is not whole.
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
        // Type, compression, keyspace and the length that the value would have without compression.
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
            self.note = Note::decode(&bytes);
        }
        Ok(true)
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
