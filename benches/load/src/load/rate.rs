//! The rate at which a producer sends.

/// A number of messages in a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    messages: u64,
    seconds: u64,
}

impl Rate {
    /// The share of one producer when all together send `messages` per second.
    pub(crate) fn share(messages: u64, producers: usize) -> Rate {
        Rate {
            messages: messages.max(1),
            seconds: producers.max(1) as u64,
        }
    }

    /// The time for the message after `count` others, in ns after the first.
    pub(crate) fn due_ns(self, count: u64) -> u64 {
        let ns = u128::from(count) * u128::from(self.seconds) * 1_000_000_000
            / u128::from(self.messages);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// The number of messages to send within `ns` after the first.
    pub(crate) fn due_by(self, ns: u64) -> u64 {
        let count =
            u128::from(ns) * u128::from(self.messages) / (u128::from(self.seconds) * 1_000_000_000);
        u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_when_the_rate_says() {
        for (messages, producers) in [(1000, 1), (10_000, 3), (1, 2)] {
            let rate = Rate::share(messages, producers);
            assert_eq!((rate.due_ns(0), rate.due_by(0)), (0, 1));
            for count in [1, 2, 3, 1000, 123_457] {
                let due = rate.due_ns(count);
                // Rounding down makes a message due up to a nanosecond early, never late.
                assert!(
                    (count..=count + 1).contains(&rate.due_by(due + 1)),
                    "{rate:?} {count}"
                );
                assert!(
                    rate.due_by(due.saturating_sub(2)) <= count,
                    "{rate:?} {count}"
                );
            }
        }
        assert_eq!(Rate::share(10_000, 1).due_ns(10_000), 1_000_000_000);
    }
}
