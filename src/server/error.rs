//! Errors of a broker's start, with their exit codes.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::broker::broker::OpenError;
use crate::broker::parameters::ParameterError;
use crate::cluster::node::SetError;
use crate::net::TlsError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The broker cannot create the data directory or close it to other users.
    #[error("cannot prepare the data directory {}: {error}", dir.display())]
    DataDir { dir: PathBuf, error: io::Error },
    /// The data directory has foreign content.
    #[error(
        "{} is not empty, and what is in it ('{found}') is not a broker's: give a directory of its own with --data-dir", dir.display()
    )]
    NotOurs {
        dir: PathBuf,
        /// The name of a foreign entry.
        found: String,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored definition cannot be read, or a new one cannot be stored.
    #[error(transparent)]
    Broker(#[from] OpenError),
    /// The definitions of `--load-definitions` cannot be imported.
    #[error("cannot load the definitions in {}: {reason}", path.display())]
    Definitions { path: PathBuf, reason: String },
    /// The name of the cluster cannot be stored.
    #[error("cannot set the name of the cluster: {0}")]
    ClusterName(#[from] ParameterError),
    /// No address was configured.
    #[error("there is no address to listen on: set amqp-listen")]
    NoAddress,
    /// The options about a set of nodes do not fit together.
    #[error("{0}")]
    Cluster(String),
    /// This node cannot take part in its set.
    #[error("cannot take part in the set: {0}")]
    Set(#[from] SetError),
    /// An option needs another one.
    #[error("{0}")]
    Missing(&'static str),
    /// A TLS listener was configured without certificate and key.
    #[error("cannot listen on {address} with TLS: set tls-cert and tls-key")]
    NoCertificate { address: SocketAddr },
    /// Certificates or key of TLS cannot be used.
    #[error("cannot use the certificate and key of TLS: {0}")]
    Tls(#[from] TlsError),
    /// The broker cannot listen on an address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
    /// A file that an option names cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// The ctl socket cannot be created.
    #[error("cannot open the ctl socket {}: {error}", path.display())]
    CtlSocket { path: PathBuf, error: io::Error },
}

impl StartError {
    /// What is damaged in the data directory, if that is why.
    pub(super) fn damage(&self) -> Option<String> {
        if let StartError::Store(error) = self
            && error.is_damage()
        {
            return Some(error.damage());
        }
        if let StartError::Set(SetError::Damaged(what)) = self {
            return Some(what.clone());
        }
        None
    }

    /// The exit code of the process: 75 if another broker uses the data directory, 69 if the broker cannot
    /// listen, 78 for configuration, 74 for all other errors, which are input and output.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Store(StoreError::InUse { .. }) => 75,
            StartError::Listen { .. } => 69,
            StartError::NoAddress
            | StartError::Missing(_)
            | StartError::Cluster(_)
            | StartError::NoCertificate { .. }
            | StartError::Tls(_)
            | StartError::NotOurs { .. }
            | StartError::Definitions { .. }
            | StartError::Unreadable { .. }
            | StartError::Broker(OpenError::Auth(_)) => 78,
            StartError::DataDir { .. }
            | StartError::Store(_)
            | StartError::Set(_)
            | StartError::Broker(_)
            | StartError::ClusterName(_)
            | StartError::CtlSocket { .. } => 74,
        }
    }
}
