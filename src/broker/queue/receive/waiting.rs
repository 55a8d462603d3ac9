//! Those who wait for messages with one request each (`Queue::receive`), first come, first served. Knows no message
//! and no time: how long somebody waits is his own affair.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::received_batch::ReceivedBatch;

/// The most messages that one request is given.
pub const RECEIVE_MESSAGES_MAX: usize = 1024;

/// Bytes of the bodies that one request is given, unless the first message alone has more.
pub const RECEIVE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One who waits.
#[derive(Debug)]
pub(in crate::broker::queue) struct WaitingReceive {
    /// How many messages he takes.
    pub(in crate::broker::queue) max: usize,
    /// Where they go. Whoever waits takes himself off before he drops the other end.
    pub(in crate::broker::queue) answer: oneshot::Sender<ReceivedBatch>,
    /// He waits for what is being read from disk, but not for messages that are still to come.
    is_hasty: bool,
}

/// All who wait.
#[derive(Debug, Default)]
pub(in crate::broker::queue) struct WaitingReceives {
    /// In order of arrival.
    all: BTreeMap<u64, WaitingReceive>,
    hasty: usize,
    last: u64,
}

impl WaitingReceives {
    /// Puts somebody at the end and returns his number.
    pub(in crate::broker::queue) fn add(
        &mut self,
        max: usize,
        is_hasty: bool,
        answer: oneshot::Sender<ReceivedBatch>,
    ) -> u64 {
        self.last += 1;
        self.hasty += usize::from(is_hasty);
        let waiter = WaitingReceive {
            max: max.clamp(1, RECEIVE_MESSAGES_MAX),
            answer,
            is_hasty,
        };
        self.all.insert(self.last, waiter);
        self.last
    }

    /// Whether nobody waits.
    pub(in crate::broker::queue) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes the one who waits longest.
    pub(in crate::broker::queue) fn pop(&mut self) -> Option<WaitingReceive> {
        let (_, waiter) = self.all.pop_first()?;
        self.hasty -= usize::from(waiter.is_hasty);
        Some(waiter)
    }

    /// Takes somebody out; nothing if he was served.
    pub(in crate::broker::queue) fn remove(&mut self, number: u64) {
        if let Some(waiter) = self.all.remove(&number) {
            self.hasty -= usize::from(waiter.is_hasty);
        }
    }

    /// Takes those who do not wait for messages that are still to come.
    pub(in crate::broker::queue) fn take_hasty(&mut self) -> Vec<WaitingReceive> {
        if self.hasty == 0 {
            return Vec::new();
        }
        self.hasty = 0;
        let hasty = self.all.extract_if(.., |_, waiter| waiter.is_hasty);
        hasty.map(|(_, waiter)| waiter).collect()
    }

    /// Everybody leaves.
    pub(in crate::broker::queue) fn clear(&mut self) {
        self.all.clear();
        self.hasty = 0;
    }
}
