//! How much memory all queues together may use for messages. Counts bytes; decides nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

/// No queue is asked to go below this: it always may keep the chunk it works on.
pub(super) const QUEUE_RESIDENT_BYTES_MIN: u64 = 128 * 1024;

/// No queue keeps more than this in memory, however much is free: what a lagging consumer needs is read ahead, and
/// buffers that are let go early are used again while they are warm.
pub(super) const QUEUE_RESIDENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// So many times more must be free than one queue may have.
const FREE_SHARE: u64 = 8;

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

    /// How many bytes a queue may have in memory: a part of what is free, so that however many queues take theirs, all
    /// together stay within the budget but for what each needs to work at all.
    pub(super) fn allowance(&self) -> u64 {
        let free = self.total.saturating_sub(self.used());
        (free / FREE_SHARE).clamp(QUEUE_RESIDENT_BYTES_MIN, QUEUE_RESIDENT_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::work::READ_AHEAD_BYTES;
    use super::*;

    #[test]
    fn a_queue_may_have_the_less_the_more_is_taken() {
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
        // But for the little that each may have whatever there is.
        assert!(budget.used() < total + QUEUES * QUEUE_RESIDENT_BYTES_MIN / 8);
    }
}
