//! A lane's memory of received messages: the last lease that a receive gave of each, when it was first
//! received, and the unwritten changes of these. It remembers a message until that is settled, also when its
//! lease has ended. Knows no slot.
//!
//! The disk has one record per receive, not one per message. A record is removed when all its messages are
//! settled or were received again. Whether a lease in a record ended before a restart shows in the message's
//! return count.

use std::collections::BTreeMap;

use crate::model::{Lease, LogId};
use crate::store::{Batch, Op, RangeSet, ReceiveRecord, ReceivedLease};

use super::turn;

/// The last receive of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastReceive {
    /// The turn of the lease that the last receive gave.
    turn: u32,
    /// The number of that receive; `None` if no restart finds the message.
    receive: Option<u64>,
    /// When the message was first received.
    first_ms: u64,
    /// How many receives of it no client accepted.
    unaccepted: u32,
}

/// A receive with messages that are not settled.
#[derive(Clone, Copy, Debug)]
struct Receive {
    /// Number of messages whose last receive this is.
    messages: u32,
    /// When its leases end; 0 until the receive is complete.
    until_ms: u64,
    /// Its record names messages that were settled or received again since.
    is_stale: bool,
    /// The disk has its record.
    is_written: bool,
}

/// The receives of one lane.
#[derive(Debug)]
pub(super) struct ReceiveRecords {
    log: LogId,
    by_offset: BTreeMap<u64, LastReceive>,
    /// Receives that are the last of some message, by number.
    receives: BTreeMap<u64, Receive>,
    /// The number of the next receive.
    next: u64,
    /// Leases of the next receive so far.
    open: Vec<ReceivedLease>,
    /// Records that the disk has to write, or to remove (`None`).
    changes: BTreeMap<u64, Option<ReceiveRecord>>,
}

impl ReceiveRecords {
    pub(super) fn new(log: LogId) -> ReceiveRecords {
        ReceiveRecords {
            log,
            by_offset: BTreeMap::new(),
            receives: BTreeMap::new(),
            next: 0,
            open: Vec::new(),
            changes: BTreeMap::new(),
        }
    }

