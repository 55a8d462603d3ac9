//! Why a run comes to no outcome.

use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub(super) enum FsckError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{first} and {second} belong to different clusters")]
    OtherSet { first: String, second: String },
    #[error(transparent)]
    NotTheOwner(#[from] NotTheOwner),
    #[error("cannot write the report: {0}")]
    Output(#[from] std::io::Error),
}

/// Why nothing may be repaired.
#[derive(Debug, thiserror::Error)]
#[error(
    "only the owner of {dir} can repair it, or else the broker could not read its new files: run this as the user with the id {owner}"
)]
pub(super) struct NotTheOwner {
    pub(super) dir: String,
    pub(super) owner: u32,
}
