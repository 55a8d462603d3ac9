//! The id of the set that this node belongs to.

use std::sync::atomic::{AtomicU64, Ordering};

/// The id; none before the set is formed.
#[derive(Debug)]
pub(super) struct SetId(AtomicU64);

impl SetId {
    pub(super) fn new(set: Option<u64>) -> SetId {
        SetId(AtomicU64::new(set.unwrap_or(0)))
    }

    pub(super) fn get(&self) -> Option<u64> {
        let set = self.0.load(Ordering::Acquire);
        (set != 0).then_some(set)
    }

    pub(super) fn put(&self, set: u64) {
        self.0.store(set, Ordering::Release);
    }
}
