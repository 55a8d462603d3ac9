//! What a lane remembers of messages that were received by handle: who may delete them until when, and when each was
//! first received; and what the disk has to be told of it. A receipt stays until its message is gone, also when its
//! lease has ended. Knows no slot.
//!
//! On disk lies one record per receive, not one per message. It is removed when all its messages are gone or have been
//! received again; whether the lease of one has ended before, recovery tells by the message's delivery count.

use std::collections::BTreeMap;

use crate::model::{Lease, LogId};
use crate::store::{Batch, Op, RangeSet, ReceiveRecord, ReceivedLease};

use super::block::TURN_RETURNS;

/// What is known of one message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Receipt {
    /// The turn of the lease that the last receive gave.
    turn: u32,
    /// The number of that receive; `None` if a restart is not to know it.
    receive: Option<u64>,
    /// When the message was first received.
    first_ms: u64,
    /// How many receives came to nothing, because nobody took what they brought.
    unaccepted: u32,
}

/// What is known of one receive.
#[derive(Clone, Copy, Debug)]
struct Receive {
    /// How many receives name it.
    left: u32,
    /// When its leases end; 0 while it goes on.
    until_ms: u64,
    /// Its record on disk names messages that are gone, or have been received again.
    is_stale: bool,
    /// It has a record on disk.
    is_written: bool,
}

/// The receives of one lane, by offset.
#[derive(Debug)]
pub(in crate::broker::queue) struct ReceiveRecords {
    log: LogId,
    by_offset: BTreeMap<u64, Receipt>,
    /// Receives that some receipt names.
    receives: BTreeMap<u64, Receive>,
    /// The number of the next receive.
    next: u64,
    /// What that has leased so far.
    open: Vec<ReceivedLease>,
    /// What the disk has to be told: receives that are new, or gone.
    changes: BTreeMap<u64, Option<ReceiveRecord>>,
}

impl ReceiveRecords {
    pub(in crate::broker::queue) fn new(log: LogId) -> ReceiveRecords {
        ReceiveRecords {
            log,
            by_offset: BTreeMap::new(),
            receives: BTreeMap::new(),
            next: 0,
            open: Vec::new(),
            changes: BTreeMap::new(),
        }
    }

    /// The message was received with this lease, and returns when it was for the first time. A restart knows it if it
    /// is `durable`. The receive goes on until [`ReceiveRecords::end_receive`].
    pub(in crate::broker::queue) fn received(
        &mut self,
        lease: Lease,
        now_ms: u64,
        durable: bool,
    ) -> u64 {
        let known = self.by_offset.get(&lease.offset).copied();
        let unaccepted = known.map_or(0, |receipt| receipt.unaccepted);
        let first_ms = known
            .filter(|_| lease.turn & TURN_RETURNS > unaccepted)
            .map_or(now_ms, |receipt| receipt.first_ms);
        let receipt = Receipt {
            turn: lease.turn,
            receive: durable.then_some(self.next),
            first_ms,
            unaccepted,
        };
        if durable {
            self.open.push(ReceivedLease {
                offset: lease.offset,
                turn: lease.turn,
                first_ms,
            });
        }
        self.put(lease.offset, receipt);
        first_ms
    }

    /// The lease, which this receipt is of, lasts until another time than its receive said: a receive of its own says
    /// so, until [`ReceiveRecords::end_receive`].
    pub(in crate::broker::queue) fn prolonged(&mut self, lease: Lease) {
        let Some(receipt) = self.by_offset.get(&lease.offset).copied() else {
            return;
        };
        if receipt.receive.is_none() {
            return;
        }
        self.open.push(ReceivedLease {
            offset: lease.offset,
            turn: lease.turn,
            first_ms: receipt.first_ms,
        });
        let receive = Some(self.next);
        self.put(lease.offset, Receipt { receive, ..receipt });
    }

    /// Ends a receive, whose leases all end at this time.
    pub(in crate::broker::queue) fn end_receive(&mut self, until_ms: u64) {
        if self.open.is_empty() {
            return;
        }
        let mut leases = std::mem::take(&mut self.open);
        leases.sort_unstable_by_key(|lease| lease.offset);
        let record = ReceiveRecord {
            number: self.next,
            until_ms,
            leases,
        };
        if let Some(receive) = self.receives.get_mut(&self.next) {
            receive.until_ms = until_ms;
        }
        self.changes.insert(self.next, Some(record));
        self.next += 1;
    }

