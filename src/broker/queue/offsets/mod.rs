//! What the disk has to be told about one log: its record, the pages of settled offsets, delivery counts, chunks
//! that are no longer needed. Knows nothing of what is in memory.

mod pages; // offsets as the disk has them

use std::ops::Range;

use crate::model::LogId;
use crate::store::{Batch, LogRecord, Op, RangeSet, ReturnCount};

use pages::{PageChange, Pages};

/// The account of one log towards the disk.
pub(in crate::broker::queue) struct Offsets {
    log: LogId,
    /// Whether what happens is to be known after a restart.
    durable: bool,
    /// Settled offsets as a restart would see them: those that are settled, and all transient messages.
    settled: Pages,
    /// In a log that keeps what was acked, those of them that never come back.
    gone: Option<Pages>,
    /// How often the log was rewound.
    rewinds: u32,
    /// Bytes of unsettled persistent messages.
    bytes: u64,
    /// Chunks that nobody reads again, by their first offset.
    emptied: Vec<u64>,
    /// Changes of delivery counts; `None` forgets one.
    counts: Vec<(u64, Option<ReturnCount>)>,
    /// What is to be written besides.
    loose: Vec<Op>,
    dirty: bool,
    record_written: bool,
}

impl Offsets {
    pub(in crate::broker::queue) fn new(log: LogId, durable: bool) -> Self {
        Offsets {
            log,
            durable,
            settled: Pages::default(),
            gone: None,
            rewinds: 0,
            bytes: 0,
            emptied: Vec::new(),
            counts: Vec::new(),
            loose: Vec::new(),
            dirty: false,
            record_written: false,
        }
    }

    /// The account as it was when the broker stopped. `settled` has everything below the record's floor in it, `gone`
    /// everything below its `history_from`.
    pub(in crate::broker::queue) fn recover(
        log: LogId,
        record: LogRecord,
        settled: RangeSet,
        gone: RangeSet,
        bytes: u64,
    ) -> Self {
        let mut offsets = Offsets::new(log, true);
        offsets.settled = Pages::recover(settled, record.floor, record.next);
        offsets.gone = record
            .history_from
            .map(|from| Pages::recover(gone, from, record.next));
        offsets.rewinds = record.rewinds;
        offsets.bytes = bytes;
        offsets.record_written = true;
        offsets
    }

    /// A message was enqueued. A transient one counts as settled from the start: a restart is not to find it.
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

    /// Everything in the range was settled at once; `bytes` of persistent messages are left in the log.
    pub(in crate::broker::queue) fn purged(&mut self, range: Range<u64>, bytes: u64) {
        self.settle(range);
        self.bytes = bytes;
        self.dirty = true;
    }

    /// Settled messages never come back.
    pub(in crate::broker::queue) fn gone(&mut self, range: Range<u64>) {
        if let Some(gone) = self.gone.as_mut().filter(|_| self.durable) {
            gone.insert(range);
        }
        self.dirty = true;
    }

    /// From now on it is told what of the settled messages never comes back: all of them, so far.
    pub(in crate::broker::queue) fn begin_history(&mut self) {
        let gone = self.gone.get_or_insert_default();
        gone.replace(self.settled.set().clone());
        self.dirty |= self.record_written;
    }

    /// Settled messages never come back any more; `marks` are to be removed.
    pub(in crate::broker::queue) fn end_history(&mut self, marks: Vec<u64>) {
        let log = self.log;
        if let Some(mut gone) = self.gone.take().filter(|_| self.durable) {
            gone.replace(RangeSet::new());
            let loose = &mut self.loose;
            gone.collect(|page, _| loose.push(Op::RemoveGonePage { log, page }));
            let marks = marks.into_iter();
            loose.extend(marks.map(|first| Op::RemoveStretch { log, first }));
        }
        self.dirty = true;
    }

    /// From `from` on, what can come back has: `bytes` of persistent messages.
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

    /// Whether what happens is to be known after a restart.
    pub(in crate::broker::queue) fn is_durable(&self) -> bool {
        self.durable
    }

    /// All messages of the chunk that begins at `first` are gone.
    pub(in crate::broker::queue) fn emptied(&mut self, first: u64) {
        self.emptied.push(first);
        self.dirty = true;
    }

    /// A message has come back so often by now.
    pub(in crate::broker::queue) fn returned(&mut self, offset: u64, count: ReturnCount) {
        self.counts.push((offset, Some(count)));
        self.dirty = true;
    }

    /// A message that had come back is settled.
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

    /// Moves what is to be written into `batch`. `next` is the log's next offset, `wrote` whether a chunk of it is in
    /// this batch.
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
        // A log that is not durable needs its record just once: a restart finds the log by it, and drops it.
        if self.durable || (wrote && !self.record_written) {
            self.record_written = true;
            if self.settled.floor() >= next {
                self.bytes = 0; // whatever was taken by an average
            }
            let record = LogRecord {
                next,
                floor: self.settled.floor(),
                bytes: self.bytes,
                history_from: self.gone.as_ref().map(Pages::floor),
                rewinds: self.rewinds,
            };
            batch.push(Op::PutLog { log, record });
        }
    }

    fn collect_pages(&mut self, batch: &mut Batch) {
        let log = self.log;
        for op in self.loose.drain(..) {
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
