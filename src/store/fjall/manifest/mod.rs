//! The manifests of the database: the files that list the tables of each keyspace. The database trusts them
//! and deletes files that they do not list, so a damaged manifest could empty a keyspace. They are therefore
//! checked before the database opens, against their checksums and against a copy. A damaged manifest is
//! restored if possible; otherwise the start fails.
//!
//! A keyspace is a directory `keyspaces/ID`. Its file `current` holds the number of a version, the XXH3 (128
//! bits) of the version's file and the byte 0. `vN` is the file of version N, an sfa archive whose sections
//! `tables` and `blob_files` list these files, with the XXH3 of each whole file. A version is written and
//! synced after all its tables and before `current` is replaced. So if `current` is lost, the highest whole
//! version is the one it named, or a later one with the same flushed data.
//!
//! The copy, `manifest` in the data directory, holds both files of each keyspace. It is written after the
//! database has opened, after flushes and at the end, so it may be older than the manifests, but never newer.
//! Its existence proves that the database was complete once. Without it, a keyspace may be unfinished because
//! the first start was killed.

mod copy; // the store's copy of the manifests
mod files; // the manifest of a keyspace, and the files that it lists
mod verify; // all files of the database

use std::io::ErrorKind;
use std::path::Path;

use tracing::warn;
use xxhash_rust::xxh3::xxh3_128;

pub(super) use copy::{copy, forget_copy};
pub(super) use verify::{bytes, verify};

use self::copy::read_copy;
use self::files::{
    Contents, FileFlaw, Flaw, Listed, Manifest, VERSION_MARKER, decode_current, encode_current,
    keyspace_dir, keyspaces, listed, read_manifest, write_atomically,
};
use super::open::LOG_DIR;
use crate::store::dir::{exists, journals};
use crate::store::error::{Advice, StoreError, io_error};

/// Checks the files by which the database opens, and restores them if possible. Removes a database that was
/// never complete and holds nothing.
pub(super) fn check(dir: &Path, db: &Path) -> Result<(), StoreError> {
    let copy = read_copy(dir)?;
    if !exists(db)? {
        return match copy {
            None => Ok(()),
            Some(_) => Err(damaged(format!("{} is missing", db.display()))),
        };
    }
    if copy.is_none() && is_stillborn(dir, db)? {
        tracing::info!(dir = %db.display(), "removing an unfinished database");
        return std::fs::remove_dir_all(db).map_err(|e| io_error("removing", db, e));
    }
    let copy = copy.unwrap_or_default();
    let mut keyspaces = keyspaces(db)?;
    keyspaces.extend(copy.keys().map(|id| (*id, keyspace_dir(db, *id))));
    for (id, path) in &keyspaces {
        check_keyspace(path, copy.get(id))?;
    }
    restore_file(&db.join("version"), &VERSION_MARKER)?;
    if !exists(&db.join("lock"))? {
        restore_file(&db.join("lock"), b"")?;
    }
    Ok(())
}

