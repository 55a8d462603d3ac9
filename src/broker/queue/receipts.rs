//! What a lane remembers of messages that were received by handle: who may delete them until when, and when each was
//! first received. A receipt stays until its message is gone, also when its lease has ended. Knows no slot and no disk.

use std::collections::BTreeMap;

use crate::model::Lease;

/// What is known of one message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The turn of the lease that the last receive gave.
    turn: u32,
    /// When the message was first received, Unix ms.
    first_ms: u64,
    /// How many receives came to nothing, because nobody took what they brought.
    unkept: u32,
}

/// The receipts of one lane, by offset.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    by_offset: BTreeMap<u64, Receipt>,
}

impl Receipts {
    /// The message was received with this lease, and returns when it was for the first time.
    pub(super) fn received(&mut self, lease: Lease, now_ms: u64) -> u64 {
        let receipt = self.by_offset.entry(lease.offset).or_insert(Receipt {
            turn: lease.turn,
            first_ms: now_ms,
            unkept: 0,
        });
        if lease.turn <= receipt.unkept {
            receipt.first_ms = now_ms;
        }
        receipt.turn = lease.turn;
        receipt.first_ms
    }

    /// Nobody took what a receive brought: it is as if it had not been.
    pub(super) fn not_taken(&mut self, lease: Lease) {
        if let Some(receipt) = self.by_offset.get_mut(&lease.offset) {
            receipt.unkept = receipt.unkept.saturating_add(1);
        }
    }

    /// Whether this lease was given by a receive: then whoever has its handle may end it.
    pub(super) fn is_of(&self, lease: Lease) -> bool {
        self.by_offset
            .get(&lease.offset)
            .is_some_and(|receipt| receipt.turn == lease.turn)
    }

    /// How many of the times that a message came back do not count.
    pub(super) fn unkept(&self, offset: u64) -> u32 {
        self.by_offset
            .get(&offset)
            .map_or(0, |receipt| receipt.unkept)
    }

    /// The message is gone.
    pub(super) fn forget(&mut self, offset: u64) {
        self.by_offset.remove(&offset);
    }

    /// All messages but those at these offsets, in ascending order, are gone.
    pub(super) fn forget_but(&mut self, kept: &[u64]) {
        self.by_offset
            .retain(|offset, _| kept.binary_search(offset).is_ok());
    }
}
