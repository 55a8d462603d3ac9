//! Entries that were on disk and cannot be read.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::extent_file::{ExtentFile, Found};
use crate::store::StoreError;
use crate::store::error::io_error;
use crate::store::extents::IO_BYTES;

/// Entries that were on disk and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Damage {
    pub(in crate::store) entries: Range<u64>,
    /// The files and the bytes in them that may hold them.
    pub(in crate::store) places: Vec<(PathBuf, Range<u64>)>,
}

impl Damage {
    /// Entries that should stand behind `from` and before the entry `next`, or up to the end of that file. If `next` is in
    /// another one, also between its beginning and `next`.
    pub(super) fn between(
        entries: Range<u64>,
        files: &BTreeMap<u32, ExtentFile>,
        from: Option<(u32, u64)>,
        next: Option<&Found>,
    ) -> Damage {
        let is_elsewhere = |next: &&Found| from.is_none_or(|(extent, _)| extent != next.extent);
        let behind = from.and_then(|(extent, at)| {
            let file = files.get(&extent)?;
            let end = next.filter(|next| next.extent == extent);
            Some((file, at..end.map_or(file.len, |next| next.at)))
        });
        let before = next.filter(is_elsewhere).and_then(|next| {
            let file = files.get(&next.extent)?;
            Some((file, 0..next.at))
        });
        let places = behind.into_iter().chain(before);
        let places = places.filter(|(_, bytes)| !bytes.is_empty());
        let places = places.map(|(file, bytes)| (file.path.clone(), bytes));
        Damage {
            entries,
            places: places.collect(),
        }
    }

    /// The same by each of its places; itself without any.
    pub(in crate::store) fn by_place(&self) -> Vec<Damage> {
        if self.places.is_empty() {
            return vec![self.clone()];
        }
        let one = |place: &(PathBuf, Range<u64>)| Damage {
            entries: self.entries.clone(),
            places: vec![place.clone()],
        };
        self.places.iter().map(one).collect()
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Range { start, end } = self.entries;
        write!(f, "entries {start} to {} of the log ", end - 1)?;
        let place = |(path, bytes): &(PathBuf, Range<u64>)| {
            let (from, to) = (bytes.start, bytes.end);
            format!("{}, bytes {from} to {to}", path.display())
        };
        let places: Vec<String> = self.places.iter().map(place).collect();
        match &places[..] {
            [] => f.write_str("(no file holds them) ")?,
            places => write!(f, "({}) ", places.join("; "))?,
        }
        f.write_str("cannot be read")
    }
}

/// Copies the bytes of damaged stretches to a directory, so that nothing is lost when the log goes on.
pub(in crate::store) fn keep_aside(damages: &[Damage], dir: &Path) -> Result<(), StoreError> {
    for (path, bytes) in damages.iter().flat_map(|damage| &damage.places) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        keep_bytes(path, bytes, dir, &format!("{name}-{}", bytes.start))?;
    }
    Ok(())
}

/// Copies bytes of a file to `dir`, and returns the copy. What the disk does not return is zeros in it. If other bytes
/// have this name there, a number is added: a place in the log can be damaged more than once. If the same bytes are
/// there, they are not copied again.
pub(in crate::store) fn keep_bytes(
    path: &Path,
    bytes: &Range<u64>,
    dir: &Path,
    name: &str,
) -> Result<PathBuf, StoreError> {
    let copy = || -> io::Result<PathBuf> {
        std::fs::create_dir_all(dir)?;
        let file = File::open(path)?;
        for number in 1_u64.. {
            let target = match number {
                1 => dir.join(name),
                _ => dir.join(format!("{name}-{number}")),
            };
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&target)
            {
                Ok(mut kept) => {
                    parts(&file, bytes, |part, _| kept.write_all(part).map(|()| true))?;
                    kept.sync_all()?;
                    return Ok(target);
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
            if has_bytes(&target, &file, bytes)? {
                return Ok(target);
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    };
    copy().map_err(|e| io_error("keeping a copy of", path, e))
}

/// Whether a copy has these bytes of a file.
fn has_bytes(copy: &Path, file: &File, bytes: &Range<u64>) -> io::Result<bool> {
    let copy = File::open(copy)?;
    if copy.metadata()?.len() != bytes.end - bytes.start {
        return Ok(false);
    }
    let mut kept = vec![0; IO_BYTES];
    parts(file, bytes, |part, at| {
        let kept = kept.get_mut(..part.len()).unwrap_or_default();
        copy.read_exact_at(kept, at - bytes.start)?;
        Ok(*kept == *part)
    })
}

/// Reads bytes of a file in parts, with their positions, as long as `take` wants them; false if it wants no more.
fn parts(
    file: &File,
    bytes: &Range<u64>,
    mut take: impl FnMut(&[u8], u64) -> io::Result<bool>,
) -> io::Result<bool> {
    let mut part = vec![0; IO_BYTES];
    let mut at = bytes.start;
    while at < bytes.end {
        let len = usize::try_from(bytes.end - at).map_or(IO_BYTES, |it| it.min(IO_BYTES));
        let room = part.get_mut(..len).unwrap_or_default();
        if file.read_exact_at(room, at).is_err() {
            room.fill(0); // the disk does not return them
        }
        if !take(room, at)? {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_copy_of_a_place_does_not_replace_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("3.log");
        let kept = dir.path().join("damaged");
        let keep = |content: &[u8], bytes: Range<u64>| {
            std::fs::write(&file, content).unwrap();
            let copy = keep_bytes(&file, &bytes, &kept, "3.log-1").unwrap();
            let name = copy.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(copy).unwrap())
        };
        let copy = |name: &str, content: &[u8]| (name.to_owned(), content.to_vec());
        assert_eq!(keep(b"abcd", 1..3), copy("3.log-1", b"bc"));
        assert_eq!(keep(b"axyd", 1..3), copy("3.log-1-2", b"xy"));
        assert_eq!(keep(b"axyz", 1..4), copy("3.log-1-3", b"xyz"));
        assert_eq!(
            keep(b"-xy-", 1..3),
            copy("3.log-1-2", b"xy"),
            "the same bytes"
        );
        assert_eq!(keep(b"abcd", 1..3), copy("3.log-1", b"bc"));
        assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 3);
        assert_eq!(keep(b"a", 1..3), copy("3.log-1-4", &[0, 0]));
    }
}
