//! The unwritten changes to the offsets of one log: its record, the pages of settled and gone offsets, return
//! counts, and chunks to remove. Does not know which messages are resident.
//!
//! *Settled* offsets have left the queue for good. In a log with a history, acked messages stay on disk and
//! can be rewound; those of the settled offsets that never come back are *gone*. Without a history all
//! settled offsets are.

mod paged_set; // a set of offsets as the disk has it

use std::ops::Range;

use crate::model::LogId;
use crate::store::{Batch, LogRecord, Op, RangeSet, ReturnCount};

use paged_set::{PageChange, PagedSet};

/// The offsets of one log as the disk has them, and the changes that it has not.
pub(in crate::broker::queue) struct Offsets {
    log: LogId,
    /// A restart finds the log.
    durable: bool,
    /// Offsets that a restart must take as settled, including those of all transient messages.
    settled: PagedSet,
    /// Settled offsets that never come back; `None` in a log without a history.
    gone: Option<PagedSet>,
    /// How often the log was rewound.
    rewinds: u32,
    /// Bytes of unsettled persistent messages.
    bytes: u64,
    /// First offsets of chunks in which all messages are gone.
    emptied: Vec<u64>,
    /// Changes of return counts; `None` removes one.
    counts: Vec<(u64, Option<ReturnCount>)>,
    /// Removes the records of a history that has ended.
    history_removal: Vec<Op>,
    dirty: bool,
    record_written: bool,
}

impl Offsets {
    pub(in crate::broker::queue) fn new(log: LogId, durable: bool) -> Self {
        Offsets {
            log,
            durable,
            settled: PagedSet::default(),
            gone: None,
            rewinds: 0,
            bytes: 0,
            emptied: Vec::new(),
            counts: Vec::new(),
            history_removal: Vec::new(),
            dirty: false,
            record_written: false,
        }
    }

    /// The offsets as the disk has them. `settled` includes everything below the record's floor, `gone`
    /// everything below its `history_from`.
    pub(in crate::broker::queue) fn recover(
        log: LogId,
        record: LogRecord,
        settled: RangeSet,
        gone: RangeSet,
        bytes: u64,
    ) -> Self {
        let mut offsets = Offsets::new(log, true);
        offsets.settled = PagedSet::recover(settled, record.floor, record.next);
        offsets.gone = record
            .history_from
            .map(|from| PagedSet::recover(gone, from, record.next));
        offsets.rewinds = record.rewinds;
        offsets.bytes = bytes;
        offsets.record_written = true;
        offsets
    }

    /// A message was enqueued. A transient one is settled on disk from the start, so that no restart finds
    /// it.
    pub(in crate::broker::queue) fn enqueued(&mut self, offset: u64, size: u32, persistent: bool) {
        if persistent {
            self.bytes += u64::from(size);
        } else {
            self.settle(offset..offset + 1);
            self.gone(offset..offset + 1);
        }
        self.dirty = true;
    }

    /// A message was settled.
    pub(in crate::broker::queue) fn settled(&mut self, offset: u64, size: u32, persistent: bool) {
        if persistent {
            self.bytes = self.bytes.saturating_sub(u64::from(size));
            self.settle(offset..offset + 1);
        }
        self.dirty = true;
    }

    /// All messages in the range were settled; `bytes` of persistent messages are left in the log.
    pub(in crate::broker::queue) fn purged(&mut self, range: Range<u64>, bytes: u64) {
        self.settle(range);
        self.bytes = bytes;
        self.dirty = true;
    }

    /// These settled offsets never come back.
    pub(in crate::broker::queue) fn gone(&mut self, range: Range<u64>) {
        if let Some(gone) = self.gone.as_mut().filter(|_| self.durable) {
            gone.insert(range);
        }
        self.dirty = true;
    }

    /// The log has a history from now on. All offsets that are settled so far are gone.
    pub(in crate::broker::queue) fn begin_history(&mut self) {
        let gone = self.gone.get_or_insert_default();
        gone.replace(self.settled.set().clone());
        self.dirty |= self.record_written;
    }

