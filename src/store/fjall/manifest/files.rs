//! The manifest of a keyspace and the files that it names, as fjall 3.1 writes them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::store::dir::sync_dir;
use crate::store::error::{StoreError, io_error, is_lost};

/// Contents of the database's file `version`.
pub(super) const VERSION_MARKER: [u8; 4] = *b"FJL\x03";
/// Length of the file `current`.
const CURRENT_LEN: usize = 25;
/// Bytes of one read.
const STEP: usize = 256 * 1024;

/// The two files of a keyspace's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Number of the version.
    pub(super) id: u64,
    pub(super) current: Vec<u8>,
    pub(super) version: Vec<u8>,
}

/// Why a manifest cannot be used.
#[derive(Debug)]
pub(super) enum Flaw {
    Io(io::Error),
    Damaged(String),
}

pub(super) fn read_manifest(path: &Path) -> Result<Manifest, Flaw> {
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

pub(super) fn encode_current(id: u64, sum: u128) -> Vec<u8> {
    let mut current = id.to_le_bytes().to_vec();
    current.extend(sum.to_le_bytes());
    current.push(0); // XXH3
    current
}

pub(super) fn decode_current(bytes: &[u8]) -> Option<(u64, u128)> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let whole = rest == [0] && bytes.len() == CURRENT_LEN;
    whole.then_some((u64::from_le_bytes(*id), u128::from_le_bytes(*sum)))
}

/// A file that a version names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// A table, with its XXH3.
    Table(u64, u128),
    /// A file of values. It may be large, so its checksum is not verified: each value in it has one of its
    /// own.
    Blobs(u64),
}

/// Why a listed file cannot be used.
pub(super) enum FileFlaw {
    Io(io::Error),
    Missing,
    Changed,
}

impl Listed {
    pub(super) fn name(self) -> PathBuf {
        match self {
            Listed::Table(id, _) => Path::new("tables").join(id.to_string()),
            Listed::Blobs(id) => Path::new("blobs").join(id.to_string()),
        }
    }

    pub(super) fn flaw(self, keyspace: &Path) -> Option<FileFlaw> {
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

/// The contents of a version's file.
pub(super) struct Contents {
    pub(super) files: Vec<Listed>,
}

pub(super) fn listed(file: &Path) -> io::Result<Contents> {
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
    Ok(Contents { files })
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

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (found, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*found)
}

/// The keyspaces by number.
pub(super) fn keyspaces(db: &Path) -> Result<BTreeMap<u64, PathBuf>, StoreError> {
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

pub(super) fn keyspace_dir(db: &Path, id: u64) -> PathBuf {
    db.join("keyspaces").join(id.to_string())
}

pub(super) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), StoreError> {
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
