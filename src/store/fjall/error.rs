//! Translates the database's errors into the store's.

use std::fmt::Display;

use ::fjall::LsmError;

use crate::model::LogId;
use crate::store::StoreError;
use crate::store::error::is_lost;
use crate::store::extents::ChunkAddress;

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