    /// Takes over a receive that was on disk, as far as its messages are still there. Later ones come later.
    pub(in crate::broker::queue) fn restore(
        &mut self,
        receive: &ReceiveRecord,
        is_there: impl Fn(u64) -> bool,
    ) {
        self.next = receive.number + 1;
        for lease in receive.leases.iter().filter(|lease| is_there(lease.offset)) {
            let receipt = Receipt {
                turn: lease.turn,
                receive: Some(receive.number),
                first_ms: lease.first_ms,
                unaccepted: 0,
            };
            self.put(lease.offset, receipt);
        }
        match self.receives.get_mut(&receive.number) {
            Some(known) => {
                known.until_ms = receive.until_ms;
                known.is_written = true;
                known.is_stale =
                    known.left < u32::try_from(receive.leases.len()).unwrap_or(u32::MAX);
            }
            None => {
                self.changes.insert(receive.number, None);
            }
        }
    }

    /// Nobody took what a receive brought: it is as if it had not been.
    pub(in crate::broker::queue) fn count_unaccepted(&mut self, lease: Lease) {
        if let Some(receipt) = self.by_offset.get_mut(&lease.offset) {
            receipt.unaccepted = receipt.unaccepted.saturating_add(1);
        }
    }

    /// How often nobody took what a receive brought, before the restart.
    pub(in crate::broker::queue) fn set_unaccepted(&mut self, offset: u64, unaccepted: u32) {
        if let Some(receipt) = self.by_offset.get_mut(&offset) {
            receipt.unaccepted = unaccepted;
        }
    }

    /// The turn of the lease that the last receive of a message gave: whoever has its handle may end that.
    pub(in crate::broker::queue) fn turn(&self, offset: u64) -> Option<u32> {
        self.by_offset.get(&offset).map(|receipt| receipt.turn)
    }

    /// Whether the message was ever received, so that a restart has to know how often it came back.
    pub(in crate::broker::queue) fn is_known(&self, offset: u64) -> bool {
        self.by_offset.contains_key(&offset)
    }

    /// How many of the times that a message came back do not count.
    pub(in crate::broker::queue) fn unaccepted(&self, offset: u64) -> u32 {
        self.by_offset
            .get(&offset)
            .map_or(0, |receipt| receipt.unaccepted)
    }

    /// The message is gone. Returns whether it had ever been received.
    pub(in crate::broker::queue) fn forget(&mut self, offset: u64) -> bool {
        let Some(receipt) = self.by_offset.remove(&offset) else {
            return false;
        };
        self.release(receipt.receive);
        true
    }

    /// All messages but those at these offsets are gone.
    pub(in crate::broker::queue) fn forget_but(&mut self, kept: &RangeSet) {
        let is_gone = |offset: &u64| !kept.contains(*offset);
        let gone: Vec<u64> = self.by_offset.keys().copied().filter(is_gone).collect();
        for offset in gone {
            self.forget(offset);
        }
    }

    /// Messages that were gone have come back. A restart must not take them for those that earlier receives leased,
    /// so the records of these are written anew, without them.
    pub(in crate::broker::queue) fn rewound(&mut self) {
        let mut records = BTreeMap::new();
        for (number, receive) in &mut self.receives {
            if std::mem::take(&mut receive.is_stale) {
                let record = ReceiveRecord {
                    number: *number,
                    until_ms: receive.until_ms,
                    leases: Vec::new(),
                };
                records.insert(*number, record);
            }
        }
        if records.is_empty() {
            return;
        }
        for (offset, receipt) in &self.by_offset {
            if let Some(number) = receipt.receive
                && let Some(record) = records.get_mut(&number)
            {
                record.leases.push(ReceivedLease {
                    offset: *offset,
                    turn: receipt.turn,
                    first_ms: receipt.first_ms,
                });
            }
        }
        let records = records.into_iter();
        self.changes
            .extend(records.map(|(number, record)| (number, Some(record))));
    }

