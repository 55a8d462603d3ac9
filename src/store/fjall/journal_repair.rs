//! Repairs the database's journals before it is opened. A power loss may tear the last batches of the newest
//! journal in ways that make the database refuse to open (a lost page inside a value). None of them was
//! confirmed, so the journal is cut at the first incomplete batch, and the cut-off bytes are saved as
//! `.torn`.
//!
//! Synced batches cannot be torn. An incomplete one is damaged, and cutting it off would hide that. These
//! prove that an incomplete batch was synced:
//! - A later journal has batches: a journal is synced before the next one is created.
//! - The note of a whole batch after it says so.
//! - The last run recorded (see [`super::synced`]) that it synced more than the journals hold.
//!
//! Whole batches after it prove nothing by themselves: a power loss may leave any part of the unsynced data.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

use super::journal_scan::{JournalContent, STEP, last_nonzero, next_whole, scan, whole_from};
use super::synced::{BatchNote, SyncedBatch, forget_synced, read_synced};
use crate::store::dir::{journals, sync_dir};
use crate::store::error::{Advice, OnDamage, StoreError, io_error};

/// Cuts torn batches off the journals in the database's directory `db`, which is in the data directory `dir`.
/// Damaged batches are an error or, with [`OnDamage::Recover`], are cut out.
pub(super) fn repair(dir: &Path, db: &Path, on_damage: OnDamage) -> Result<(), StoreError> {
    let synced = read_synced(dir)?;
    let mut found = Vec::new();
    for (number, path) in journals(db)? {
        let content = scan(&path).map_err(|e| io_error("reading", &path, e))?;
        found.push(Journal {
            number,
            path,
            content,
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
            error!("{what}; continuing without the unreadable changes");
            for journal in found
                .iter()
                .filter(|journal| journal.content.torn.is_some())
            {
                let path = &journal.path;
                cut_out(path).map_err(|e| io_error("mending", path, e))?;
            }
            sync_dir(db)?;
            forget_synced(dir)
        }
    }
}

/// Whether no whole batch was ever written to the journals in the database's directory.
pub(super) fn hold_nothing(db: &Path) -> Result<bool, StoreError> {
    for (number, path) in journals(db)? {
        let content = scan(&path).map_err(|e| io_error("reading", &path, e))?;
        if number > 0 || content.whole > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A journal and its contents.
struct Journal {
    number: u64,
    path: PathBuf,
    content: JournalContent,
}

/// The state of all journals together.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Whole,
    /// Only unsynced batches are incomplete.
    Torn,
    /// Synced batches are missing; describes which.
    Damaged(String),
}

fn verdict(journals: &[Journal], synced: Option<SyncedBatch>) -> Result<Verdict, StoreError> {
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
        .position(|journal| journal.content.torn.is_some());
    let whole = journals.get(..=torn.unwrap_or(journals.len() - 1));
    let notes = || {
        whole
            .into_iter()
            .flatten()
            .map(|journal| &journal.content.notes)
    };
    // Whether the last run synced a batch that none of its possible journals has.
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
    let later_has_batches = behind.into_iter().any(|later| later.content.whole > 0);
    let last = notes().filter_map(|notes| notes.last()).next_back();
    let says_so = |note: BatchNote| {
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
            journal.content.whole,
        ));
    }
    Ok(Verdict::Torn)
}

/// Whether a whole batch after the incomplete one has such a note.
fn has_behind(journal: &Journal, is_such: impl Fn(BatchNote) -> bool) -> io::Result<bool> {
    let mut at = journal.content.whole;
    while let Some((range, notes)) = next_whole(&journal.path, at)? {
        if notes.all.iter().any(|note| is_such(*note)) {
            return Ok(true);
        }
        at = range.end;
    }
    Ok(false)
}

impl Journal {
    /// Cuts off the torn batches, if any.
    fn cut_torn(&self) -> Result<(), StoreError> {
        let Some(torn) = self.content.torn else {
            return Ok(());
        };
        let at = self.content.whole;
        let kept = cut(&self.path, at, torn).map_err(|e| io_error("cutting", &self.path, e))?;
        warn!(
            journal = %self.path.display(), at, bytes = torn, kept_as_torn = kept,
            "cut off an unfinished write; nothing in it was confirmed"
        );
        Ok(())
    }
}

/// Writes every journal again in place and syncs it. After a failed sync the kernel may consider pages clean
/// that never reached the disk: reads see them, and the next sync succeeds without writing them. Writing
/// makes them dirty again.
pub(super) fn write_again(db: &Path) -> Result<(), StoreError> {
    for (_, path) in journals(db)? {
        write_again_file(&path).map_err(|e| io_error("writing", &path, e))?;
    }
    Ok(())
}

fn write_again_file(path: &Path) -> io::Result<()> {
    let whole = scan(path)?.whole;
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

/// Writes a journal again without its damaged batches, and saves the original under another name.
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
            "cut unreadable changes out of a journal; they are lost, with the messages in them"
        );
        at = range.end;
        copy(range)?;
    }
    let mut tail = File::open(path)?;
    tail.seek(SeekFrom::Start(at))?;
    if let Some(bytes) = last_nonzero(tail)? {
        error!(
            journal = %path.display(), at, bytes, kept = %aside.display(),
            "cut unreadable changes off a journal; they are lost, with the messages in them"
        );
    }
    to.sync_all()?;
    std::fs::rename(&new, path)
}

/// Gives a journal a second, unused name.
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

/// Cuts a journal. False if the disk is too full to save the cut-off bytes, which must not fail a start.
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
