//! Translates the database's errors into the store's.

use std::fmt::Display;

use ::fjall::LsmError;

use crate::model::LogId;
use crate::store::StoreError;
use crate::store::error::{Advice, is_lost};
use crate::store::extents::ChunkAddress;

/// Why a database does not open with its log.
#[derive(Debug)]
pub(super) enum OpenFailure {
    /// The database. If it is damaged, building it anew helps.
    Database(StoreError),
    /// The log, the vote, or what a start may do.
    Elsewhere(StoreError),
}

impl From<StoreError> for OpenFailure {
    fn from(error: StoreError) -> OpenFailure {
        OpenFailure::Database(error)
    }
}

impl OpenFailure {
    /// Whether the database itself is damaged.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            OpenFailure::Elsewhere(_) => false,
            OpenFailure::Database(error) => match error {
                StoreError::Database { .. }
                | StoreError::Corrupt(_)
                | StoreError::Unreadable { .. } => true,
                StoreError::Damaged { advice, .. } => *advice == Advice::Restore,
                StoreError::Io { source, .. } => is_lost(source),
                StoreError::InUse { .. }
                | StoreError::NewerFormat { .. }
                | StoreError::InSet { .. }
                | StoreError::Closed => false,
            },
        }
    }

    pub(super) fn error(&self) -> &StoreError {
        match self {
            OpenFailure::Database(error) | OpenFailure::Elsewhere(error) => error,
        }
    }

    pub(super) fn into_error(self) -> StoreError {
        match self {
            OpenFailure::Database(error) | OpenFailure::Elsewhere(error) => error,
        }
    }
}

/// Translates an error of the database during `doing`.
pub(super) fn failed(doing: &'static str) -> impl Fn(::fjall::Error) -> StoreError {
    move |error| match error {
        ::fjall::Error::Io(source) => StoreError::Io {
            doing: doing.to_owned(),
            source,
        },
        other => StoreError::Database {
            doing,
            reason: other.to_string(),
        },
    }
}

/// The database has panicked while it opened.
pub(super) fn has_panicked() -> StoreError {
    StoreError::Database {
        doing: "opening the database",
        reason: "it has panicked".to_owned(),
    }
}

/// Translates an error of decoding a `what` of a log.
pub(super) fn corrupt<E: Display>(what: &'static str, log: LogId) -> impl Fn(E) -> StoreError {
    move |error| StoreError::Corrupt(format!("{what} of log {}: {error}", log.0))
}

/// Whether the data on disk are damaged. After other errors a read may be retried.
pub(super) fn is_damage(error: &::fjall::Error) -> bool {
    match error {
        ::fjall::Error::Io(error) | ::fjall::Error::Storage(LsmError::Io(error)) => is_lost(error),
        ::fjall::Error::Storage(_)
        | ::fjall::Error::Decompress(_)
        | ::fjall::Error::InvalidTrailer
        | ::fjall::Error::InvalidTag(_) => true,
        _ => false,
    }
}

pub(super) fn decode_address(log: LogId, value: &[u8]) -> Result<ChunkAddress, StoreError> {
    ChunkAddress::decode(value)
        .ok_or_else(|| corrupt("address of a chunk", log)("it makes no sense"))
}
