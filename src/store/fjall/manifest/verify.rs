//! Verifies all files of the database, also while it is in use: a file that a merge removes meanwhile is not missing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::copy::{COPY_FILE, read_copy};
use super::files::{
    FileFlaw, Flaw, Listed, Manifest, VERSION_MARKER, keyspace_dir, keyspaces, listed,
    read_manifest,
};
use crate::store::dir::exists;
use crate::store::error::{StoreError, io_error};

/// How often a manifest is read that the database is replacing.
const TRIES: u32 = 20;
/// How often new tables of a keyspace are looked for.
const ROUNDS_MAX: u32 = 8;

/// A file that is not as it was written.
#[derive(Debug)]
pub(in crate::store::fjall) struct FlawedFile {
    pub(in crate::store::fjall) file: PathBuf,
    pub(in crate::store::fjall) what: String,
}

/// Passes the bytes of each file to `passed`.
pub(in crate::store::fjall) fn verify<E: From<StoreError>>(
    dir: &Path,
    db: &Path,
    mut passed: impl FnMut(u64) -> Result<(), E>,
) -> Result<Vec<FlawedFile>, E> {
    let mut flaws = Vec::new();
    let mut flawed = |file: PathBuf, what: &str| {
        let what = format!("{} {what}", file.display());
        flaws.push(FlawedFile { file, what });
    };
    let copy = read_copy(dir)?;
    let copy_file = dir.join(COPY_FILE);
    if copy.is_none() && exists(&copy_file)? {
        flawed(copy_file, "is not as it was written");
    }
    if !exists(db)? {
        if copy.is_some() {
            flawed(db.to_owned(), "is missing");
        }
        return Ok(flaws);
    }
    let marker = db.join("version");
    match std::fs::read(&marker) {
        Ok(found) if found == VERSION_MARKER => {}
        _ if copy.is_none() => {} // maybe the first start was killed
        Ok(_) | Err(_) => flawed(marker, "is not as it was written"),
    }
    let copy = copy.unwrap_or_default();
    let mut all = keyspaces(db)?;
    all.extend(copy.keys().map(|id| (*id, keyspace_dir(db, *id))));
    for (id, path) in &all {
        verify_keyspace(path, copy.get(id), &mut passed, &mut flawed)?;
    }
    Ok(flaws)
}

fn verify_keyspace<E: From<StoreError>>(
    path: &Path,
    known: Option<&Manifest>,
    passed: &mut impl FnMut(u64) -> Result<(), E>,
    flawed: &mut impl FnMut(PathBuf, &str),
) -> Result<(), E> {
    let mut verified: HashSet<PathBuf> = HashSet::new();
    let mut suspects: Vec<(Listed, &str)> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let manifest = match settled_manifest(path) {
            Ok(manifest) => manifest,
            Err(Flaw::Io(e)) => return Err(io_error("reading the manifest of", path, e).into()),
            Err(Flaw::Damaged(_)) => {
                flawed(
                    path.join("current"),
                    "and the version that it names do not fit together",
                );
                return Ok(());
            }
        };
        if known.is_some_and(|known| known.id > manifest.id) {
            flawed(path.join("current"), "is older than it was");
        }
        let version = format!("v{}", manifest.id);
        let files = match listed(&path.join(&version)) {
            Ok(contents) => contents.files,
            // The database has replaced it since.
            Err(_) if !path.join(&version).exists() => continue,
            Err(_) => {
                flawed(path.join(version), "makes no sense");
                return Ok(());
            }
        };
        for (suspect, what) in suspects.drain(..) {
            if files.contains(&suspect) {
                flawed(path.join(suspect.name()), what);
            }
        }
        let mut is_new = false;
        for file in files {
            let name = file.name();
            if !verified.insert(name.clone()) {
                continue;
            }
            is_new = true;
            let bytes = std::fs::metadata(path.join(&name)).map_or(0, |found| found.len());
            match file.flaw(path) {
                None => {}
                Some(FileFlaw::Io(e)) => {
                    return Err(io_error("reading", &path.join(name), e).into());
                }
                Some(FileFlaw::Missing) => suspects.push((file, "is missing")),
                Some(FileFlaw::Changed) => suspects.push((file, "is not as it was written")),
            }
            passed(bytes)?;
        }
        if !is_new {
            break;
        }
    }
    for (suspect, what) in suspects {
        flawed(path.join(suspect.name()), what);
    }
    Ok(())
}

/// Reads a manifest that the database may be replacing.
fn settled_manifest(path: &Path) -> Result<Manifest, Flaw> {
    for _ in 1..TRIES {
        match read_manifest(path) {
            Err(Flaw::Damaged(_)) => std::thread::yield_now(),
            outcome => return outcome,
        }
    }
    read_manifest(path)
}

/// Bytes of all files in the database's directory.
pub(in crate::store::fjall) fn bytes(db: &Path) -> u64 {
    let Ok(keyspaces) = keyspaces(db) else {
        return 0;
    };
    let tables = keyspaces
        .values()
        .filter_map(|path| std::fs::read_dir(path.join("tables")).ok())
        .flatten();
    tables
        .filter_map(|table| Some(table.ok()?.metadata().ok()?.len()))
        .sum()
}
