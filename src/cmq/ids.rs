//! Ids of messages, requests, topics and subscriptions: ascending, and never given twice, not even by an earlier run of
//! the broker.

use std::sync::atomic::{AtomicU64, Ordering};

/// The lower bits of an id count; the upper ones are the milliseconds of the start. A run may give out a million ids per
/// millisecond of its life before it reaches those of a later run.
const COUNT_BITS: u32 = 20;

#[derive(Debug)]
pub(crate) struct IdSource(AtomicU64);

impl IdSource {
    /// `now_ms` is the time of the start.
    pub(crate) fn starting_at(now_ms: u64) -> IdSource {
        IdSource(AtomicU64::new(now_ms << COUNT_BITS))
    }

    /// Begins after `known`, which was given out already: the clock may have been set back.
    pub(crate) fn beyond(self, known: u64) -> IdSource {
        IdSource(AtomicU64::new(
            self.0.into_inner().max(known.saturating_add(1)),
        ))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_start_begins_with_a_higher_id() {
        let (early, late) = (
            IdSource::starting_at(1_700_000_000_000),
            IdSource::starting_at(1_700_000_000_001),
        );
        let first = early.next();
        assert_eq!(early.next(), first + 1);
        assert!(late.next() > first + 1_000_000);
        let known = late.next();
        let set_back = IdSource::starting_at(1_600_000_000_000).beyond(known);
        assert_eq!(set_back.next(), known + 1);
        assert_eq!(
            IdSource::starting_at(1).beyond(3).next(),
            IdSource::starting_at(1).next()
        );
        assert!(i64::try_from(IdSource::starting_at(4_000_000_000_000).next()).is_ok());
    }
}
