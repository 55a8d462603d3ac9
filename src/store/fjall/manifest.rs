//! The manifests of the database: the files that say which tables each keyspace consists of. The database trusts them,
//! and deletes what they do not name: one that is damaged empties a keyspace, and then the tables of all. So they are
//! checked before it is opened, against the checksums that they have and against a copy of our own; what can be restored
//! is restored, the rest is refused.
//!
//! A keyspace is a directory `keyspaces/ID`. Its file `current` holds the number of a version, the XXH3 (128 bits) of the
//! version's file and the byte 0; `vN` is the file of version N, an sfa archive whose sections `tables` and `blob_files`
//! name these files, with the XXH3 of each whole file. A version is written and synced before `current` is exchanged for
//! it, and after all its tables; so with `current` lost, the highest version that is whole is the one it named, or a later
//! one that says the same of what was flushed.
//!
//! The copy, `manifest` in the data directory, holds both files of each keyspace. It is written when the database has been
//! opened, after flushes, and at the end, so it may be older than they are, but never newer. That it is there at all says
//! that the database was complete once: before, a keyspace may be unfinished, because the first start was killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use tracing::warn;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use crate::store::dir::sync_dir;
use crate::store::error::{Advice, OnDamage, StoreError, io_error, is_lost};

/// Name of the copy in the data directory.
const COPY_FILE: &str = "manifest";
/// What the copy begins with; the last byte is its version.
const COPY_MAGIC: [u8; 8] = *b"LVRMNF\0\x01";
/// Length of `current`.
const CURRENT_LEN: usize = 25;
/// What the database's file `version` holds.
const VERSION_MARKER: [u8; 4] = *b"FJL\x03";
/// The type of a tree that keeps values apart.
const TREE_WITH_VALUES: u8 = 1;
/// Bytes read at once.
const STEP: usize = 256 * 1024;
/// How often the files are read again if they are exchanged meanwhile.
const COPY_TRIES: u32 = 5;

/// The two files of a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Manifest {
    /// Number of the version.
    id: u64,
    current: Vec<u8>,
    version: Vec<u8>,
}

/// Checks, and where it can be done restores, what the database is opened by. A database that was never complete, and
/// holds nothing, is removed.
pub(super) fn check(dir: &Path, db: &Path, on_damage: OnDamage) -> Result<(), StoreError> {
    let exists = |path: PathBuf| path.try_exists().map_err(|e| io_error("reading", &path, e));
    let copy = read_copy(dir)?;
    if !exists(db.to_owned())? {
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
        check_keyspace(path, copy.get(id), on_damage)?;
    }
    restore_file(&db.join("version"), &VERSION_MARKER)?;
    if !exists(db.join("lock"))? {
        restore_file(&db.join("lock"), b"")?;
    }
    Ok(())
}

/// Writes the copy anew, if anything has changed since.
pub(super) fn copy(dir: &Path, db: &Path) -> Result<(), StoreError> {
    let mut manifests = BTreeMap::new();
    for (id, path) in keyspaces(db)? {
        let manifest = (0..COPY_TRIES).find_map(|_| read_manifest(&path).ok());
        let Some(manifest) = manifest else {
            return Ok(()); // it changes too fast; there will be another time
        };
        manifests.insert(id, manifest);
    }
    if read_copy(dir)?.as_ref() == Some(&manifests) {
        return Ok(());
    }
    // What the copy says must not be more than what a power loss leaves.
    for id in manifests.keys() {
        sync_dir(&keyspace_dir(db, *id))?;
    }
    sync_dir(&db.join("keyspaces"))?;
    sync_dir(db)?;
    write_atomically(&dir.join(COPY_FILE), &encode(&manifests))
}

/// Whether the first start was killed before the database was complete. Nothing can have been stored in it.
fn is_stillborn(dir: &Path, db: &Path) -> Result<bool, StoreError> {
    let has_synced = super::synced::read_synced(dir)?.is_some();
    if has_synced || has_entries(&dir.join("extents"))? || !super::journal_repair::hold_nothing(db)?
    {
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

fn has_entries(dir: &Path) -> Result<bool, StoreError> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io_error("reading", dir, e)),
    }
}

fn check_keyspace(
    path: &Path,
    known: Option<&Manifest>,
    on_damage: OnDamage,
) -> Result<(), StoreError> {
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
    let Contents { files, has_values } =
        listed(&path.join(format!("v{}", manifest.id))).map_err(|_| {
            damaged(format!(
                "version {} of {} makes no sense",
                manifest.id,
                path.display()
            ))
        })?;
    for listed in files {
        let may_recover = has_values && matches!(listed, Listed::Table(..));
        check_file(path, listed, may_recover, on_damage)?;
    }
    Ok(())
}

