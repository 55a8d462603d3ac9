//! Builds a damaged database anew, from the checkpoint file and the log. Nothing is lost by that, and the damaged
//! database is kept aside.

use std::path::{Path, PathBuf};

use tracing::info;

use super::keyspaces::Keyspaces;
use super::open::LOG_DIR;
use super::options::FjallOptions;
use super::{checkpoint_file, kept};
use crate::store::dir::{exists, sync_dir};
use crate::store::error::{StoreError, io_error};

/// Number of damaged databases that are kept.
const KEPT_MAX: u32 = 3;

/// Replaces the database in `db_dir`, which cannot be used because of `reason`. Returns false, and does nothing, if the
/// checkpoint cannot be used either.
pub(super) fn rebuild(
    dir: &Path,
    db_dir: &Path,
    options: &FjallOptions,
    reason: &StoreError,
) -> Result<bool, StoreError> {
    let log_dir = dir.join(LOG_DIR);
    let Some(checkpoint) = checkpoint_file::find(&log_dir)? else {
        return Ok(false);
    };
    info!(%reason, checkpoint = checkpoint.index, "building the database anew from the checkpoint and the log");
    let new = dir.join("db.new");
    if exists(&new)? {
        std::fs::remove_dir_all(&new).map_err(|e| io_error("removing", &new, e))?;
    }
    let spaces = Keyspaces::open(&new, options)?;
    checkpoint_file::restore(&log_dir, &spaces, options)?;
    spaces.flush()?;
    drop(spaces);
    super::manifest::forget_copy(dir)?;
    if exists(db_dir)? {
        let aside = name_aside(&kept::directory(dir))?;
        std::fs::rename(db_dir, &aside).map_err(|e| io_error("renaming", db_dir, e))?;
    }
    std::fs::rename(&new, db_dir).map_err(|e| io_error("renaming", &new, e))?;
    sync_dir(dir)?;
    let what = format!("the database was damaged and is built anew, without loss: {reason}");
    kept::note(dir, &what)?;
    Ok(true)
}

/// A name for the damaged database that nothing has. Once there are [`KEPT_MAX`], the last one gives way: a disk that keeps
/// failing must not fill up with databases.
fn name_aside(damaged: &Path) -> Result<PathBuf, StoreError> {
    std::fs::create_dir_all(damaged).map_err(|e| io_error("creating", damaged, e))?;
    let name = |number: u32| damaged.join(format!("db-{number}"));
    for number in 1..=KEPT_MAX {
        if !exists(&name(number))? {
            return Ok(name(number));
        }
    }
    let last = name(KEPT_MAX);
    std::fs::remove_dir_all(&last).map_err(|e| io_error("removing", &last, e))?;
    Ok(last)
}
