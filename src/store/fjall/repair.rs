//! A member whose files are damaged begins anew: they are kept in `damaged`, and the node gets everything from the other
//! members, under a new id.
//!
//! The file `begins-anew` names the directory that the files go to. It is there until the node has everything again, so
//! a start after a crash goes on.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{FjallStore, kept};
use crate::store::dir::{self, exists, sync_dir};
use crate::store::error::{StoreError, io_error};

const MARK: &str = "begins-anew";
/// What belongs to the store of a member, but for `damaged`.
const FILES: [&str; 9] = [
    "db", "db.new", "log", "node", "node.new", "manifest", "incoming", "replaced", "reserve",
];
/// Bytes of a block as the file system counts them.
const BLOCK: u64 = 512;

impl FjallStore {
    /// Keeps the files of a member, which are damaged as `why` says, aside. The store that is opened next is empty. Refused
    /// if the disk has no room for everything once more.
    pub fn begin_anew(dir: &Path, why: &str) -> Result<(), StoreError> {
        let _lock = dir::lock(dir)?;
        let taken = FILES.iter().map(|name| bytes_of(&dir.join(name)));
        let taken = taken.sum::<std::io::Result<u64>>();
        let taken = taken.map_err(|e| io_error("measuring", dir, e))?;
        if dir::free_bytes(dir).is_some_and(|free| free < taken) {
            return Err(StoreError::Io {
                doing: format!(
                    "keeping damaged files: {why}. The disk needs {taken} bytes for a new copy from the other members beside \
                     them. Make room, or remove what is in {}",
                    kept::directory(dir).display()
                ),
                source: ErrorKind::StorageFull.into(),
            });
        }
        let name = free_name(&kept::directory(dir))?;
        let kept_in = kept::directory(dir).join(&name);
        kept::note(
            dir,
            &format!(
                "{why}. This node keeps its files in {} and gets everything from the other members, without loss",
                kept_in.display()
            ),
        )?;
        let mark = dir.join(MARK);
        let written = File::create(&mark).and_then(|mut file| {
            file.write_all(name.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|e| io_error("writing", &mark, e))?;
        sync_dir(dir)?;
        complete(dir)
    }

    /// Whether this node has begun anew and does not have everything yet.
    pub fn has_begun_anew(dir: &Path) -> Result<bool, StoreError> {
        exists(&dir.join(MARK))
    }

    /// Notes that this node has everything again.
    pub fn is_whole_again(dir: &Path) -> Result<(), StoreError> {
        let mark = dir.join(MARK);
        match std::fs::remove_file(&mark) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(io_error("removing", &mark, e)),
            Ok(()) | Err(_) => sync_dir(dir),
        }
    }
}

/// Moves what a crash has left in its place. Called while nothing of the store is open.
pub(super) fn complete(dir: &Path) -> Result<(), StoreError> {
    let mark = dir.join(MARK);
    let name = match std::fs::read_to_string(&mark) {
        Ok(name) => name,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error("reading", &mark, e)),
    };
    let damaged = kept::directory(dir);
    let done = damaged.join(&name);
    // It may be damaged itself. Nothing is moved out of reach then.
    if name.is_empty() || exists(&done)? {
        return Ok(());
    }
    let part = damaged.join(format!("{name}.part"));
    std::fs::create_dir_all(&part).map_err(|e| io_error("creating", &part, e))?;
    for name in FILES {
        let from = dir.join(name);
        if exists(&from)? {
            std::fs::rename(&from, part.join(name)).map_err(|e| io_error("renaming", &from, e))?;
        }
    }
    sync_dir(&part)?;
    sync_dir(dir)?;
    std::fs::rename(&part, &done).map_err(|e| io_error("renaming", &part, e))?;
    sync_dir(&damaged)
}

/// A name that nothing in `damaged` has yet.
fn free_name(damaged: &Path) -> Result<String, StoreError> {
    std::fs::create_dir_all(damaged).map_err(|e| io_error("creating", damaged, e))?;
    let mut number = 1;
    loop {
        let name = format!("member-{number}");
        if !exists(&damaged.join(&name))? {
            return Ok(name);
        }
        number += 1;
    }
}

fn bytes_of(path: &PathBuf) -> std::io::Result<u64> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * BLOCK);
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        bytes += bytes_of(&entry?.path())?;
    }
    Ok(bytes)
}
