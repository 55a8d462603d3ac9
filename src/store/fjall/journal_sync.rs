//! Syncs the database's newest journal through a file handle of the store's own. The database holds its
//! journal's lock while it syncs, so the next commit would wait for the disk.
//!
//! Why this is sound with fjall 3.1: a batch is written to the newest journal before `commit` returns. When
//! the database rotates to a new journal, it first syncs the old one and then creates the next number, and
//! writes nothing in between. So every earlier commit is either in the newest journal or in one that the
//! rotation synced. If a rotation fails half-way (the new file exists, the database still writes to the old
//! one), the new journal stays without a first byte, and until it has one both are synced. Journals are
//! removed oldest first, so while the open one still has a name, all later ones exist.
//!
//! Syncing a file through another handle covers all its data on every Unix; elsewhere the database syncs
//! itself.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::store::StoreError;
use crate::store::dir::journals;
use crate::store::error::io_error;

/// The newest journal.
#[derive(Debug)]
pub(super) struct JournalSync {
    db: PathBuf,
    newest: Option<Journal>,
    /// The previous journal, until the newest has its first byte.
    left: Option<File>,
}

#[derive(Debug)]
struct Journal {
    number: u64,
    file: File,
}

impl JournalSync {
    pub(super) fn new(db: &Path) -> JournalSync {
        JournalSync {
            db: db.to_owned(),
            newest: None,
            left: None,
        }
    }

    /// Makes all earlier commits durable. Returns the number of the newest journal.
    pub(super) fn sync(&mut self) -> Result<u64, StoreError> {
        let number = self.follow()?;
        let path = self.path(number);
        let synced = self.sync_files();
        if synced.is_err() {
            // The next sync looks for the newest journal again, since a stale handle may be the cause.
            self.newest = None;
        }
        synced.map_err(|e| io_error("syncing", &path, e))?;
        Ok(number)
    }

    fn sync_files(&mut self) -> io::Result<()> {
        let Some(newest) = &self.newest else {
            return Err(ErrorKind::NotFound.into());
        };
        if let Some(left) = &self.left {
            if has_begun(&newest.file)? {
                self.left = None;
            } else {
                left.sync_data()?;
            }
        }
        newest.file.sync_data()
    }

    /// Opens the newest journal unless it is open already. Returns its number.
    fn follow(&mut self) -> Result<u64, StoreError> {
        let mut current = match self.newest.take() {
            Some(journal) => journal,
            None => self.find()?,
        };
        loop {
            let next = current.number + 1;
            match open(&self.path(next)) {
                Ok(file) => {
                    let before = std::mem::replace(&mut current, Journal { number: next, file });
                    self.left = Some(before.file);
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    let path = self.path(current.number);
                    if has_name(&current.file).map_err(|e| io_error("reading", &path, e))? {
                        break;
                    }
                    current = self.find()?;
                }
                Err(e) => return Err(io_error("opening", &self.path(next), e)),
            }
        }
        let number = current.number;
        self.newest = Some(current);
        Ok(number)
    }

    /// Finds the newest journal by name. Opens the previous one too, since its rotation may be incomplete.
    fn find(&mut self) -> Result<Journal, StoreError> {
        let mut found = journals(&self.db)?;
        let newest = found.pop();
        self.left = match found.pop() {
            Some((_, path)) => match open(&path) {
                Ok(file) => Some(file),
                Err(e) if e.kind() == ErrorKind::NotFound => None, // flushed and removed since
                Err(e) => return Err(io_error("opening", &path, e)),
            },
            None => None,
        };
        let (number, path) = newest.ok_or_else(|| {
            io_error(
                "looking for a journal in",
                &self.db,
                ErrorKind::NotFound.into(),
            )
        })?;
        let file = open(&path).map_err(|e| io_error("opening", &path, e))?;
        Ok(Journal { number, file })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.db.join(format!("{number}.jnl"))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Whether a journal has its first byte: a batch begins with a byte that is not zero.
fn has_begun(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut first = [0];
    Ok(file.read_at(&mut first, 0)? == 1 && first != [0])
}

/// Whether the file still has a name. Requests only the link count: once a file's times are requested, Linux
/// stores finer ones, so that the next write changes the inode, and the next sync must write that too.
#[cfg(target_os = "linux")]
fn has_name(file: &File) -> io::Result<bool> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let found = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::NLINK)?;
    Ok(found.stx_nlink > 0)
}

/// Whether the file still has a name.
#[cfg(all(unix, not(target_os = "linux")))]
fn has_name(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink() > 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn follows_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let path = |n: u64| dir.path().join(format!("{n}.jnl"));
        let mut sync = JournalSync::new(dir.path());
        assert!(sync.sync().is_err());
        let state =
            |sync: &JournalSync| (sync.newest.as_ref().map(|j| j.number), sync.left.is_some());

        fs::write(path(3), [1]).unwrap();
        sync.sync().unwrap();
        assert_eq!(state(&sync), (Some(3), false));
        // Rotated to the next one, which is still empty: both are synced.
        fs::write(path(4), [0; 8]).unwrap();
        sync.sync().unwrap();
        assert_eq!(state(&sync), (Some(4), true));
        sync.sync().unwrap();
        assert_eq!(state(&sync), (Some(4), true));
        fs::write(path(4), [1]).unwrap();
        sync.sync().unwrap();
        assert_eq!(state(&sync), (Some(4), false));
        // Several rotations between two syncs, with the older journals already removed.
        fs::write(path(7), [1]).unwrap();
        fs::remove_file(path(3)).unwrap();
        fs::remove_file(path(4)).unwrap();
        sync.sync().unwrap();
        assert_eq!(state(&sync), (Some(7), false));
    }
}
