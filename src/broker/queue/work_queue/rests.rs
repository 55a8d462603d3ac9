//! Returned messages of a quorum queue that rest before their next delivery (`x-delayed-retry-type`): how long, and
//! which are due. The lanes know which messages still rest.

use std::collections::BTreeSet;

use crate::model::MessageId;
use crate::model::arguments::{DelayedRetryType, QueueArguments};

use super::returns::Return;

/// The ends of rests, in order: time, offset and lane of the message. Messages that are due together come back in
/// the order of their offsets.
#[derive(Debug, Default)]
pub(super) struct Rests {
    ends: BTreeSet<(u64, u64, u8)>,
}

impl Rests {
    pub(super) fn push(&mut self, until_ms: u64, id: MessageId) {
        self.ends.insert((until_ms, id.offset, id.lane));
    }

    /// When the next message is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.ends.first().map(|(until_ms, ..)| *until_ms)
    }

    /// Removes and returns the first message that is due. It may rest no more.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<MessageId> {
        if self.next_ms()? > now_ms {
            return None;
        }
        let (_, offset, lane) = self.ends.pop_first()?;
        Some(MessageId { lane, offset })
    }

    pub(super) fn clear(&mut self) {
        self.ends.clear();
    }
}

/// How long a message rests that has returned after so many failures, in milliseconds; `None` if it does not.
pub(super) fn rest_ms(arguments: &QueueArguments, how: Return, failures: u32) -> Option<u64> {
    let rests = match (arguments.delayed_retry_type, how) {
        (DelayedRetryType::Disabled, _) => false,
        (DelayedRetryType::All, _) => true,
        (DelayedRetryType::Failed, how) => how.is_failure(),
        (DelayedRetryType::Returned, how) => !how.is_failure(),
    };
    let min_ms = arguments.delayed_retry_min_ms.filter(|_| rests)?;
    let max_ms = arguments.delayed_retry_max_ms.unwrap_or(min_ms);
    Some(
        min_ms
            .saturating_mul(u64::from(failures.max(1)))
            .min(max_ms),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_grows_with_the_failures_up_to_the_maximum() {
        use DelayedRetryType::{All, Disabled, Failed, Returned};
        for (kind, min, max, how, failures, expected) in [
            (All, Some(400), Some(1_000), Return::Failed, 1, Some(400)),
            (All, Some(400), Some(1_000), Return::Failed, 2, Some(800)),
            (All, Some(400), Some(1_000), Return::Failed, 3, Some(1_000)),
            (All, Some(400), Some(1_000), Return::Refused, 0, Some(400)),
            (All, Some(400), Some(1_000), Return::Refused, 2, Some(800)),
            (All, Some(400), None, Return::Failed, 9, Some(400)),
            (All, Some(3_000), Some(500), Return::Failed, 1, Some(500)),
            (All, None, Some(500), Return::Failed, 1, None),
            (
                All,
                Some(u64::MAX),
                Some(u64::MAX),
                Return::TimedOut,
                9,
                Some(u64::MAX),
            ),
            (Failed, Some(400), None, Return::Failed, 1, Some(400)),
            (Failed, Some(400), None, Return::TimedOut, 1, Some(400)),
            (Failed, Some(400), None, Return::Refused, 1, None),
            (Returned, Some(400), None, Return::Failed, 1, None),
            (Returned, Some(400), None, Return::Refused, 1, Some(400)),
            (Disabled, Some(400), None, Return::Failed, 1, None),
        ] {
            let arguments = QueueArguments {
                delayed_retry_type: kind,
                delayed_retry_min_ms: min,
                delayed_retry_max_ms: max,
                ..QueueArguments::default()
            };
            let rests = rest_ms(&arguments, how, failures);
            assert_eq!(
                rests, expected,
                "{kind:?} {min:?} {max:?} {how:?} {failures}"
            );
        }
    }

    #[test]
    fn messages_come_back_in_the_order_of_their_times_and_offsets() {
        let mut rests = Rests::default();
        let id = |lane, offset| MessageId { lane, offset };
        rests.push(200, id(0, 1));
        rests.push(100, id(0, 9));
        rests.push(100, id(1, 3));
        assert_eq!(rests.pop_due(99), None);
        assert_eq!(rests.next_ms(), Some(100));
        let due: Vec<_> = std::iter::from_fn(|| rests.pop_due(150)).collect();
        assert_eq!(due, [id(1, 3), id(0, 9)]);
        assert_eq!(rests.pop_due(200), Some(id(0, 1)));
        assert_eq!(rests.next_ms(), None);
    }
}
