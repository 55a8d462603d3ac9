//! The memory for messages that all queues share. Counts bytes and computes the allowance of a queue; evicts
//! nothing itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// A queue may always have this much: the chunk that it works on.
pub(super) const QUEUE_RESIDENT_BYTES_MIN: u64 = 128 * 1024;

/// Maximum of a queue, even if more is free. Lagging consumers need no more, since queues read ahead for
/// them, and buffers that are freed early are reused while they are warm in the cache.
pub(super) const QUEUE_RESIDENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A queue may have one part in this many of the free bytes.
const FREE_SHARE: u64 = 8;

/// The memory for messages that all queues share.
#[derive(Debug)]
pub struct MemoryBudget {
    total: u64,
    used: AtomicU64,
}

impl MemoryBudget {
    pub fn new(total: u64) -> Self {
        MemoryBudget {
            total,
            used: AtomicU64::new(0),
        }
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A queue uses `after` bytes now instead of `before`.
    pub(super) fn change(&self, before: u64, after: u64) {
        if after >= before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Maximum resident bytes of a queue: a fraction of the free bytes. So any number of queues together stay
    /// within the budget, except for the minimum that each needs to work.
    pub(super) fn allowance(&self) -> u64 {
        let free = self.total.saturating_sub(self.used());
        (free / FREE_SHARE).clamp(QUEUE_RESIDENT_BYTES_MIN, QUEUE_RESIDENT_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::work_queue::READ_AHEAD_BYTES;
    use super::*;

    #[test]
    fn the_allowance_shrinks_as_the_budget_is_used() {
        let budget = MemoryBudget::new(256 << 20);
        assert_eq!(budget.allowance(), QUEUE_RESIDENT_BYTES_MAX);
        budget.change(0, 128 << 20);
        assert_eq!(budget.allowance(), QUEUE_RESIDENT_BYTES_MAX);
        budget.change(0, 64 << 20);
        assert_eq!(budget.allowance(), 8 << 20);
        budget.change(0, 100 << 20);
        assert_eq!(budget.allowance(), QUEUE_RESIDENT_BYTES_MIN);
        budget.change(292 << 20, 0);
        assert_eq!(
            (budget.used(), budget.allowance()),
            (0, QUEUE_RESIDENT_BYTES_MAX)
        );
    }

    #[test]
    fn many_queues_that_read_ahead_stay_within_the_budget() {
        const QUEUES: u64 = 1_000;
        let total = 256 << 20;
        let budget = MemoryBudget::new(total);
        for _ in 0..QUEUES {
            budget.change(0, READ_AHEAD_BYTES.min(budget.allowance() / 8));
        }
        // The excess is the minimum that each queue may always have.
        assert!(budget.used() < total + QUEUES * QUEUE_RESIDENT_BYTES_MIN / 8);
    }
}
