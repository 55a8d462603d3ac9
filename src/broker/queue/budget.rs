//! How much memory all queues together may use for messages. Counts bytes; decides nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

/// No queue is asked to go below this: it always may keep the chunk it works on.
pub(super) const QUEUE_RESIDENT_BYTES_MIN: u64 = 128 * 1024;

/// No queue keeps more than this in memory, however much is free: what a lagging consumer needs is read ahead, and
/// buffers that are let go early are used again while they are warm.
pub(super) const QUEUE_RESIDENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The memory for messages, shared by all queues.
#[derive(Debug)]
pub struct MemoryBudget {
    total: u64,
    used: AtomicU64,
}

impl MemoryBudget {
    /// A budget of `total` bytes.
    pub fn new(total: u64) -> Self {
        MemoryBudget {
            total,
            used: AtomicU64::new(0),
        }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A queue's share has changed.
    pub(super) fn change(&self, before: u64, after: u64) {
        if after >= before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// How many bytes a queue may have in memory.
    pub(super) fn allowance(&self) -> u64 {
        match self.used() > self.total {
            true => QUEUE_RESIDENT_BYTES_MIN,
            false => QUEUE_RESIDENT_BYTES_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_shrink_when_all_together_are_over_the_budget() {
        let budget = MemoryBudget::new(5_000_000);
        budget.change(0, 4_000_000);
        assert_eq!(budget.allowance(), QUEUE_RESIDENT_BYTES_MAX);
        budget.change(0, 2_000_000);
        assert_eq!(budget.allowance(), QUEUE_RESIDENT_BYTES_MIN);
        budget.change(4_000_000, 0);
        assert_eq!(budget.used(), 2_000_000);
        assert_eq!(budget.allowance(), QUEUE_RESIDENT_BYTES_MAX);
    }
}
