//! The data directory: its lock, directory syncs, free space and the list of journals.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::error::{StoreError, io_error};
use crate::clock;

const LOCK_FILE: &str = "leveret.lock";
/// How long to wait for the lock: a killed broker holds it until the kernel has freed its memory.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Interval between attempts.
const LOCK_LOOK: Duration = Duration::from_millis(20);

/// The lock of a data directory; keeps other brokers out until it is dropped.
#[derive(Debug)]
pub(super) struct DirLock {
    /// Closing the file releases the lock, also when the process is killed.
    _file: File,
}

/// Creates the directory if necessary, and locks it. Waits [`LOCK_PATIENCE`] for a broker that is ending.
pub(super) fn lock(dir: &Path) -> Result<DirLock, StoreError> {
    lock_within(dir, LOCK_PATIENCE)
}

fn lock_within(dir: &Path, patience: Duration) -> Result<DirLock, StoreError> {
    std::fs::create_dir_all(dir).map_err(|e| io_error("creating", dir, e))?;
    let path = dir.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| io_error("opening", &path, e))?;
    let deadline = clock::monotonic() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if clock::monotonic() < deadline => {
                thread::sleep(LOCK_LOOK);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    dir: dir.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(e)) => return Err(io_error("locking", &path, e)),
        }
    }
    // The process id only serves the error above, so a full disk is no reason to fail.
    match file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()))
    {
        Err(e) if e.kind() != io::ErrorKind::StorageFull => {
            return Err(io_error("writing", &path, e));
        }
        Ok(()) | Err(_) => {}
    }
    Ok(DirLock { _file: file })
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(20).read_to_string(&mut text) {
        Ok(_) if text.parse::<u32>().is_ok() => format!(" (process {text})"),
        Ok(_) | Err(_) => String::new(),
    }
}

/// Makes created, renamed and removed entries of a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        File::open(dir)
            .and_then(|handle| handle.sync_all())
            .map_err(|e| io_error("syncing", dir, e))?;
    }
    Ok(())
}

/// Free bytes for ordinary users on the file system of a directory.
pub(super) fn free_bytes(dir: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(dir).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The journals `N.jnl` in the database's directory, by ascending number.
pub(super) fn journals(db: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(db).map_err(|e| io_error("reading", db, e))? {
        let path = entry.map_err(|e| io_error("reading", db, e))?.path();
        let number = path
            .extension()
            .filter(|extension| *extension == "jnl")
            .and_then(|_| path.file_stem()?.to_str()?.parse().ok());
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether something has this name.
pub(super) fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|e| io_error("reading", path, e))
}

/// Replaces the database's journals by an empty one. The database learns its sequence numbers from its tables only if
/// a journal exists.
pub(super) fn replace_journals(db: &Path) -> Result<(), StoreError> {
    let found = journals(db)?;
    let next = found.last().map_or(0, |(newest, _)| newest + 1);
    for (_, path) in found {
        std::fs::remove_file(&path).map_err(|e| io_error("removing", &path, e))?;
    }
    let path = db.join(format!("{next}.jnl"));
    File::create(&path).map_err(|e| io_error("creating", &path, e))?;
    sync_dir(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_broker_is_refused_with_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        let refused = lock_within(dir.path(), Duration::ZERO)
            .unwrap_err()
            .to_string();
        let expected = format!(
            "the data directory {} is in use by another broker (process {})",
            dir.path().display(),
            std::process::id()
        );
        assert_eq!(refused, expected);
        drop(first);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn the_lock_waits_for_an_ending_broker() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        let ending = thread::spawn(move || {
            thread::sleep(3 * LOCK_LOOK);
            drop(first);
        });
        lock(dir.path()).unwrap();
        ending.join().unwrap();
    }

    #[test]
    fn journals_are_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["10.jnl", "9.jnl", "9.jnl.torn", "x.jnl", "version"] {
            File::create(dir.path().join(name)).unwrap();
        }
        let numbers: Vec<_> = journals(dir.path())
            .unwrap()
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        assert_eq!(numbers, [9, 10]);
    }
}
