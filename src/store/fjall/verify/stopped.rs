//! Verifies and repairs a data directory that no broker uses.

use std::io;
use std::path::{Path, PathBuf};

use super::chunks;
use super::records;
use super::shadow::{Cast, Parts, Shadow, Tail, cast};
use super::verifier::{Stop, Verifier, effect_of_entries};
use crate::store::dir::{self, DirLock};
use crate::store::error::{Advice, StoreError, io_error, is_lost};
use crate::store::fjall::manifest;
use crate::store::fjall::open::LOG_DIR;
use crate::store::log::{VoteFile, VoteFlaw, head_flaws};
use crate::store::verify::{DamageKind, Effect, Finding, Place, Verified, VerifyStep};
use crate::store::{DefinitionEntry, Identity};

/// A data directory that no broker uses, and that none can open meanwhile.
pub struct StoppedStore {
    dir: PathBuf,
    shadow: Option<Box<Shadow>>,
    lock: DirLock,
}

impl StoppedStore {
    /// Locks a data directory. Changes nothing in it, but for the lock's file.
    pub fn lock(dir: &Path) -> Result<StoppedStore, StoreError> {
        // A directory that is not there must not be created, and a foreign one gets no lock.
        std::fs::metadata(dir).map_err(|e| io_error("reading", dir, e))?;
        let has = |name: &str| dir::exists(&dir.join(name));
        if !(has("db")? || has(LOG_DIR)? || has("manifest")?) {
            let none = io::Error::new(io::ErrorKind::NotFound, "there are none");
            return Err(io_error("looking for the files of a broker in", dir, none));
        }
        Ok(StoppedStore {
            dir: dir.to_owned(),
            shadow: None,
            lock: dir::lock(dir)?,
        })
    }

    /// Reads everything and verifies its checksums.
    pub fn verify(&mut self, step: &mut VerifyStep<'_>) -> Result<Verified, StoreError> {
        let db = self.dir.join("db");
        let total = manifest::bytes(&db) + log_bytes(&self.dir.join(LOG_DIR));
        let mut verifier = Verifier::new(step, total);
        let ended = self.verify_all(&mut verifier, &db);
        verifier.outcome(ended)
    }

    /// The definitions whose key starts with `prefix`, as the next start finds them. None before [`StoppedStore::verify`],
    /// and if the database cannot be read.
    pub fn definitions(&self, prefix: &[u8]) -> Result<Vec<DefinitionEntry>, StoreError> {
        match &self.shadow {
            Some(shadow) => shadow.parts.spaces.definitions(prefix),
            None => Ok(Vec::new()),
        }
    }

    /// The directory, and its lock.
    pub(super) fn into_parts(self) -> (PathBuf, DirLock) {
        (self.dir, self.lock)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn verify_all(&mut self, verifier: &mut Verifier<'_, '_>, db: &Path) -> Result<(), Stop> {
        verifier.database_files(&self.dir, db, Effect::Mended)?;
        verifier.checkpoint(&self.dir.join(LOG_DIR))?;
        match Identity::read(&self.dir) {
            Ok(_) => {}
            Err(StoreError::Damaged { .. }) => {
                verifier.node_file(Identity::path(&self.dir), Effect::Refused);
            }
            Err(error) => return Err(error.into()),
        }
        match cast(&self.dir, Tail::Whole) {
            Ok(Cast::Open(shadow)) => self.shadow = Some(shadow),
            Ok(Cast::Empty) => return Ok(()),
            Ok(Cast::EarlierFormat) => return Err(earlier_format(&self.dir).into()),
            Ok(Cast::NoLog) => {
                verifier.found.add(no_log(&self.dir));
                return Ok(());
            }
            Err(error) => return unusable(verifier, error),
        }
        let Some(shadow) = &self.shadow else {
            return Ok(());
        };
        verify_shadow(verifier, shadow)
    }
}

/// Verifies what the database leads to.
fn verify_shadow(verifier: &mut Verifier<'_, '_>, shadow: &Shadow) -> Result<(), Stop> {
    let parts = &shadow.parts;
    let Parts {
        spaces,
        extents,
        start,
        least,
        ..
    } = parts;
    verifier.entries(start.damages(), *least, effect_of_entries(spaces)?);
    if spaces.base()?.is_some() {
        let seed = spaces.log_seed()?.unwrap_or(0);
        match VoteFile::flaw(extents.dir(), seed) {
            None => {}
            Some(VoteFlaw::OneSlot(file)) => verifier.node_file(file, Effect::Mended),
            Some(VoteFlaw::Lost(file)) => verifier.node_file(file, Effect::Refused),
        }
    }
    let flaws = head_flaws(start, |_, bytes| {
        verifier.found.entries += 1;
        verifier.passed(bytes)
    })?;
    for flaw in flaws {
        verifier.head(flaw);
    }
    let bytes = records::verify(verifier, parts)?;
    verifier.expect(bytes);
    chunks::verify(verifier, parts, u32::MAX)
}

/// The database does not open. If nothing else explains it, that is a finding of its own.
fn unusable(verifier: &mut Verifier<'_, '_>, error: StoreError) -> Result<(), Stop> {
    let what = match error {
        StoreError::Database { .. } | StoreError::Corrupt(_) | StoreError::Unreadable { .. } => {
            error.to_string()
        }
        StoreError::Damaged { what, .. } => what,
        StoreError::Io { ref source, .. } if is_lost(source) => error.to_string(),
        StoreError::Io { .. }
        | StoreError::InUse { .. }
        | StoreError::NewerFormat { .. }
        | StoreError::InSet { .. }
        | StoreError::Closed => return Err(error.into()),
    };
    for finding in &mut verifier.found.findings {
        finding.effect = Effect::Refused;
    }
    if verifier.found.is_whole() {
        verifier.found.add(Finding {
            kind: DamageKind::Database,
            effect: Effect::Refused,
            what,
            place: None,
            messages: None,
        });
    }
    Ok(())
}

fn no_log(dir: &Path) -> Finding {
    Finding {
        kind: DamageKind::Entry,
        effect: Effect::Lost,
        what: log_is_missing(dir),
        place: Some(Place {
            file: dir.join(LOG_DIR),
            bytes: None,
        }),
        messages: None,
    }
}

pub(super) fn log_is_missing(dir: &Path) -> String {
    let log = dir.join(LOG_DIR);
    format!("{} is missing, and all messages in it", log.display())
}

pub(super) fn earlier_format(dir: &Path) -> StoreError {
    StoreError::Damaged {
        what: format!(
            "{} was written by an earlier release. Start and stop the broker once, which carries it over",
            dir.display()
        ),
        advice: Advice::Restore,
    }
}

/// Bytes of all files of the log.
fn log_bytes(log: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(log) else {
        return 0;
    };
    files
        .filter_map(|file| Some(file.ok()?.metadata().ok()?.len()))
        .sum()
}
