//! Why the store could not do something, and what an operator can do about damage.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

impl StoreError {
    /// The error as whoever starts the store is to see it: what the disk or the database says of the files tells
    /// nobody what to do.
    pub(super) fn advised(self, dir: &std::path::Path) -> StoreError {
        let is_damage = match &self {
            StoreError::Database { .. }
            | StoreError::Corrupt(_)
            | StoreError::Unreadable { .. } => true,
            StoreError::Io { source, .. } => is_lost(source),
            StoreError::Damaged { .. }
            | StoreError::InUse { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::Closed => false,
        };
        match is_damage {
            true => StoreError::Damaged {
                what: format!("{}: {self}", dir.display()),
                advice: Advice::Restore,
            },
            false => self,
        }
    }
}

/// What an operator can do about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The store can go on without what is damaged, if that is wanted.
    Recover,
    /// It may be able to.
    TryToRecover,
    /// It cannot.
    Restore,
}

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nothing was changed. Check the disk and restore the directory from a backup")?;
        match self {
            Advice::Recover => f.write_str(
                ", or start once with --on-damage recover: what is damaged is kept aside, and the rest is served",
            ),
            Advice::TryToRecover => {
                f.write_str(", or try a start with --on-damage recover, which may be able to serve the rest")
            }
            Advice::Restore => Ok(()),
        }
    }
}

/// What the start does when what was on disk once is not there whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// It does not go on.
    #[default]
    Refuse,
    /// It goes on without what cannot be read, and keeps that aside.
    Recover,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database said no.
    #[error("{doing}: {reason}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        reason: String,
    },
    /// Chunks that are on disk and do not come back whole.
    #[error("offsets from {} to {} cannot be read: {reason}", offsets.start, offsets.end)]
    Unreadable {
        /// The offsets of their messages; what follows may be read again.
        offsets: Range<u64>,
        /// What is wrong.
        reason: String,
    },
    /// Bytes on disk that no release of this program wrote.
    #[error("the data directory is damaged: {0}")]
    Corrupt(String),
    /// What was on disk once is not there whole. Nothing was changed.
    #[error("the data directory is damaged: {what}. {advice}")]
    Damaged {
        /// What is not whole.
        what: String,
        /// What to do.
        advice: Advice,
    },
    /// Another broker runs on the same data.
    #[error("the data directory {} is in use by another broker{holder}", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// ` (process N)` if known.
        holder: String,
    },
    /// The data were written by a later release.
    #[error(
        "the data directory {} has format {found}, but this release reads formats up to {known}: \
         start it with the release that wrote it, or a later one", dir.display()
    )]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format that this release knows.
        known: u32,
    },
    /// An earlier failure has closed the store; see [`Store::reopen`].
    #[error("the store is closed after a failure")]
    Closed,
}

/// An error that names the file.
pub(super) fn io_error(doing: &str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io {
        doing: format!("{doing} {}", path.display()),
        source,
    }
}

/// Whether a read failed because what was there is there no more. Other failures may pass.
pub(super) fn is_lost(error: &io::Error) -> bool {
    const EIO: i32 = 5; // on every Unix
    error.raw_os_error() == Some(EIO)
        || matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
        )
}
