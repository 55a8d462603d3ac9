//! Why a rabbitmq.conf cannot be used.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum RabbitmqConfError {
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} line {line}: {reason}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        reason: &'static str,
    },
    #[error("unknown key '{key}' ({place}){}", crate::nearest::did_you_mean(near.as_deref()))]
    UnknownKey {
        key: String,
        /// File and line.
        place: String,
        near: Option<String>,
    },
    #[error("invalid value '{value}' for {key} ({place}): {reason}")]
    Invalid {
        key: String,
        place: String,
        value: String,
        reason: String,
    },
    #[error("{key} ({place}) cannot be followed: {reason}")]
    Refused {
        key: String,
        place: String,
        reason: &'static str,
    },
}
