//! Entries that were on disk and cannot be read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
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
    /// The file and the bytes in it, if they exist.
    pub(in crate::store) place: Option<(PathBuf, Range<u64>)>,
}

impl Damage {
    /// Entries that should stand behind `from` and before the entry `next`, or up to the end of that file.
    pub(super) fn between(
        entries: Range<u64>,
        files: &BTreeMap<u32, ExtentFile>,
        from: Option<(u32, u64)>,
        next: Option<&Found>,
    ) -> Damage {
        let place = from.and_then(|(extent, at)| {
            let file = files.get(&extent)?;
            let end = match next {
                Some(next) if next.extent == extent => next.at,
                _ => file.len,
            };
            (at < end).then(|| (file.path.clone(), at..end))
        });
        Damage { entries, place }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Range { start, end } = self.entries;
        write!(f, "entries {start} to {} of the log ", end - 1)?;
        match &self.place {
            Some((path, bytes)) => {
                let (from, to) = (bytes.start, bytes.end);
                write!(f, "({}, bytes {from} to {to}) ", path.display())?;
            }
            None => f.write_str("(no file holds them) ")?,
        }
        f.write_str("cannot be read")
    }
}

/// Copies the bytes of damaged stretches to a directory, so that nothing is lost when the log goes on.
pub(in crate::store) fn keep_aside(damages: &[Damage], dir: &Path) -> Result<(), StoreError> {
    for damage in damages {
        if let Some((path, bytes)) = &damage.place {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let target = dir.join(format!("{name}-{}", bytes.start));
            keep_bytes(path, bytes, &target)?;
        }
    }
    Ok(())
}

/// Copies bytes of a file. What the disk does not return is zeros in the copy.
pub(in crate::store) fn keep_bytes(
    path: &Path,
    bytes: &Range<u64>,
    target: &Path,
) -> Result<(), StoreError> {
    let copy = || -> io::Result<()> {
        if let Some(dir) = target.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = File::open(path)?;
        let mut kept = File::create(target)?;
        let mut part = vec![0; IO_BYTES];
        let mut at = bytes.start;
        while at < bytes.end {
            let len = usize::try_from(bytes.end - at).map_or(IO_BYTES, |it| it.min(IO_BYTES));
            let room = part.get_mut(..len).unwrap_or_default();
            if file.read_exact_at(room, at).is_err() {
                room.fill(0); // the disk does not return them
            }
            kept.write_all(room)?;
            at += len as u64;
        }
        kept.sync_all()
    };
    copy().map_err(|e| io_error("keeping a copy of", path, e))
}
