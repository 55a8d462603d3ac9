//! What a virtual host knows of the changes that are under way.

use super::claims::Claims;

/// The changes under way.
#[derive(Default)]
pub(super) struct Changes {
    /// The virtual host is deleted, or is being deleted.
    pub(super) deleted: bool,
    pub(super) claims: Claims,
    /// Queues that are being created.
    pub(super) coming_queues: usize,
}
