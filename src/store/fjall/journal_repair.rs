//! What is done to the database's journals before it is opened. A power loss may tear the last batches of the
//! newest journal in ways that make the database refuse to open (a lost page inside a value); none of them was
//! confirmed, so the journal is cut at the first batch that is not whole, and the rest is kept aside as `.torn`.
//!
//! What was synced is another matter: it cannot be torn, so if it is not whole it has been damaged, and opening would
//! hide that. A batch that is not whole was synced if a later journal has batches (a journal is synced before the next
//! one is made), if a whole batch behind it says so in its note, or if the last run has noted (see [`super::progress`])
//! that it synced more than is left. Whole batches behind it alone say nothing: of what was not synced a power loss
//! may leave any part.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

use super::journal_scan::{JournalContent, STEP, last_nonzero, next_whole, scan, whole_from};
use super::synced::{BatchNote, SyncedBatch, forget_synced, read_synced};
use crate::store::dir::{journals, sync_dir};
use crate::store::error::{Advice, OnDamage, StoreError, io_error};

/// Cuts what is torn off the journals in the database's directory, which is in the data directory `dir`. What is
/// damaged is an error, or is cut out.
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
            error!("{what}; going on without the changes that cannot be read");
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

/// Whether the journals in the database's directory hold nothing: no batch was ever written to them whole.
pub(super) fn hold_nothing(db: &Path) -> Result<bool, StoreError> {
    for (number, path) in journals(db)? {
        let content = scan(&path).map_err(|e| io_error("reading", &path, e))?;
        if number > 0 || content.whole > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A journal and what it holds.
struct Journal {
    number: u64,
    path: PathBuf,
    content: JournalContent,
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

/// Whether a whole batch behind what is torn has such a note.
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
    /// Cuts off what is torn, if anything is.
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

/// Writes every journal again in place and syncs it. After a failed sync the kernel may hold pages that it takes
/// for written: reads see them, the disk does not, and the next sync says nothing. Writing makes them dirty again.
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
