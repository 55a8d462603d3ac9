//! Figures of the committer for operators: sizes of batches, and how long commits and syncs take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of batch sizes, in bytes.
const BYTES: [u64; 9] = [
    1 << 10,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
];
/// Upper bounds of the buckets of times, in microseconds.
const MICROS: [u64; 12] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 5_000_000,
];

/// A histogram with fixed bounds. One thread at a time adds to it.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one above all.
    buckets: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Histogram {
        Histogram {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub fn bounds(&self) -> &'static [u64] {
        self.bounds
    }

    /// How many values there were up to each bound and above the bound before; the last are above all bounds.
    pub fn counts(&self) -> Vec<u64> {
        let buckets = self.buckets.iter();
        buckets
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect()
    }

    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// Figures of the committer.
#[derive(Debug)]
pub struct Figures {
    /// Bytes of each committed batch.
    pub batch_bytes: Histogram,
    /// Microseconds of each commit.
    pub commit_micros: Histogram,
    /// Microseconds of each sync.
    pub sync_micros: Histogram,
}

impl Figures {
    pub(super) fn new() -> Figures {
        Figures {
            batch_bytes: Histogram::new(&BYTES),
            commit_micros: Histogram::new(&MICROS),
            sync_micros: Histogram::new(&MICROS),
        }
    }

    pub(super) fn committed(&self, bytes: usize, took: Duration) {
        self.batch_bytes.observe(bytes as u64);
        self.commit_micros.observe(micros(took));
    }

    pub(super) fn synced(&self, took: Duration) {
        self.sync_micros.observe(micros(took));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_up_to_the_bound_that_holds_it() {
        let figures = Figures::new();
        figures.synced(Duration::from_micros(100));
        figures.synced(Duration::from_micros(101));
        figures.synced(Duration::from_secs(60));
        let counts = figures.sync_micros.counts();
        assert_eq!((counts[0], counts[1], counts[12]), (1, 1, 1));
        assert_eq!(counts.len(), figures.sync_micros.bounds().len() + 1);
        assert_eq!(figures.sync_micros.sum(), 60_000_201);
    }
}
