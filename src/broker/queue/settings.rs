//! What a queue was given besides its declared arguments, and the effective arguments.

use std::sync::Arc;

use crate::model::arguments::QueueArguments;
use crate::model::effective::Given;

pub(super) struct Settings {
    pub(super) given: Given,
    /// The version of the virtual host's policies that `given` has.
    pub(super) policies_version: u64,
    pub(super) effective: Arc<QueueArguments>,
}

impl Settings {
    pub(super) fn new(
        given: Given,
        policies_version: u64,
        declared: &Arc<QueueArguments>,
    ) -> Settings {
        let effective = given.effective(declared);
        Settings {
            given,
            policies_version,
            effective,
        }
    }
}
