//! Why a broker did not start, and the exit code for it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::broker::broker::OpenError;
use crate::store::StoreError;

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made or kept to its owner.
    #[error("cannot prepare the data directory {}: {error}", dir.display())]
    DataDir {
        /// The directory.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The data directory holds something else.
    #[error(
        "{} is not empty, and what is in it ('{found}') is not a broker's: give a directory of its own with --data-dir", dir.display()
    )]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// The name of something in it.
        found: String,
    },
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored definition cannot be read, or one cannot be stored.
    #[error(transparent)]
    Broker(#[from] OpenError),
    /// No address was configured.
    #[error("there is no address to listen on: set amqp-listen")]
    NoAddress,
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The socket of ctl cannot be made.
    #[error("cannot open the ctl socket {}: {error}", path.display())]
    CtlSocket {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl StartError {
    /// The exit code of the process: 75 when another broker holds the data directory, 69 when an address is taken,
    /// 78 for configuration, 74 for the rest, which is input and output.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Store(StoreError::InUse { .. }) => 75,
            StartError::Listen { .. } => 69,
            StartError::NoAddress | StartError::NotOurs { .. } => 78,
            StartError::DataDir { .. }
            | StartError::Store(_)
            | StartError::Broker(_)
            | StartError::CtlSocket { .. } => 74,
        }
    }
}