/// Makes the manifest whole again, if it is known how.
fn restore(path: &Path, known: Option<&Manifest>) -> Result<Option<Manifest>, StoreError> {
    let current_file = path.join("current");
    let current = std::fs::read(&current_file).unwrap_or_default();
    if let Some(known) = known.filter(|known| known.current == current) {
        // It is the version's file that is damaged, and the copy has it.
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
    // It may be whole, and its version be missing: an earlier one must not take its place.
    let may_be_earlier = decoded.is_some_and(|(id, _)| id > highest)
        || known.is_some_and(|known| known.id > highest);
    let is_known = known.is_some_and(|known| known.id == highest && known.version == version);
    // It is whole if all that it names is there as it names it.
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

/// Checks a file of a keyspace. Of chunks some may be passed over, of records none.
fn check_file(
    path: &Path,
    listed: Listed,
    may_recover: bool,
    on_damage: OnDamage,
) -> Result<(), StoreError> {
    let file = path.join(listed.name());
    match listed.flaw(path) {
        None => Ok(()),
        Some(FileFlaw::Io(e)) => Err(io_error("reading", &file, e)),
        Some(FileFlaw::Missing) => Err(damaged(format!("{} is missing", file.display()))),
        Some(FileFlaw::Changed) if !may_recover => Err(damaged(format!(
            "{} is not as it was written",
            file.display()
        ))),
        Some(FileFlaw::Changed) if on_damage == OnDamage::Recover => {
            warn!(file = %file.display(), "a table is damaged; going on without what cannot be read of it");
            Ok(())
        }
        Some(FileFlaw::Changed) => Err(StoreError::Damaged {
            what: format!("{} is not as it was written", file.display()),
            advice: Advice::TryToRecover,
        }),
    }
}

/// What is wrong with a manifest.
#[derive(Debug)]
enum Flaw {
    Io(io::Error),
    Damaged(String),
}

fn read_manifest(path: &Path) -> Result<Manifest, Flaw> {
    let read = |name: &str| match std::fs::read(path.join(name)) {
        Err(e) if e.kind() == ErrorKind::NotFound => Err(Flaw::Damaged(format!(
            "{} is missing",
            path.join(name).display()
        ))),
        Err(e) if is_lost(&e) => Err(Flaw::Damaged(format!(
            "{} cannot be read: {e}",
            path.join(name).display()
        ))),
        outcome => outcome.map_err(Flaw::Io),
    };
    let current = read("current")?;
    let decoded = decode_current(&current);
    let Some((id, sum)) = decoded else {
        let what = format!("{} makes no sense", path.join("current").display());
        return Err(Flaw::Damaged(what));
    };
    let name = format!("v{id}");
    let version = read(&name)?;
    if xxh3_128(&version) != sum {
        return Err(Flaw::Damaged(format!(
            "{} and {name} do not fit together",
            path.join("current").display()
        )));
    }
    Ok(Manifest {
        id,
        current,
        version,
    })
}

fn encode_current(id: u64, sum: u128) -> Vec<u8> {
    let mut current = id.to_le_bytes().to_vec();
    current.extend(sum.to_le_bytes());
    current.push(0); // XXH3
    current
}

fn decode_current(bytes: &[u8]) -> Option<(u64, u128)> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let whole = rest == [0] && bytes.len() == CURRENT_LEN;
    whole.then_some((u64::from_le_bytes(*id), u128::from_le_bytes(*sum)))
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

/// A file that a version names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    /// A table, and the XXH3 of it.
    Table(u64, u128),
    /// A file of values. It may be large: each value in it has a checksum of its own.
    Blobs(u64),
}

/// What is wrong with a file.
enum FileFlaw {
    Io(io::Error),
    Missing,
    Changed,
}

impl Listed {
    fn name(self) -> PathBuf {
        match self {
            Listed::Table(id, _) => Path::new("tables").join(id.to_string()),
            Listed::Blobs(id) => Path::new("blobs").join(id.to_string()),
        }
    }

    fn flaw(self, keyspace: &Path) -> Option<FileFlaw> {
        let path = keyspace.join(self.name());
        let found = match self {
            Listed::Table(_, sum) => sum_of(&path).map(|found| found == sum),
            Listed::Blobs(_) => {
                File::open(&path).map(|mut file| sfa::Reader::from_reader(&mut file).is_ok())
            }
        };
        match found {
            Ok(true) => None,
            Ok(false) => Some(FileFlaw::Changed),
            Err(e) if e.kind() == ErrorKind::NotFound => Some(FileFlaw::Missing),
            Err(e) if is_lost(&e) => Some(FileFlaw::Changed),
            Err(e) => Some(FileFlaw::Io(e)),
        }
    }
}

fn sum_of(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; STEP];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// What a version's file names.
struct Contents {
    files: Vec<Listed>,
    /// Values are kept apart: it is the keyspace of chunks.
    has_values: bool,
}

fn listed(file: &Path) -> io::Result<Contents> {
    let archive = sfa::Reader::new(file).map_err(io::Error::other)?;
    let section = |name: &[u8]| {
        let section = archive.toc().section(name);
        let section = section.ok_or_else(|| io::Error::other("a section is missing"))?;
        let mut bytes = Vec::new();
        section.buf_reader(file)?.read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    let too_short = || io::Error::from(ErrorKind::UnexpectedEof);
    let mut files = tables(&section(b"tables")?).ok_or_else(too_short)?;
    files.extend(blob_files(&section(b"blob_files")?).ok_or_else(too_short)?);
    Ok(Contents {
        files,
        has_values: section(b"tree_type")? == [TREE_WITH_VALUES],
    })
}

fn tables(mut bytes: &[u8]) -> Option<Vec<Listed>> {
    let rest = &mut bytes;
    let mut tables = Vec::new();
    let [levels] = take(rest)?;
    for _ in 0..levels {
        let [runs] = take(rest)?;
        for _ in 0..runs {
            let count = u32::from_le_bytes(take(rest)?);
            for _ in 0..count {
                let (id, sum) = file(rest)?;
                take::<8>(rest)?; // its sequence number
                tables.push(Listed::Table(id, sum));
            }
        }
    }
    rest.is_empty().then_some(tables)
}

fn blob_files(mut bytes: &[u8]) -> Option<Vec<Listed>> {
    let rest = &mut bytes;
    let count = u32::from_le_bytes(take(rest)?);
    let mut files = Vec::new();
    for _ in 0..count {
        files.push(Listed::Blobs(file(rest)?.0));
    }
    rest.is_empty().then_some(files)
}

/// Number and checksum of a file.
fn file(rest: &mut &[u8]) -> Option<(u64, u128)> {
    let id = u64::from_le_bytes(take(rest)?);
    let [kind] = take(rest)?;
    let sum = u128::from_le_bytes(take(rest)?);
    (kind == 0).then_some((id, sum))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (found, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*found)
}

/// The keyspaces by number.
fn keyspaces(db: &Path) -> Result<BTreeMap<u64, PathBuf>, StoreError> {
    let dir = db.join("keyspaces");
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(io_error("reading", &dir, e)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|e| io_error("reading", &dir, e))?.path();
        let id = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if let Some(id) = id {
            found.insert(id, path);
        }
    }
    Ok(found)
}

fn keyspace_dir(db: &Path, id: u64) -> PathBuf {
    db.join("keyspaces").join(id.to_string())
}

/// The copy; `None` if there is none, or if it is damaged: then the manifests have to stand for themselves.
fn read_copy(dir: &Path) -> Result<Option<BTreeMap<u64, Manifest>>, StoreError> {
    let path = dir.join(COPY_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let copy = decode(&bytes);
            if copy.is_none() {
                warn!(copy = %path.display(), "the copy of the manifests is damaged; it is written anew");
            }
            Ok(copy)
        }
        Err(e) if is_lost(&e) => Ok(None),
        Err(e) => Err(io_error("reading", &path, e)),
    }
}

