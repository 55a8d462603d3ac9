//! Credit of consumers: how many more deliveries a queue may send to each. Two limits apply: the client's
//! prefetch (unacked deliveries) and the window (deliveries under way to its socket, in messages and bytes).
//! Pure.

use super::limits::{DELIVERY_WINDOW_BYTES, DELIVERY_WINDOW_BYTES_MIN, DELIVERY_WINDOW_MESSAGES};
use crate::broker::queue::Credit;

/// Limit for deliveries of one consumer that the socket has not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) messages: u32,
    pub(crate) bytes: u64,
}

impl Window {
    /// The window of one consumer on a connection that has `consumers` of them.
    pub(crate) fn share(consumers: usize) -> Window {
        let share = DELIVERY_WINDOW_BYTES / (consumers as u64).max(1);
        Window {
            messages: DELIVERY_WINDOW_MESSAGES,
            bytes: share.max(DELIVERY_WINDOW_BYTES_MIN),
        }
    }
}

/// Credit of one consumer: limits, credit granted to the queue, and deliveries that count against the limits.
#[derive(Debug)]
pub(crate) struct Account {
    /// Maximum number of unacked deliveries; `None` is no limit.
    prefetch: Option<u32>,
    /// Messages granted to the queue and not delivered yet.
    messages: u32,
    /// Bytes granted and not delivered yet. The last delivery may overdraw them, as it overdraws the queue's
    /// own count.
    bytes: i64,
    /// Unacked deliveries; stays 0 without acknowledgements.
    unacked: u32,
    /// Deliveries that the socket has not taken.
    under_way: Credit,
}

impl Account {
    /// A `prefetch` of 0 is no limit; it does not apply to a consumer without acknowledgements.
    pub(crate) fn new(prefetch: u16, no_ack: bool) -> Account {
        let prefetch = (prefetch > 0 && !no_ack).then_some(u32::from(prefetch));
        Account {
            prefetch,
            messages: 0,
            bytes: 0,
            unacked: 0,
            under_way: Credit::default(),
        }
    }

    /// The queue has delivered a message of `bytes` bytes.
    pub(crate) fn delivered(&mut self, bytes: u64, needs_ack: bool) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub_unsigned(bytes);
        self.under_way.messages = self.under_way.messages.saturating_add(1);
        self.under_way.bytes = self.under_way.bytes.saturating_add(bytes);
        self.unacked = self.unacked.saturating_add(u32::from(needs_ack));
    }

    /// The client has acknowledged a delivery, or it went back to its queue.
    pub(crate) fn acknowledged(&mut self) {
        self.unacked = self.unacked.saturating_sub(1);
    }

    /// The socket has taken all deliveries so far.
    pub(crate) fn written(&mut self) {
        self.under_way = Credit::default();
    }

    /// Whether the socket has yet to take a delivery.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.messages > 0
    }

    /// Credit to grant to the queue now; counts it as granted. A `parked` consumer gets none. Grants nothing
    /// while more than half of the last grant is left, so that the queue is not called for each message.
    pub(crate) fn grant(&mut self, window: Window, parked: bool) -> Option<Credit> {
        if parked {
            return None;
        }
        let limit = self
            .prefetch
            .map_or(window.messages, |prefetch| prefetch.min(window.messages));
        let unanswered = self
            .prefetch
            .map_or(u32::MAX, |prefetch| prefetch.saturating_sub(self.unacked));
        let may = unanswered.min(window.messages.saturating_sub(self.under_way.messages));
        let messages = match self.messages <= limit / 2 {
            true => may.saturating_sub(self.messages),
            false => 0,
        };
        let may = window.bytes.saturating_sub(self.under_way.bytes);
        let bytes = match self.bytes <= 0 || self.bytes.unsigned_abs() <= window.bytes / 2 {
            true => u64::try_from(i128::from(may) - i128::from(self.bytes)).unwrap_or(0),
            false => 0,
        };
        if messages == 0 && bytes == 0 {
            return None;
        }
        self.messages += messages;
        self.bytes = self.bytes.saturating_add_unsigned(bytes);
        Some(Credit { messages, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Window = Window {
        messages: 10,
        bytes: 1_000,
    };

    #[test]
    fn prefetch_one() {
        let mut account = Account::new(1, false);
        assert_eq!(account.grant(WINDOW, false).map(|g| g.messages), Some(1));
        assert_eq!(account.grant(WINDOW, false), None);
        account.delivered(5, true);
        account.written();
        assert_eq!(account.grant(WINDOW, false), None);
        account.acknowledged();
        assert_eq!(account.grant(WINDOW, false).map(|g| g.messages), Some(1));
    }

    #[test]
    fn without_prefetch_the_window_limits() {
        let mut account = Account::new(0, false);
        assert_eq!(
            account.grant(WINDOW, false),
            Some(Credit {
                messages: 10,
                bytes: 1_000
            })
        );
        for _ in 0..10 {
            account.delivered(200, true);
        }
        assert_eq!(
            account.grant(WINDOW, false),
            Some(Credit {
                messages: 0,
                bytes: 1_000
            })
        );
        account.written();
        assert_eq!(account.grant(WINDOW, true), None);
        assert_eq!(
            account.grant(WINDOW, false),
            Some(Credit {
                messages: 10,
                bytes: 1_000
            })
        );
    }

    #[test]
    fn every_consumer_has_a_window() {
        assert_eq!(Window::share(0), Window::share(1));
        assert_eq!(Window::share(1_000_000).bytes, DELIVERY_WINDOW_BYTES_MIN);
    }

    proptest! {
        /// Limits hold in any order of events, and an idle consumer always gets credit.
        #[test]
        fn limits_hold(prefetch in 0u16..30, no_ack: bool, steps in proptest::collection::vec(0u8..4, 1..200)) {
            let mut account = Account::new(prefetch, no_ack);
            let (mut granted, mut unacked, mut under_way) = (0u32, 0u32, 0u32);
            for step in steps {
                match step {
                    0 => if let Some(grant) = account.grant(WINDOW, false) { granted += grant.messages; },
                    1 if granted > 0 => {
                        account.delivered(1, !no_ack);
                        granted -= 1;
                        under_way += 1;
                        unacked += u32::from(!no_ack);
                    }
                    2 if unacked > 0 => { account.acknowledged(); unacked -= 1; }
                    3 => { account.written(); under_way = 0; }
                    _ => {}
                }
                prop_assert!(granted + under_way <= WINDOW.messages);
                if prefetch > 0 && !no_ack { prop_assert!(granted + unacked <= u32::from(prefetch)); }
            }
            account.written();
            for _ in 0..unacked { account.acknowledged(); }
            prop_assert!(granted + account.grant(WINDOW, false).map_or(0, |g| g.messages) > 0);
        }
    }
}
