//! The changes that are under way in a virtual host.

use std::collections::HashSet;

use super::claims::Claims;
use crate::model::Name;

#[derive(Default)]
pub(super) struct Changes {
    /// The virtual host is deleted, or its deletion is under way.
    pub(super) deleted: bool,
    pub(super) claims: Claims,
    /// Names of queues whose creation is under way.
    pub(super) coming_queues: HashSet<Name>,
}
