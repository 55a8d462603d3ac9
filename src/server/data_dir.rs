//! Prepares the data directory before the store opens it: it must be the broker's own, and closed to other
//! users.

use std::ffi::OsStr;
use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use super::error::StartError;
use crate::clock::monotonic;
use crate::ctl::protocol::SOCKET;

/// A used data directory has at least one of these entries.
const OWN_ENTRIES: [&str; 3] = [LOCK, "db", SOCKET];
const LOCK: &str = "leveret.lock";
/// What a node had before it joined a set, with a number behind.
const SET_ASIDE: &str = "before-join-";
/// How long a store that nothing uses any more may take to close.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);
const CLOSED_LOOK: Duration = Duration::from_millis(20);
/// The root of a file system may have this directory.
const LOST_AND_FOUND: &str = "lost+found";

/// Creates the directory and closes it to other users, since it holds messages and password hashes. Refuses a
/// directory with foreign content. Leaves the mode of a directory that belongs to another user.
pub(super) fn prepare(dir: &Path) -> Result<(), StartError> {
    let failed = |error| StartError::DataDir {
        dir: dir.to_owned(),
        error,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed)?;
    if let Some(found) = foreign_entry(dir).map_err(failed)? {
        return Err(StartError::NotOurs {
            dir: dir.to_owned(),
            found,
        });
    }
    let metadata = std::fs::metadata(dir).map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != me {
        // A volume may belong to another user. The files in it have modes of their own.
        warn!(
            dir = %dir.display(), owner, mode = format!("{mode:o}"),
            "the data directory belongs to another user and is open to others; its owner should make its mode 700"
        );
        return Ok(());
    }
    let own = std::fs::Permissions::from_mode(0o700);
    if let Err(error) = std::fs::set_permissions(dir, own) {
        warn!(dir = %dir.display(), %error, "the data directory is open to other users");
    }
    Ok(())
}

/// Moves everything that a store has written into a directory beside it, and returns that. Waits until the store is
/// closed. Blocks.
pub(super) fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let lock = std::fs::File::open(dir.join(LOCK))?;
    let deadline = monotonic() + CLOSED_WITHIN;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if monotonic() < deadline => {
                std::thread::sleep(CLOSED_LOOK);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let stays = |name: &OsStr| {
        [LOCK, SOCKET].iter().any(|own| name == *own)
            || name.to_string_lossy().starts_with(SET_ASIDE)
    };
    let taken = std::fs::read_dir(dir)?;
    let taken: io::Result<Vec<_>> = taken.map(|entry| Ok(entry?.file_name())).collect();
    let taken = taken?;
    let count = taken
        .iter()
        .filter(|name| name.to_string_lossy().starts_with(SET_ASIDE))
        .count();
    let aside = dir.join(format!("{SET_ASIDE}{}", count + 1));
    std::fs::DirBuilder::new().mode(0o700).create(&aside)?;
    for name in taken.iter().filter(|name| !stays(name)) {
        std::fs::rename(dir.join(name), aside.join(name))?;
    }
    std::fs::File::open(dir)?.sync_all()?;
    Ok(aside)
}

/// An entry that does not belong to a broker, if the directory has no entry of a broker.
fn foreign_entry(dir: &Path) -> io::Result<Option<String>> {
    let mut foreign = None;
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if OWN_ENTRIES.iter().any(|own| name == *own) {
            return Ok(None);
        }
        if name != LOST_AND_FOUND {
            foreign = Some(name.to_string_lossy().into_owned());
        }
    }
    Ok(foreign)
}
