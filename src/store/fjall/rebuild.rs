//! Builds a damaged database anew, from the checkpoint file and the log. Nothing is lost by that, and the damaged
//! database is kept aside.

use std::path::{Path, PathBuf};

use tracing::info;

use super::error::failed;
use super::keyspaces::Keyspaces;
use super::open::LOG_DIR;
use super::options::FjallOptions;
use super::{checkpoint_file, kept};
use crate::store::dir::{exists, sync_dir};
use crate::store::error::{StoreError, io_error};

/// Replaces the database in `db_dir`, which cannot be used because of `reason`. Returns `reason` if the checkpoint cannot
/// be used either.
pub(super) fn rebuild(
    dir: &Path,
    db_dir: &Path,
    options: &FjallOptions,
    reason: StoreError,
) -> Result<(), StoreError> {
    let log_dir = dir.join(LOG_DIR);
    let Some(checkpoint) = checkpoint_file::find(&log_dir)? else {
        return Err(reason);
    };
    info!(%reason, checkpoint = checkpoint.index, "building the database anew from the checkpoint and the log");
    let new = dir.join("db.new");
    if exists(&new)? {
        std::fs::remove_dir_all(&new).map_err(|e| io_error("removing", &new, e))?;
    }
    let spaces = Keyspaces::open(&new, options)?;
    checkpoint_file::restore(&log_dir, &spaces)?;
    for keyspace in spaces.all() {
        keyspace
            .rotate_memtable_and_wait()
            .map_err(failed("writing tables"))?;
    }
    drop(spaces);
    super::manifest::forget_copy(dir)?;
    if exists(db_dir)? {
        let aside = free_name(&kept::directory(dir))?;
        std::fs::rename(db_dir, &aside).map_err(|e| io_error("renaming", db_dir, e))?;
    }
    std::fs::rename(&new, db_dir).map_err(|e| io_error("renaming", &new, e))?;
    sync_dir(dir)?;
    let what = format!("the database was damaged and is built anew, without loss: {reason}");
    kept::note(dir, &what)
}

/// A name for the damaged database that nothing has yet.
fn free_name(damaged: &Path) -> Result<PathBuf, StoreError> {
    std::fs::create_dir_all(damaged).map_err(|e| io_error("creating", damaged, e))?;
    let mut number = 1;
    loop {
        let path = damaged.join(format!("db-{number}"));
        if !exists(&path)? {
            return Ok(path);
        }
        number += 1;
    }
}
