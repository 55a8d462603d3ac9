//! The reserve: a file of allocated space that is given up when the disk is full. What it frees is for acks and removals,
//! which make room; publishers stay blocked until the reserve is there again.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::FallocateFlags;
use tracing::{debug, info, warn};

use crate::store::dir::free_bytes;

/// Name of the file in the data directory.
const NAME: &str = "reserve";
/// Length of the file.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a block as the file system counts them.
const BLOCK: u64 = 512;
/// The file is made only while this many times its length is free.
const ROOMY: u64 = 4;

#[derive(Debug)]
pub(super) struct Reserve {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There was not enough space for it, or none is needed yet.
    Absent,
    Held,
    /// It was given up.
    Spent,
}

impl Reserve {
    pub(super) fn new(dir: &Path) -> Reserve {
        // A file that could not be allocated frees nothing.
        let held = std::fs::metadata(dir.join(NAME))
            .is_ok_and(|file| file.blocks() * BLOCK >= RESERVE_BYTES);
        let reserve = Reserve {
            dir: dir.to_owned(),
            state: Mutex::new(if held { State::Held } else { State::Absent }),
        };
        reserve.renew();
        reserve
    }

    /// Gives the space up if the disk is full. Whether it has done so now.
    pub(super) fn spend(&self) -> bool {
        let mut state = self.state.lock();
        let is_full = free_bytes(&self.dir).is_some_and(|free| free < RESERVE_BYTES);
        if *state != State::Held || !is_full {
            return false;
        }
        if let Err(error) = std::fs::remove_file(self.path()) {
            warn!(%error, "cannot give up the reserve");
            return false;
        }
        *state = State::Spent;
        info!("the disk is full: gave up the reserve, so that queues can be emptied");
        true
    }

    /// Whether there is space to give up.
    pub(super) fn is_held(&self) -> bool {
        *self.state.lock() == State::Held
    }

    /// Whether the space was given up and cannot be taken back yet.
    pub(super) fn is_spent(&self) -> bool {
        self.renew();
        *self.state.lock() == State::Spent
    }

    /// Makes the file if it is missing and there is enough space.
    fn renew(&self) {
        let mut state = self.state.lock();
        let is_roomy = free_bytes(&self.dir).is_some_and(|free| free >= ROOMY * RESERVE_BYTES);
        if *state == State::Held || !is_roomy {
            return;
        }
        *state = match self.allocate() {
            Ok(()) => State::Held,
            Err(error) => {
                // Not every file system can allocate space. Then there is no reserve.
                debug!(%error, "cannot allocate the reserve");
                self.remove_rest();
                State::Absent
            }
        };
    }

    fn allocate(&self) -> std::io::Result<()> {
        let file: File = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path())?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES)?;
        Ok(())
    }

    /// Removes what a failed allocation has left, whose space belongs to the log.
    fn remove_rest(&self) {
        if let Err(error) = std::fs::remove_file(self.path()) {
            debug!(%error, "cannot remove what there is of the reserve");
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }
}