/// ```text
/// copy = magic, keyspaces u32, (id u64, current (length u32, bytes), version (length u32, bytes)) *, xxh3 of all u64
/// ```
fn encode(manifests: &BTreeMap<u64, Manifest>) -> Vec<u8> {
    let len = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = COPY_MAGIC.to_vec();
    out.extend(len(manifests.len()));
    for (id, manifest) in manifests {
        out.extend(id.to_le_bytes());
        for part in [&manifest.current, &manifest.version] {
            out.extend(len(part.len()));
            out.extend(part);
        }
    }
    let sum = xxh3_64(&out);
    out.extend(sum.to_le_bytes());
    out
}

fn decode(bytes: &[u8]) -> Option<BTreeMap<u64, Manifest>> {
    let (content, sum) = bytes.split_last_chunk()?;
    if xxh3_64(content) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut rest = content.strip_prefix(&COPY_MAGIC)?;
    let rest = &mut rest;
    let count = u32::from_le_bytes(take(rest)?);
    let mut manifests = BTreeMap::new();
    for _ in 0..count {
        let keyspace = u64::from_le_bytes(take(rest)?);
        let mut part = || {
            let len = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
            let (part, left) = rest.split_at_checked(len)?;
            *rest = left;
            Some(part.to_vec())
        };
        let (current, version) = (part()?, part()?);
        let (id, _) = decode_current(&current)?;
        let manifest = Manifest {
            id,
            current,
            version,
        };
        manifests.insert(keyspace, manifest);
    }
    rest.is_empty().then_some(manifests)
}

/// Gives a file this content, unless it has it.
fn restore_file(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    if std::fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    warn!(file = %path.display(), "restoring a file of the database");
    write_atomically(path, content)
}

fn write_atomically(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().map_err(|e| io_error("writing", path, e))?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn damaged(what: String) -> StoreError {
    StoreError::Damaged {
        what,
        advice: Advice::Restore,
    }
}