    /// A receive has given this lease. A restart knows it if it is `durable`. Returns when the message was
    /// first received. The receive goes on until [`ReceiveRecords::end_receive`].
    pub(super) fn received(&mut self, lease: Lease, now_ms: u64, durable: bool) -> u64 {
        let known = self.by_offset.get(&lease.offset).copied();
        let unaccepted = known.map_or(0, |last| last.unaccepted);
        // Only an accepted receive counts as the first.
        let first_ms = known
            .filter(|_| turn::returns(lease.turn) > unaccepted)
            .map_or(now_ms, |last| last.first_ms);
        let last = LastReceive {
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
        self.put(lease.offset, last);
        first_ms
    }

    /// The lease lasts until another time than its receive said. It moves to a receive of its own, which
    /// [`ReceiveRecords::end_receive`] completes.
    pub(super) fn prolonged(&mut self, lease: Lease) {
        let Some(last) = self.by_offset.get(&lease.offset).copied() else {
            return;
        };
        if last.receive.is_none() {
            return;
        }
        self.open.push(ReceivedLease {
            offset: lease.offset,
            turn: lease.turn,
            first_ms: last.first_ms,
        });
        let receive = Some(self.next);
        self.put(lease.offset, LastReceive { receive, ..last });
    }

    /// Completes a receive. All its leases end at this time.
    pub(super) fn end_receive(&mut self, until_ms: u64) {
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

    /// Takes over a record from disk, as far as its messages are still there. Called in the order of
    /// receives.
    pub(super) fn restore(&mut self, record: &ReceiveRecord, is_there: impl Fn(u64) -> bool) {
        self.next = record.number + 1;
        for lease in record.leases.iter().filter(|lease| is_there(lease.offset)) {
            let last = LastReceive {
                turn: lease.turn,
                receive: Some(record.number),
                first_ms: lease.first_ms,
                unaccepted: 0,
            };
            self.put(lease.offset, last);
        }
        match self.receives.get_mut(&record.number) {
            Some(receive) => {
                receive.until_ms = record.until_ms;
                receive.is_written = true;
                receive.is_stale =
                    receive.messages < u32::try_from(record.leases.len()).unwrap_or(u32::MAX);
            }
            None => {
                self.changes.insert(record.number, None);
            }
        }
    }

    /// No client accepted the receive that gave this lease: it does not count.
    pub(super) fn count_unaccepted(&mut self, lease: Lease) {
        if let Some(last) = self.by_offset.get_mut(&lease.offset) {
            last.unaccepted = last.unaccepted.saturating_add(1);
        }
    }

    /// Sets how many receives of a message no client had accepted before the restart.
    pub(super) fn set_unaccepted(&mut self, offset: u64, unaccepted: u32) {
        if let Some(last) = self.by_offset.get_mut(&offset) {
            last.unaccepted = unaccepted;
        }
    }

    /// The turn of the lease that the last receive of a message gave: its handle can still end that lease.
    pub(super) fn turn(&self, offset: u64) -> Option<u32> {
        self.by_offset.get(&offset).map(|last| last.turn)
    }

    /// Whether the message was ever received, so that its return count has to be stored.
    pub(super) fn is_known(&self, offset: u64) -> bool {
        self.by_offset.contains_key(&offset)
    }

    /// How many returns of a message do not count, because no client had accepted its receive.
    pub(super) fn unaccepted(&self, offset: u64) -> u32 {
        self.by_offset
            .get(&offset)
            .map_or(0, |last| last.unaccepted)
    }

    /// The message is settled. Returns whether it was ever received.
    pub(super) fn forget(&mut self, offset: u64) -> bool {
        let Some(last) = self.by_offset.remove(&offset) else {
            return false;
        };
        self.release(last.receive);
        true
    }

    /// Notes that all messages except those at these offsets are settled.
    pub(super) fn retain_only(&mut self, unsettled: &RangeSet) {
        let is_settled = |offset: &u64| !unsettled.contains(*offset);
        let settled: Vec<u64> = self.by_offset.keys().copied().filter(is_settled).collect();
        for offset in settled {
            self.forget(offset);
        }
    }

    /// Settled messages have come back. Old records may still name them, and a restart would lease them anew.
    /// So the stale records are written again without them.
    pub(super) fn rewound(&mut self) {
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
        for (offset, last) in &self.by_offset {
            if let Some(number) = last.receive
                && let Some(record) = records.get_mut(&number)
            {
                record.leases.push(ReceivedLease {
                    offset: *offset,
                    turn: last.turn,
                    first_ms: last.first_ms,
                });
            }
        }
        let records = records.into_iter();
        self.changes
            .extend(records.map(|(number, record)| (number, Some(record))));
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Moves the changes of records into `batch`.
    pub(super) fn collect(&mut self, batch: &mut Batch) {
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

    fn put(&mut self, offset: u64, last: LastReceive) {
        if let Some(number) = last.receive {
            let receive = self.receives.entry(number).or_insert(Receive {
                messages: 0,
                until_ms: 0,
                is_stale: false,
                is_written: false,
            });
            receive.messages += 1;
        }
        if let Some(before) = self.by_offset.insert(offset, last) {
            self.release(before.receive);
        }
    }

    /// A message is settled or was received again: this receive is no longer its last.
    fn release(&mut self, number: Option<u64>) {
        let Some(number) = number else { return };
        let Some(receive) = self.receives.get_mut(&number) else {
            return;
        };
        receive.messages -= 1;
        receive.is_stale = true;
        if receive.messages > 0 {
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
    fn a_receive_is_one_record_until_its_last_message_is_settled() {
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
        receives.retain_only(&RangeSet::new());
        assert_eq!(written(&mut receives), [(1, vec![])]);
    }

    #[test]
    fn a_prolonged_lease_has_a_record_of_its_own() {
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
    fn a_receive_that_is_settled_before_it_is_written_is_never_written() {
        let mut receives = ReceiveRecords::new(LOG);
        receives.received(lease(1, 0), 10, true);
        receives.end_receive(20);
        receives.forget(1);
        assert_eq!(written(&mut receives), []);
    }

    #[test]
    fn only_an_accepted_receive_counts_as_the_first() {
        let mut receives = ReceiveRecords::new(LOG);
        receives.received(lease(1, 0), 10, true);
        receives.end_receive(20);
        receives.count_unaccepted(lease(1, 0));
        assert_eq!(receives.received(lease(1, 1), 15, true), 15);
        assert_eq!(receives.unaccepted(1), 1);
        assert_eq!(receives.received(lease(1, 2), 25, true), 15);
    }

    #[test]
    fn a_restart_removes_the_records_of_settled_messages() {
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
