//! A shadow of a data directory: a temporary directory with copies of the small files of the database and links to its
//! tables. Its database opens as a start would open that of the data directory, restored where it must be and with the end
//! of the log applied, while the data directory stays as it is.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::access::Access;
use crate::store::dir;
use crate::store::error::{StoreError, io_error, is_lost};
use crate::store::extents::Extents;
use crate::store::fjall::apply::{Applied, Have, Progress, apply};
use crate::store::fjall::error::{OpenFailure, failed, has_panicked};
use crate::store::fjall::format::{self, FORMAT};
use crate::store::fjall::found_log::find_log;
use crate::store::fjall::keyspaces::Keyspaces;
use crate::store::fjall::open::LOG_DIR;
use crate::store::fjall::options::FjallOptions;
use crate::store::fjall::{checkpoint_file, manifest, rebuild};
use crate::store::keys;
use crate::store::log::{EntryId, LogStart};

/// The directory of the database.
const DB_DIR: &str = "db";

/// An open shadow.
pub(super) struct Shadow {
    pub(super) parts: Parts,
    /// Removed last.
    _dir: TempDir,
}

/// What is open of it.
pub(super) struct Parts {
    pub(super) spaces: Keyspaces,
    /// Those of the data directory.
    pub(super) extents: Arc<Extents>,
    /// The end of the log.
    pub(super) start: LogStart,
    /// The last entry that all tables have.
    pub(super) least: u64,
    have: Have,
    applied: Applied,
    /// The last entry that was applied now.
    replayed: u64,
}

/// Which entries of the log a shadow applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// All of them: a verification reads what they hold, too.
    Whole,
    /// Those that a start applies before it has heard of others: in a set, what a majority is known to have.
    Known,
}

/// Nothing else uses it.
impl Access for Parts {
    fn with<T>(
        &self,
        look: impl FnOnce(&Keyspaces, &Extents) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        look(&self.spaces, &self.extents)
    }
}

/// What opening comes to.
enum Opened {
    Whole(Box<Parts>),
    Empty,
    EarlierFormat,
    NoLog,
}

/// What became of a shadow.
pub(super) enum Cast {
    Open(Box<Shadow>),
    /// Nothing was ever stored.
    Empty,
    /// The data directory has an earlier format, which only a start can read.
    EarlierFormat,
    /// The directory of the log is missing.
    NoLog,
}

/// Opens a shadow of a data directory. Fails as a start would.
pub(super) fn cast(dir: &Path, tail: Tail) -> Result<Cast, StoreError> {
    let dir = std::path::absolute(dir).map_err(|e| io_error("finding", dir, e))?;
    let shadow = tempfile::Builder::new()
        .prefix("leveret-fsck-")
        .tempdir()
        .map_err(|e| io_error("creating a directory in", &std::env::temp_dir(), e))?;
    fill(&dir, shadow.path()).map_err(|e| io_error("filling", shadow.path(), e))?;
    let mut opened = open(&dir, shadow.path(), tail);
    let (db, options) = (shadow.path().join(DB_DIR), FjallOptions::default());
    if let Err(failure) = &opened
        && failure.is_damage()
        && rebuild::rebuild(shadow.path(), &db, &options, failure.error())?
    {
        opened = open(&dir, shadow.path(), tail);
    }
    Ok(match opened.map_err(OpenFailure::into_error)? {
        Opened::Whole(parts) => Cast::Open(Box::new(Shadow {
            parts: *parts,
            _dir: shadow,
        })),
        Opened::Empty => Cast::Empty,
        Opened::EarlierFormat => Cast::EarlierFormat,
        Opened::NoLog => Cast::NoLog,
    })
}

fn open(dir: &Path, shadow: &Path, tail: Tail) -> Result<Opened, OpenFailure> {
    // The database may panic on malformed bytes.
    catch_unwind(|| try_to_open(dir, shadow, tail)).unwrap_or_else(|_| Err(has_panicked().into()))
}

fn try_to_open(dir: &Path, shadow: &Path, tail: Tail) -> Result<Opened, OpenFailure> {
    let db = shadow.join(DB_DIR);
    let options = FjallOptions::default();
    manifest::check(shadow, &db)?;
    let log_dir = dir.join(LOG_DIR);
    let has_log = dir::exists(&log_dir)?;
    if !dir::exists(&db)? {
        return Ok(Opened::Empty);
    }
    dir::replace_journals(&db)?;
    let spaces = Keyspaces::open(&db, &options)?;
    let marker = spaces.meta.get(keys::FORMAT).map_err(failed("reading"))?;
    let carries = spaces.meta.get(keys::CARRY).map_err(failed("reading"))?;
    match marker.as_deref() {
        Some(marker) if *marker == FORMAT.to_le_bytes() => {}
        // In earlier formats the journals may hold everything.
        None | Some(_) if !has_log => return Ok(Opened::EarlierFormat),
        marker => {
            format::check(dir, marker)?;
            return Ok(Opened::EarlierFormat);
        }
    }
    match (has_log, carries.is_some()) {
        (true, _) => {}
        (false, true) => return Ok(Opened::EarlierFormat),
        (false, false) => return Ok(Opened::NoLog),
    }
    let seed = spaces
        .log_seed()?
        .ok_or_else(|| StoreError::Corrupt("the database has lost its log's seed".to_owned()))?;
    let used = spaces.extents_used()?;
    let extents = Extents::open(&log_dir, options.extent_bytes, used);
    let extents = Arc::new(extents.map_err(OpenFailure::Elsewhere)?);
    let mut parts = Parts::find(spaces, extents, seed, used)?;
    let upto = match tail {
        Tail::Whole => u64::MAX,
        Tail::Known => parts.known()?,
    };
    parts.replay(upto)?;
    Ok(Opened::Whole(Box::new(parts)))
}