    /// The log has no history any more. `stretches` are the first offsets of those that the disk has to
    /// remove.
    pub(in crate::broker::queue) fn end_history(&mut self, stretches: Vec<u64>) {
        let log = self.log;
        if let Some(mut gone) = self.gone.take().filter(|_| self.durable) {
            gone.replace(RangeSet::new());
            let removal = &mut self.history_removal;
            gone.collect(|page, _| removal.push(Op::RemoveGonePage { log, page }));
            let stretches = stretches.into_iter();
            removal.extend(stretches.map(|first| Op::RemoveStretch { log, first }));
        }
        self.dirty = true;
    }

    /// All offsets from `from` on that are not gone are unsettled again, with `bytes` of persistent messages.
    pub(in crate::broker::queue) fn rewound(&mut self, from: u64, bytes: u64) {
        if let Some(gone) = self.gone.as_ref().filter(|_| self.durable) {
            self.settled.remove_from(from, gone.set());
        }
        self.bytes += bytes;
        self.rewinds = self.rewinds.wrapping_add(1);
        self.dirty = true;
    }

    /// How often the log was rewound.
    pub(in crate::broker::queue) fn rewinds(&self) -> u32 {
        self.rewinds
    }

    /// Whether a restart finds the log.
    pub(in crate::broker::queue) fn is_durable(&self) -> bool {
        self.durable
    }

    /// All messages of the chunk that begins at `first` are gone.
    pub(in crate::broker::queue) fn emptied(&mut self, first: u64) {
        self.emptied.push(first);
        self.dirty = true;
    }

    /// A message has come back; the count is the new one.
    pub(in crate::broker::queue) fn returned(&mut self, offset: u64, count: ReturnCount) {
        self.counts.push((offset, Some(count)));
        self.dirty = true;
    }

    /// A message that had come back is settled: its count goes.
    pub(in crate::broker::queue) fn forget_count(&mut self, offset: u64) {
        self.counts.push((offset, None));
        self.dirty = true;
    }

    /// Bytes of the bodies of unsettled persistent messages.
    pub(in crate::broker::queue) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(in crate::broker::queue) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Moves all changes into `batch`. `next` is the log's next offset, `wrote` says whether this batch has a
    /// chunk of the log.
    pub(in crate::broker::queue) fn collect(&mut self, next: u64, wrote: bool, batch: &mut Batch) {
        let log = self.log;
        self.dirty = false;
        for first in self.emptied.drain(..) {
            batch.push(Op::RemoveChunk { log, first });
        }
        for (offset, count) in self.counts.drain(..) {
            batch.push(match count {
                Some(count) => Op::PutReturnCount { log, offset, count },
                None => Op::RemoveReturnCount { log, offset },
            });
        }
        if self.durable {
            self.collect_pages(batch);
        }
        // A log that is not durable needs its record once: a restart finds the log's chunks by it, and
        // removes them.
        if self.durable || (wrote && !self.record_written) {
            self.record_written = true;
            if self.settled.floor() >= next {
                self.bytes = 0; // averages may have left a remainder
            }
            let record = LogRecord {
                next,
                floor: self.settled.floor(),
                bytes: self.bytes,
                history_from: self.gone.as_ref().map(PagedSet::floor),
                rewinds: self.rewinds,
            };
            batch.push(Op::PutLog { log, record });
        }
    }

    fn collect_pages(&mut self, batch: &mut Batch) {
        let log = self.log;
        for op in self.history_removal.drain(..) {
            batch.push(op);
        }
        self.settled.collect(|page, change| {
            batch.push(match change {
                PageChange::Put(settled) => Op::PutSettledPage { log, page, settled },
                PageChange::Remove => Op::RemoveSettledPage { log, page },
            });
        });
        if let Some(gone) = &mut self.gone {
            gone.collect(|page, change| {
                batch.push(match change {
                    PageChange::Put(gone) => Op::PutGonePage { log, page, gone },
                    PageChange::Remove => Op::RemoveGonePage { log, page },
                });
            });
        }
    }

    fn settle(&mut self, range: Range<u64>) {
        if self.durable {
            self.settled.insert(range);
        }
    }
}
