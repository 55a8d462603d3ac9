//! What happens to a message after a failed push: how long it waits for the next, or that it is dropped. Pure.

use std::ops::RangeInclusive;

use crate::cmq::topics::Strategy;

/// Retries of `BACKOFF_RETRY`.
const BACKOFF_RETRIES: u32 = 3;
/// Seconds between them, drawn at random.
pub(super) const BACKOFF_SECS: RangeInclusive<u64> = 10..=20;
/// Retries of `EXPONENTIAL_DECAY_RETRY`, which take nearly a day with the waits between them.
const DECAY_RETRIES: u32 = 176;
/// The longest wait between them, in seconds. Waits double until then.
const DECAY_SECS_MAX: u64 = 512;
/// Messages of one subscription with `EXPONENTIAL_DECAY_RETRY` that are being pushed or wait for a retry. Further messages
/// wait in their queue, so that an endpoint that is down for long costs no more than this.
const DECAY_OUTSTANDING_MAX: u64 = 1000;

/// Seconds to wait after attempt number `attempt`, counted from one, has failed; `None` if it was the last.
/// `random_secs` is one of [`BACKOFF_SECS`].
pub(super) fn wait_secs(strategy: Strategy, attempt: u32, random_secs: u64) -> Option<u64> {
    match strategy {
        Strategy::Backoff => (attempt <= BACKOFF_RETRIES).then_some(random_secs),
        Strategy::ExponentialDecay => (attempt <= DECAY_RETRIES).then(|| {
            let doubled = 1_u64.checked_shl(attempt.saturating_sub(1));
            doubled.unwrap_or(DECAY_SECS_MAX).clamp(1, DECAY_SECS_MAX)
        }),
    }
}

/// Maximum number of messages that are being pushed or wait for a retry. `BACKOFF_RETRY` delivers one after the other.
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
