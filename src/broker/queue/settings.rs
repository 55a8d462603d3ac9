//! The effective arguments of a queue: those of its declaration, overridden by an operator's settings.

use std::sync::Arc;

use crate::model::QueueOverrides;
use crate::model::arguments::QueueArguments;

pub(super) struct Settings {
    pub(super) overrides: QueueOverrides,
    pub(super) effective: Arc<QueueArguments>,
}

impl Settings {
    pub(super) fn new(overrides: QueueOverrides, declared: &Arc<QueueArguments>) -> Settings {
        let effective = overrides.apply(declared);
        Settings {
            overrides,
            effective,
        }
    }
}