impl Parts {
    /// Finds the end of the log. Applies nothing of it.
    fn find(
        spaces: Keyspaces,
        extents: Arc<Extents>,
        seed: u64,
        used: u32,
    ) -> Result<Parts, OpenFailure> {
        let have = Have::read(&spaces)?;
        let least = have.least();
        // With the checkpoint file and the entries after it the database can be built anew.
        let file = checkpoint_file::find(extents.dir())?;
        let from = file.map_or(least, |file| file.index.min(least));
        let start = find_log(&spaces, &extents, seed, from, None)?;
        let term = spaces.term()?.map_or(0, |(term, _)| term);
        let applied = Applied {
            index: have.most(),
            term: spaces.base()?.is_some().then_some(term),
            extents: used,
        };
        Ok(Parts {
            spaces,
            extents,
            start,
            least,
            have,
            applied,
            replayed: least,
        })
    }

    /// The last entry that a start applies before it has heard of others.
    fn known(&self) -> Result<u64, StoreError> {
        Ok(match self.spaces.base()? {
            Some(_) => self.start.majority().max(self.applied.index),
            None => u64::MAX,
        })
    }

    /// Applies the entries up to `upto`, as a start does that goes on behind damage.
    fn replay(&mut self, upto: u64) -> Result<(), OpenFailure> {
        let (most, have) = (self.applied.index, self.have);
        let mut progress = Progress::default();
        for entry in self.start.entries() {
            let entry = entry.map_err(OpenFailure::Elsewhere)?;
            let index = entry.index;
            if index <= self.replayed || index > upto {
                continue;
            }
            apply(
                &self.spaces,
                &self.extents,
                std::slice::from_ref(&entry),
                |space| have.lacks(space, index),
                &mut self.applied,
                &mut progress,
            )?;
            self.replayed = index;
        }
        self.applied.index = self.applied.index.max(most);
        Ok(())
    }

    /// The last entry that is applied, in a set.
    pub(super) fn entry(&self) -> Option<EntryId> {
        let term = self.applied.term?;
        let index = self.applied.index;
        let term = match term {
            0 => self.start.term_of(index).unwrap_or(0),
            _ => term,
        };
        Some(EntryId { term, index })
    }

    /// Applies the entries up to this one, which a majority of the set has. False if the log has not come to it.
    pub(super) fn advance(&mut self, to: EntryId) -> Result<bool, StoreError> {
        if self.entry().is_none_or(|entry| entry >= to) {
            return Ok(self.entry() == Some(to));
        }
        if self.start.term_of(to.index) != Some(to.term) {
            return Ok(false);
        }
        self.replay(to.index).map_err(OpenFailure::into_error)?;
        Ok(true)
    }
}

/// Copies the small files of the database and links its tables and the log.
fn fill(dir: &Path, shadow: &Path) -> io::Result<()> {
    for entry in directory(dir)? {
        let is_small = entry.is_file() && entry.file_name().is_some_and(|name| name == "manifest");
        if is_small {
            copy(&entry, &shadow.join("manifest"))?;
        }
    }
    if dir.join(LOG_DIR).exists() {
        symlink(dir.join(LOG_DIR), shadow.join(LOG_DIR))?;
    }
    let (db, db_shadow) = (dir.join(DB_DIR), shadow.join(DB_DIR));
    if !db.exists() {
        return Ok(());
    }
    fs::create_dir(&db_shadow)?;
    copy(&db.join("version"), &db_shadow.join("version"))?;
    let keyspaces = db.join("keyspaces");
    if !keyspaces.exists() {
        return Ok(());
    }
    fs::create_dir(db_shadow.join("keyspaces"))?;
    for keyspace in directory(&keyspaces)? {
        let target = db_shadow
            .join("keyspaces")
            .join(keyspace.file_name().unwrap_or_default());
        fill_keyspace(&keyspace, &target)?;
    }
    Ok(())
}

fn fill_keyspace(keyspace: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir(target)?;
    for entry in directory(keyspace)? {
        let target = target.join(entry.file_name().unwrap_or_default());
        if !entry.is_dir() {
            copy(&entry, &target)?;
            continue;
        }
        fs::create_dir(&target)?;
        for table in directory(&entry)? {
            symlink(&table, target.join(table.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// Copies a file, unless it is missing or the disk does not return it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::read(from) {
        Ok(content) => fs::write(to, content),
        Err(e) if is_lost(&e) => Ok(()),
        Err(e) => Err(e),
    }
}

fn directory(path: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}
