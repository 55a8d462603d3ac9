//! A histogram of the sizes of published messages, with RabbitMQ's bounds.

use super::counter::Counter;

/// The upper bounds of all buckets but the last, in bytes.
pub const SIZE_BOUNDS: [u64; 8] = [
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
];

/// How many messages there were of each size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Messages of up to each bound and above the bound before; the last are above all bounds.
    pub buckets: [u64; SIZE_BOUNDS.len() + 1],
    /// Bytes of all messages.
    pub sum: u64,
}

impl Sizes {
    /// Adds messages of one size.
    pub fn observe(&mut self, bytes: u64, messages: u64) {
        let bucket = SIZE_BOUNDS.iter().position(|bound| bytes <= *bound);
        if let Some(count) = self.buckets.get_mut(bucket.unwrap_or(SIZE_BOUNDS.len())) {
            *count += messages;
        }
        self.sum += bytes * messages;
    }
}

impl std::ops::AddAssign for Sizes {
    fn add_assign(&mut self, other: Sizes) {
        for (own, more) in self.buckets.iter_mut().zip(other.buckets) {
            *own += more;
        }
        self.sum += other.sum;
    }
}

/// A histogram that any thread may raise.
#[derive(Debug, Default)]
pub(super) struct SizeCounters {
    buckets: [Counter; SIZE_BOUNDS.len() + 1],
    sum: Counter,
}

impl SizeCounters {
    pub(super) fn add(&self, more: &Sizes) {
        for (own, more) in self.buckets.iter().zip(more.buckets) {
            own.add(more);
        }
        self.sum.add(more.sum);
    }

    pub(super) fn get(&self) -> Sizes {
        Sizes {
            buckets: std::array::from_fn(|index| self.buckets.get(index).map_or(0, Counter::get)),
            sum: self.sum.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_falls_into_the_bucket_of_its_bound() {
        let mut sizes = Sizes::default();
        for bytes in [0, 100, 101, 100_000_000, 100_000_001] {
            sizes.observe(bytes, 1);
        }
        let counters = SizeCounters::default();
        counters.add(&sizes);
        counters.add(&sizes);
        assert_eq!(counters.get().buckets, [4, 2, 0, 0, 0, 0, 0, 2, 2]);
        assert_eq!(counters.get().sum, 2 * 200_000_202);
    }
}