    pub(in crate::broker::queue) fn is_dirty(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Moves what is to be written into `batch`.
    pub(in crate::broker::queue) fn collect(&mut self, batch: &mut Batch) {
        let log = self.log;
        for (number, change) in std::mem::take(&mut self.changes) {
            if let Some(receive) = self.receives.get_mut(&number) {
                receive.is_written = true;
            }
            batch.push(match change {
                Some(receive) => Op::PutReceive { log, receive },
                None => Op::RemoveReceive { log, number },
            });
        }
    }

    fn put(&mut self, offset: u64, receipt: Receipt) {
        if let Some(number) = receipt.receive {
            let receive = self.receives.entry(number).or_insert(Receive {
                left: 0,
                until_ms: 0,
                is_stale: false,
                is_written: false,
            });
            receive.left += 1;
        }
        if let Some(before) = self.by_offset.insert(offset, receipt) {
            self.release(before.receive);
        }
    }

    /// A receipt names this receive no longer.
    fn release(&mut self, number: Option<u64>) {
        let Some(number) = number else { return };
        let Some(receive) = self.receives.get_mut(&number) else {
            return;
        };
        receive.left -= 1;
        receive.is_stale = true;
        if receive.left > 0 {
            return;
        }
        let is_written = receive.is_written;
        self.receives.remove(&number);
        self.changes.remove(&number);
        if is_written {
            self.changes.insert(number, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId(5);

    fn lease(offset: u64, turn: u32) -> Lease {
        Lease {
            offset,
            turn,
            lane: 0,
        }
    }

    fn written(receives: &mut ReceiveRecords) -> Vec<(u64, Vec<u64>)> {
        let mut batch = Batch::default();
        receives.collect(&mut batch);
        let ops = batch.ops.into_iter().map(|op| match op {
            Op::PutReceive { receive, .. } => (
                receive.number,
                receive.leases.iter().map(|lease| lease.offset).collect(),
            ),
            Op::RemoveReceive { number, .. } => (number, Vec::new()),
            other => panic!("{other:?}"),
        });
        ops.collect()
    }

    #[test]
    fn a_receive_is_one_record_that_goes_with_its_last_message() {
        let mut receives = ReceiveRecords::new(LOG);
        for offset in [4, 3] {
            assert_eq!(receives.received(lease(offset, 0), 10, true), 10);
        }
        receives.received(lease(9, 0), 10, false);
        receives.end_receive(20);
        assert_eq!(written(&mut receives), [(0, vec![3, 4])]);
        receives.forget(3);
        receives.forget(9);
        assert!(!receives.is_dirty());
        // Received again: the later record takes its place.
        assert_eq!(receives.received(lease(4, 1), 30, true), 10);
        receives.end_receive(40);
        assert_eq!(written(&mut receives), [(0, vec![]), (1, vec![4])]);
        assert_eq!(receives.turn(4), Some(1));
        receives.forget_but(&RangeSet::new());
        assert_eq!(written(&mut receives), [(1, vec![])]);
    }

    #[test]
    fn a_lease_that_lasts_longer_has_a_record_of_its_own() {
        let mut receives = ReceiveRecords::new(LOG);
        for offset in [4, 3] {
            receives.received(lease(offset, 0), 10, true);
        }
        receives.end_receive(20);
        receives.prolonged(lease(4, 0));
        receives.end_receive(90);
        receives.prolonged(lease(77, 0));
        receives.end_receive(90);
        assert_eq!(written(&mut receives), [(0, vec![3, 4]), (1, vec![4])]);
        assert_eq!(receives.turn(4), Some(0));
        receives.prolonged(lease(3, 0));
        receives.end_receive(95);
        assert_eq!(written(&mut receives), [(0, vec![]), (2, vec![3])]);
    }

    #[test]
    fn what_is_gone_before_it_is_written_is_not_written() {
        let mut receives = ReceiveRecords::new(LOG);
        receives.received(lease(1, 0), 10, true);
        receives.end_receive(20);
        receives.forget(1);
        assert_eq!(written(&mut receives), []);
    }

    #[test]
    fn a_receive_that_nobody_took_is_no_first_one() {
        let mut receives = ReceiveRecords::new(LOG);
        receives.received(lease(1, 0), 10, true);
        receives.end_receive(20);
        receives.count_unaccepted(lease(1, 0));
        assert_eq!(receives.received(lease(1, 1), 15, true), 15);
        assert_eq!(receives.unaccepted(1), 1);
        assert_eq!(receives.received(lease(1, 2), 25, true), 15);
    }

    #[test]
    fn what_a_restart_finds_without_messages_is_removed() {
        let mut receives = ReceiveRecords::new(LOG);
        let receive = |number, offsets: &[u64]| ReceiveRecord {
            number,
            until_ms: 50,
            leases: offsets
                .iter()
                .map(|offset| ReceivedLease {
                    offset: *offset,
                    turn: 1,
                    first_ms: 7,
                })
                .collect(),
        };
        let is_there = |offset| offset >= 10;
        receives.restore(&receive(2, &[1, 2]), is_there);
        receives.restore(&receive(3, &[2, 10]), is_there);
        receives.restore(&receive(5, &[10, 11]), is_there);
        assert_eq!(written(&mut receives), [(2, vec![]), (3, vec![])]);
        assert_eq!(receives.received(lease(12, 0), 60, true), 60);
        receives.end_receive(90);
        assert_eq!(written(&mut receives), [(6, vec![12])]);
    }
}
