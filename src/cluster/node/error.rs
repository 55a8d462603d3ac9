//! Why a node cannot take part in its set, or a request for a change of the set is refused.

use super::group::GroupError;
use crate::cluster::link::LinkError;

#[derive(Debug, thiserror::Error)]
pub enum SetError {
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the data directory is damaged: {0}")]
    Damaged(String),
    /// A text for the operator.
    #[error("{0}")]
    Refused(String),
}
