//! How many more deliveries a consumer may be given. Two limits hold at once: the client's prefetch (deliveries that it
//! has not answered) and the window (deliveries under way to its socket, in messages and in bytes). Pure: the queue
//! is told the difference between what it has been granted and what it may have.

use super::limits::{DELIVERY_WINDOW_BYTES, DELIVERY_WINDOW_BYTES_MIN, DELIVERY_WINDOW_MESSAGES};

/// One consumer's part of the room towards the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Deliveries under way.
    pub(crate) messages: u32,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl Window {
    /// The part of one of `consumers` consumers of a connection.
    pub(crate) fn share(consumers: usize) -> Window {
        let share = DELIVERY_WINDOW_BYTES / (consumers as u64).max(1);
        Window {
            messages: DELIVERY_WINDOW_MESSAGES,
            bytes: share.max(DELIVERY_WINDOW_BYTES_MIN),
        }
    }
}

/// More that the queue may deliver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Messages.
    pub(crate) messages: u32,
    /// Bytes of properties and bodies.
    pub(crate) bytes: u64,
}

/// The account of one consumer.
#[derive(Debug)]
pub(crate) struct Account {
    /// Answers that may be outstanding; `None` is no limit.
    prefetch: Option<u32>,
    /// Granted to the queue and not delivered yet.
    messages: u32,
    /// The same in bytes. The last delivery may overdraw it, as it does the queue's own count.
    bytes: i64,
    /// Delivered and not answered; stays 0 without acknowledgements.
    unacked: u32,
    /// Delivered and not yet taken by the socket.
    under_way: Grant,
}

impl Account {
    /// A new account. A `prefetch` of 0 is none, and it does not count for a consumer without acknowledgements.
    pub(crate) fn new(prefetch: u16, no_ack: bool) -> Account {
        let prefetch = (prefetch > 0 && !no_ack).then_some(u32::from(prefetch));
        Account {
            prefetch,
            messages: 0,
            bytes: 0,
            unacked: 0,
            under_way: Grant::default(),
        }
    }

    /// The queue has delivered a message of so many bytes.
    pub(crate) fn delivered(&mut self, bytes: u64, needs_ack: bool) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub_unsigned(bytes);
        self.under_way.messages = self.under_way.messages.saturating_add(1);
        self.under_way.bytes = self.under_way.bytes.saturating_add(bytes);
        self.unacked = self.unacked.saturating_add(u32::from(needs_ack));
    }

    /// The client has answered, or the delivery went back to its queue.
    pub(crate) fn settled(&mut self) {
        self.unacked = self.unacked.saturating_sub(1);
    }

    /// The socket has taken what was delivered so far.
    pub(crate) fn written(&mut self) {
        self.under_way = Grant::default();
    }

    /// Whether deliveries are under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.messages > 0
    }

    /// What to grant now; the account takes it as granted. `parked`: nothing, whatever the limits. To keep the
    /// queue from being asked for each message, a grant is held back while more than half of the last one is left.
    pub(crate) fn grant(&mut self, window: Window, parked: bool) -> Option<Grant> {
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
        Some(Grant { messages, bytes })
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
        account.settled();
        assert_eq!(account.grant(WINDOW, false).map(|g| g.messages), Some(1));
    }

    #[test]
    fn without_prefetch_the_window_limits() {
        let mut account = Account::new(0, false);
        assert_eq!(
            account.grant(WINDOW, false),
            Some(Grant {
                messages: 10,
                bytes: 1_000
            })
        );
        for _ in 0..10 {
            account.delivered(200, true);
        }
        assert_eq!(
            account.grant(WINDOW, false),
            Some(Grant {
                messages: 0,
                bytes: 1_000
            })
        );
        account.written();
        assert_eq!(account.grant(WINDOW, true), None);
        assert_eq!(
            account.grant(WINDOW, false),
            Some(Grant {
                messages: 10,
                bytes: 1_000
            })
        );
    }

    #[test]
    fn a_share_is_never_nothing() {
        assert_eq!(Window::share(0), Window::share(1));
        assert_eq!(Window::share(1_000_000).bytes, DELIVERY_WINDOW_BYTES_MIN);
    }

    proptest! {
        /// Whatever happens, no more is outstanding than allowed, and when nothing is, something is granted.
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
                    2 if unacked > 0 => { account.settled(); unacked -= 1; }
                    3 => { account.written(); under_way = 0; }
                    _ => {}
                }
                prop_assert!(granted + under_way <= WINDOW.messages);
                if prefetch > 0 && !no_ack { prop_assert!(granted + unacked <= u32::from(prefetch)); }
            }
            account.written();
            for _ in 0..unacked { account.settled(); }
            prop_assert!(granted + account.grant(WINDOW, false).map_or(0, |g| g.messages) > 0);
        }
    }
}
