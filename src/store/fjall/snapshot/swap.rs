//! Puts a received snapshot in the place of the store's files, so that a crash at any point leaves the one or the other.
//!
//! The snapshot is received in `incoming`. When it is whole and on disk, the file `incoming/ready` says so; from then on
//! it counts, and a start completes the swap. What was in its place goes to `replaced`, and is removed last.

use std::fs::File;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::store::dir::{exists, sync_dir};
use crate::store::error::{StoreError, io_error};
use crate::store::fjall::manifest;
use crate::store::fjall::open::LOG_DIR;

const INCOMING: &str = "incoming";
const REPLACED: &str = "replaced";
const READY: &str = "ready";
const DB_DIR: &str = "db";

/// The directory of a snapshot. It is removed when this is dropped, unless the snapshot counts by then.
pub(super) struct Incoming {
    path: PathBuf,
    is_ready: bool,
}

impl Incoming {
    /// An empty directory.
    pub(super) fn begin(dir: &Path) -> Result<Incoming, StoreError> {
        let path = dir.join(INCOMING);
        discard(&path)?;
        std::fs::create_dir(&path).map_err(|e| io_error("creating", &path, e))?;
        sync_dir(dir)?;
        Ok(Incoming {
            path,
            is_ready: false,
        })
    }

    /// Its database.
    pub(super) fn db(&self) -> PathBuf {
        self.path.join(DB_DIR)
    }

    /// Its log, with the chunks.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join(LOG_DIR)
    }

    /// Says that the snapshot is whole.
    pub(super) fn make_ready(&mut self) -> Result<(), StoreError> {
        sync_dir(&self.path)?;
        // It may count even if this fails.
        self.is_ready = true;
        let ready = self.path.join(READY);
        let created = File::create(&ready).and_then(|file| file.sync_all());
        created.map_err(|e| io_error("creating", &ready, e))?;
        sync_dir(&self.path)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.is_ready
            && let Err(failure) = discard(&self.path)
        {
            warn!(%failure, "cannot remove an unfinished snapshot; the next start does");
        }
    }
}

/// Completes the swap if a snapshot is ready, and removes what is left of an unfinished one. Called while nothing of the
/// store is open.
pub(in crate::store::fjall) fn complete(dir: &Path) -> Result<(), StoreError> {
    let incoming = dir.join(INCOMING);
    let replaced = dir.join(REPLACED);
    let ready = incoming.join(READY);
    if exists(&ready)? {
        // Its writing may have failed after it was there.
        let synced = File::open(&ready).and_then(|file| file.sync_all());
        synced.map_err(|e| io_error("syncing", &ready, e))?;
        sync_dir(&incoming)?;
        std::fs::create_dir_all(&replaced).map_err(|e| io_error("creating", &replaced, e))?;
        sync_dir(dir)?;
        for name in [DB_DIR, LOG_DIR] {
            let (new, place) = (incoming.join(name), dir.join(name));
            if !exists(&new)? {
                continue; // it is in its place
            }
            if exists(&place)? {
                let aside = replaced.join(name);
                remove(&aside)?;
                rename(&place, &aside)?;
                sync_dir(&replaced)?;
            }
            rename(&new, &place)?;
            sync_dir(dir)?;
        }
        manifest::forget_copy(dir)?;
    }
    discard(&incoming)?;
    remove(&replaced)
}

/// Removes the directory of a snapshot, first what says that it is whole.
fn discard(incoming: &Path) -> Result<(), StoreError> {
    let ready = incoming.join(READY);
    if exists(&ready)? {
        std::fs::remove_file(&ready).map_err(|e| io_error("removing", &ready, e))?;
        sync_dir(incoming)?;
    }
    remove(incoming)
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    std::fs::rename(from, to).map_err(|e| io_error("renaming", from, e))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    if exists(path)? {
        std::fs::remove_dir_all(path).map_err(|e| io_error("removing", path, e))?;
    }
    Ok(())
}
