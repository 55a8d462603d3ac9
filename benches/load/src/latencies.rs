//! Recorded durations and their percentiles.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Significant decimal digits of a duration: percentiles are at most 0.1 % too high.
const DIGITS: u8 = 3;
/// Longer durations count as this one, in ns.
const MAX_NS: u64 = 3_600_000_000_000;

/// A histogram of durations.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// Some percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies(Histogram::new_with_bounds(1, MAX_NS, DIGITS).expect("valid bounds"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, duration: Duration) {
        self.record_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(crate) fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("the same bounds");
    }

    /// Number of recorded durations.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// `None` if nothing was recorded.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let ms = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e6;
        (self.len() > 0).then(|| Percentiles {
            p50: ms(0.5),
            p95: ms(0.95),
            p99: ms(0.99),
            p999: ms(0.999),
            max: ms(1.0),
        })
    }
}

impl Display for Percentiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Percentiles {
            p50,
            p95,
            p99,
            p999,
            max,
        } = self;
        write!(
            f,
            "p50 {p50:.3}  p95 {p95:.3}  p99 {p99:.3}  p99.9 {p999:.3}  max {max:.3} ms"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_series() {
        let (mut one, mut other) = <(Latencies, Latencies)>::default();
        assert!(one.percentiles().is_none());
        for ms in 1..=1000 {
            if ms % 3 == 0 { &mut one } else { &mut other }.record(Duration::from_millis(ms));
        }
        one.merge(&other);
        assert_eq!(one.len(), 1000);
        let found = one.percentiles().unwrap();
        for (found, exact) in [
            (found.p50, 500.0),
            (found.p95, 950.0),
            (found.p99, 990.0),
            (found.p999, 999.0),
            (found.max, 1000.0),
        ] {
            assert!((exact..exact * 1.001).contains(&found), "{found}");
        }
    }

    #[test]
    fn durations_out_of_bounds_count_as_the_nearest() {
        let mut latencies = Latencies::default();
        for ns in [0, u64::MAX] {
            latencies.record_ns(ns);
        }
        let hour_ms = Duration::from_nanos(MAX_NS).as_secs_f64() * 1e3;
        let found = latencies.percentiles().unwrap();
        assert!(found.p50 < 0.001 && (hour_ms..hour_ms * 1.001).contains(&found.max));
    }
}
