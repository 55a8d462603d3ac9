//! Why the store could not do something, and what an operator can do about damage.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

impl StoreError {
    /// Whether data on disk are damaged. Other failures may pass.
    pub fn is_damage(&self) -> bool {
        match self {
            StoreError::Damaged { .. } | StoreError::Corrupt(_) | StoreError::Unreadable { .. } => {
                true
            }
            StoreError::Io { source, .. } => is_lost(source),
            StoreError::Database { .. }
            | StoreError::InUse { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::InSet { .. }
            | StoreError::Closed => false,
        }
    }

    /// What is damaged, without advice.
    pub fn damage(&self) -> String {
        match self {
            StoreError::Damaged { what, .. } => what.clone(),
            other => other.to_string(),
        }
    }

    /// The error of a start as an operator needs it: damage with advice, instead of what the disk or database says.
    pub(super) fn advised(self, dir: &std::path::Path) -> StoreError {
        let is_damage = match &self {
            StoreError::Database { .. }
            | StoreError::Corrupt(_)
            | StoreError::Unreadable { .. } => true,
            StoreError::Io { source, .. } => is_lost(source),
            StoreError::Damaged { .. }
            | StoreError::InUse { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::InSet { .. }
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
    /// The store can go on without the damaged parts, with `--on-damage recover`.
    Recover,
    /// The store cannot go on.
    Restore,
    /// A member of a set goes on with nothing less than it had. The others have it.
    Rejoin,
}

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nothing was changed. Check the disk and ")?;
        match self {
            Advice::Recover => f.write_str(
                "restore the directory from a backup, or start once with --on-damage recover: what is damaged is kept aside, \
                 and the rest is served",
            ),
            Advice::Restore => f.write_str("restore the directory from a backup"),
            Advice::Rejoin => f.write_str(
                "remove this node on another one (forget_cluster_node), then let it join the cluster again with an empty \
                 directory",
            ),
        }
    }
}

/// What the start does about damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// It fails, and changes nothing.
    Refuse,
    /// It goes on without what cannot be read, and keeps a copy of that.
    #[default]
    Recover,
}

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An error of the file system.
    #[error("{doing}: {source}")]
    Io {
        /// The operation, with the path.
        doing: String,
        source: std::io::Error,
    },
    /// An error of the database.
    #[error("{doing}: {reason}")]
    Database {
        /// The operation.
        doing: &'static str,
        reason: String,
    },
    /// Chunks on disk that are damaged.
    #[error("offsets from {} to {} cannot be read: {reason}", offsets.start, offsets.end)]
    Unreadable {
        /// The offsets of their messages; what follows may be readable.
        offsets: Range<u64>,
        reason: String,
    },
    /// Bytes on disk that no release of this program wrote.
    #[error("the data directory is damaged: {0}")]
    Corrupt(String),
    /// Data that were durable are missing or damaged. The start changed nothing.
    #[error("the data directory is damaged: {what}. {advice}")]
    Damaged { what: String, advice: Advice },
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
    /// The data belong to a member of a set, and the broker was started alone.
    #[error("the data directory {} belongs to a node of a cluster: start it with --cluster-listen", dir.display())]
    InSet { dir: PathBuf },
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

/// Whether a read failed because the data are lost. Other failures may pass.
pub(super) fn is_lost(error: &io::Error) -> bool {
    const EIO: i32 = 5; // on every Unix
    error.raw_os_error() == Some(EIO)
        || matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
        )
}
