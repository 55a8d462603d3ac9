//! Waiting receives, first come, first served. Knows no message and no time: each `Queue::receive` watches
//! its own timeout.

use std::collections::BTreeMap;

/// Maximum number of messages of one receive.
pub const RECEIVE_MESSAGES_MAX: usize = 1024;

/// Maximum bytes of the bodies of one receive, unless the first message alone has more.
pub const RECEIVE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A waiting receive.
#[derive(Debug)]
pub(in crate::broker::queue) struct WaitingReceive {
    /// Later receives have higher numbers.
    pub(in crate::broker::queue) number: u64,
    /// Maximum number of messages that it takes.
    pub(in crate::broker::queue) max: usize,
    /// Waits for reads from disk, not for new messages.
    is_hasty: bool,
}

/// All waiting receives.
#[derive(Debug, Default)]
pub(in crate::broker::queue) struct WaitingReceives {
    /// By number, which is the order of arrival.
    all: BTreeMap<u64, WaitingReceive>,
    hasty: usize,
}

impl WaitingReceives {
    /// Puts a receive at the end.
    pub(in crate::broker::queue) fn add(&mut self, number: u64, max: usize, is_hasty: bool) {
        self.hasty += usize::from(is_hasty);
        let receive = WaitingReceive {
            number,
            max: max.clamp(1, RECEIVE_MESSAGES_MAX),
            is_hasty,
        };
        self.all.insert(number, receive);
    }

    pub(in crate::broker::queue) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Removes the receive that has waited longest.
    pub(in crate::broker::queue) fn pop(&mut self) -> Option<WaitingReceive> {
        let (_, receive) = self.all.pop_first()?;
        self.hasty -= usize::from(receive.is_hasty);
        Some(receive)
    }

    /// Removes a receive, unless it has its answer.
    pub(in crate::broker::queue) fn remove(&mut self, number: u64) {
        if let Some(receive) = self.all.remove(&number) {
            self.hasty -= usize::from(receive.is_hasty);
        }
    }

    /// Removes the receives that do not wait for new messages.
    pub(in crate::broker::queue) fn take_hasty(&mut self) -> Vec<WaitingReceive> {
        if self.hasty == 0 {
            return Vec::new();
        }
        self.hasty = 0;
        let hasty = self.all.extract_if(.., |_, receive| receive.is_hasty);
        hasty.map(|(_, receive)| receive).collect()
    }

    pub(in crate::broker::queue) fn clear(&mut self) {
        self.all.clear();
        self.hasty = 0;
    }
}
