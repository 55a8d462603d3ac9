//! What a few verbs need besides their request.

use tokio::sync::watch;

use crate::definitions_file::Progress;

pub(super) struct Input<'a> {
    /// The content of a file.
    pub(super) content: Vec<u8>,
    /// Where a long verb tells how far it has come.
    pub(super) progress: &'a watch::Sender<Progress>,
}
