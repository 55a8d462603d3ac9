//! What happens to a message after a push that failed: how long to wait, or that it is dropped. Pure: counts and lots
//! in, seconds out.

use std::ops::RangeInclusive;

use super::super::topics::Strategy;

/// Retries of `BACKOFF_RETRY`.
const BACKOFF_RETRIES: u32 = 3;
/// Seconds between them, drawn by lot.
pub(super) const BACKOFF_SECS: RangeInclusive<u64> = 10..=20;
/// Retries of `EXPONENTIAL_DECAY_RETRY`: with the waits between them, nearly a day.
const DECAY_RETRIES: u32 = 176;
/// The longest wait between them, in seconds, at which the doubling ends.
const DECAY_SECS_MAX: u64 = 512;
/// Messages of one subscription that are being pushed or wait to be again, with `EXPONENTIAL_DECAY_RETRY`. Further ones
/// wait in their queue, so that an endpoint that is gone for long costs no more.
const DECAY_OUTSTANDING_MAX: u64 = 1000;

/// For how many seconds to wait after attempt `attempt`, counted from one, has failed; `None` if it was the last.
/// `lot` is one of [`BACKOFF_SECS`].
pub(super) fn wait_secs(strategy: Strategy, attempt: u32, lot: u64) -> Option<u64> {
    match strategy {
        Strategy::Backoff => (attempt <= BACKOFF_RETRIES).then_some(lot),
        Strategy::ExponentialDecay => (attempt <= DECAY_RETRIES).then(|| {
            let doubled = 1_u64.checked_shl(attempt.saturating_sub(1));
            doubled.unwrap_or(DECAY_SECS_MAX).clamp(1, DECAY_SECS_MAX)
        }),
    }
}

/// How many messages may be under way or wait for a retry at once: one, if each has to wait for the one before.
pub(super) fn outstanding_max(strategy: Strategy) -> u64 {
    match strategy {
        Strategy::Backoff => 1,
        Strategy::ExponentialDecay => DECAY_OUTSTANDING_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_retries_three_times() {
        for (attempt, expected) in [
            (1, Some(13)),
            (2, Some(13)),
            (3, Some(13)),
            (4, None),
            (u32::MAX, None),
        ] {
            assert_eq!(wait_secs(Strategy::Backoff, attempt, 13), expected);
        }
    }

    #[test]
    fn decay_doubles_up_to_512_and_lasts_nearly_a_day() {
        let waits: Vec<u64> = (1..)
            .map_while(|attempt| wait_secs(Strategy::ExponentialDecay, attempt, 13))
            .collect();
        assert_eq!(
            waits[..12],
            [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512]
        );
        assert!(waits[9..].iter().all(|wait| *wait == 512));
        assert_eq!(waits.len(), 176);
        assert_eq!(waits.iter().sum::<u64>(), 86_015);
        for attempt in [177, 1000, u32::MAX] {
            assert_eq!(wait_secs(Strategy::ExponentialDecay, attempt, 13), None);
        }
    }
}