/// Whether the first start was killed before the database was complete. Nothing can have been stored in it.
fn is_stillborn(dir: &Path, db: &Path) -> Result<bool, StoreError> {
    let has_log = has_entries(&dir.join(LOG_DIR))? || has_entries(&dir.join("extents"))?;
    if has_log || !journals_hold_nothing(db)? {
        return Ok(false);
    }
    for (id, path) in keyspaces(db)? {
        // The first keyspace is the database's own, and describes the others.
        if id != 0 && has_entries(&path.join("tables"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether nothing was ever written to the database's journals.
fn journals_hold_nothing(db: &Path) -> Result<bool, StoreError> {
    for (_, path) in journals(db)? {
        let content = std::fs::read(&path).map_err(|e| io_error("reading", &path, e))?;
        if content.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_entries(dir: &Path) -> Result<bool, StoreError> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io_error("reading", dir, e)),
    }
}

fn check_keyspace(path: &Path, known: Option<&Manifest>) -> Result<(), StoreError> {
    let manifest = match read_manifest(path) {
        Ok(manifest) => manifest,
        Err(Flaw::Io(e)) => return Err(io_error("reading the manifest of", path, e)),
        Err(Flaw::Damaged(what)) => {
            let restored = restore(path, known)?;
            let Some(manifest) = restored else {
                return Err(damaged(what));
            };
            warn!(keyspace = %path.display(), version = manifest.id, "{what}; restored it");
            manifest
        }
    };
    if known.is_some_and(|known| known.id > manifest.id) {
        let current = path.join("current");
        return Err(damaged(format!(
            "{} is older than it was",
            current.display()
        )));
    }
    let Contents { files } = listed(&path.join(format!("v{}", manifest.id))).map_err(|_| {
        damaged(format!(
            "version {} of {} makes no sense",
            manifest.id,
            path.display()
        ))
    })?;
    files
        .into_iter()
        .try_for_each(|listed| check_file(path, listed))
}

/// Restores a damaged manifest. `None` if that is impossible.
fn restore(path: &Path, known: Option<&Manifest>) -> Result<Option<Manifest>, StoreError> {
    let current_file = path.join("current");
    let current = std::fs::read(&current_file).unwrap_or_default();
    if let Some(known) = known.filter(|known| known.current == current) {
        // The version's file is damaged, and the copy has it.
        restore_file(&path.join(format!("v{}", known.id)), &known.version)?;
        return Ok(Some(known.clone()));
    }
    let Some(highest) = highest_version(path)? else {
        return Ok(None);
    };
    let decoded = decode_current(&current);
    let file = path.join(format!("v{highest}"));
    let version = std::fs::read(&file).map_err(|e| io_error("reading", &file, e))?;
    let sum = xxh3_128(&version);
    let is_named = decoded.is_some_and(|(_, named)| named == sum);
    // If the current version's file is missing, an earlier version must not replace it.
    let may_be_earlier = decoded.is_some_and(|(id, _)| id > highest)
        || known.is_some_and(|known| known.id > highest);
    let is_known = known.is_some_and(|known| known.id == highest && known.version == version);
    // A version is whole if all files that it lists exist unchanged.
    let is_whole = || {
        listed(&file).is_ok_and(|contents| {
            let is_there = |listed: &Listed| listed.flaw(path).is_none();
            !contents.files.is_empty() && contents.files.iter().all(is_there)
        })
    };
    if !is_named && (may_be_earlier || !(is_known || is_whole())) {
        return Ok(None);
    }
    let current = encode_current(highest, sum);
    restore_file(&current_file, &current)?;
    Ok(Some(Manifest {
        id: highest,
        current,
        version,
    }))
}

/// Checks a file of a keyspace.
fn check_file(path: &Path, listed: Listed) -> Result<(), StoreError> {
    let file = path.join(listed.name());
    match listed.flaw(path) {
        None => Ok(()),
        Some(FileFlaw::Io(e)) => Err(io_error("reading", &file, e)),
        Some(FileFlaw::Missing) => Err(damaged(format!("{} is missing", file.display()))),
        Some(FileFlaw::Changed) => Err(damaged(format!(
            "{} is not as it was written",
            file.display()
        ))),
    }
}

fn damaged(what: String) -> StoreError {
    StoreError::Damaged {
        what,
        advice: Advice::Restore,
    }
}

fn highest_version(path: &Path) -> Result<Option<u64>, StoreError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("reading", path, e)),
    };
    let mut highest = None;
    for entry in entries {
        let name = entry.map_err(|e| io_error("reading", path, e))?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix('v')?.parse().ok());
        highest = highest.max(number);
    }
    Ok(highest)
}

/// Writes a file unless it has this content.
fn restore_file(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    if std::fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    warn!(file = %path.display(), "restoring a file of the database");
    write_atomically(path, content)
}
