//! The id of the set that this node belongs to.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The id; none before the set is formed.
#[derive(Debug)]
pub(super) struct SetId {
    id: AtomicU64,
    /// Held while the id is written.
    noting: Mutex<()>,
}

/// The set that this node belongs to is another one.
#[derive(Debug)]
pub(super) struct AnotherSet;

impl SetId {
    pub(super) fn new(set: Option<u64>) -> SetId {
        SetId {
            id: AtomicU64::new(set.unwrap_or(0)),
            noting: Mutex::default(),
        }
    }

    pub(super) fn get(&self) -> Option<u64> {
        let set = self.id.load(Ordering::Acquire);
        (set != 0).then_some(set)
    }

    /// The node of a new data directory takes the set of the first message, of which several may come together.
    pub(super) fn adopt<E>(
        &self,
        set: u64,
        note: impl FnOnce() -> Result<(), E>,
    ) -> Result<Result<(), AnotherSet>, E> {
        let _noting = self.noting.lock();
        match self.get() {
            Some(known) if known == set => return Ok(Ok(())),
            Some(_) => return Ok(Err(AnotherSet)),
            None => {}
        }
        note()?;
        self.put(set);
        Ok(Ok(()))
    }

    pub(super) fn put(&self, set: u64) {
        self.id.store(set, Ordering::Release);
    }
}
