//! What the disk has to be told about one log: its record, the pages of settled offsets, delivery counts, chunks
//! that are no longer needed. Knows nothing of what is in memory.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::model::LogId;
use crate::store::{Batch, LogRecord, Op, RangeSet, page_of};

/// The account of one log towards the disk.
pub(super) struct Ledger {
    log: LogId,
    /// Whether what happens is to be known after a restart.
    durable: bool,
    /// Settled offsets as a restart would see them: those that are settled, and all transient messages.
    settled: RangeSet,
    /// Bytes of unsettled persistent messages.
    bytes: u64,
    /// Chunks whose messages are all settled, by their first offset.
    emptied: Vec<u64>,
    /// Changes of delivery counts; `None` forgets one.
    counts: Vec<(u64, Option<u32>)>,
    dirty_pages: BTreeSet<u64>,
    written_pages: BTreeSet<u64>,
    dirty: bool,
    record_written: bool,
}

impl Ledger {
    pub(super) fn new(log: LogId, durable: bool) -> Self {
        Ledger {
            log,
            durable,
            settled: RangeSet::default(),
            bytes: 0,
            emptied: Vec::new(),
            counts: Vec::new(),
            dirty_pages: BTreeSet::new(),
            written_pages: BTreeSet::new(),
            dirty: false,
            record_written: false,
        }
    }

    /// The account as it was when the broker stopped. `settled` has everything below the record's floor in it.
    pub(super) fn recover(log: LogId, record: LogRecord, settled: RangeSet, bytes: u64) -> Self {
        let mut ledger = Ledger::new(log, true);
        for range in settled.iter_in(record.floor..record.next) {
            let pages = page_of(range.start)..=page_of(range.end - 1);
            ledger.written_pages.extend(pages);
        }
        ledger.settled = settled;
        ledger.bytes = bytes;
        ledger.record_written = true;
        ledger
    }

    /// A message was enqueued. A transient one counts as settled from the start: a restart is not to find it.
    pub(super) fn enqueued(&mut self, offset: u64, size: u32, persistent: bool) {
        if persistent {
            self.bytes += u64::from(size);
        } else {
            self.settle(offset..offset + 1);
        }
        self.dirty = true;
    }

    /// A message was settled.
    pub(super) fn settled(&mut self, offset: u64, size: u32, persistent: bool) {
        if persistent {
            self.bytes = self.bytes.saturating_sub(u64::from(size));
            self.settle(offset..offset + 1);
        }
        self.dirty = true;
    }

    /// Everything in the range was settled at once; `bytes` of persistent messages are left in the log.
    pub(super) fn purged(&mut self, range: Range<u64>, bytes: u64) {
        self.settle(range);
        self.bytes = bytes;
        self.dirty = true;
    }

    /// All messages of the chunk that begins at `first` are settled.
    pub(super) fn emptied(&mut self, first: u64) {
        self.emptied.push(first);
        self.dirty = true;
    }

    /// A message has come back so often by now.
    pub(super) fn returned(&mut self, offset: u64, count: u32) {
        self.counts.push((offset, Some(count)));
        self.dirty = true;
    }

    /// A message that had come back is settled.
    pub(super) fn forget_count(&mut self, offset: u64) {
        self.counts.push((offset, None));
        self.dirty = true;
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Moves what is to be written into `batch`. `next` is the log's next offset, `wrote` whether a chunk of it is in
    /// this batch.
    pub(super) fn collect(&mut self, next: u64, wrote: bool, batch: &mut Batch) {
        let log = self.log;
        self.dirty = false;
        for first in self.emptied.drain(..) {
            batch.push(Op::RemoveChunk { log, first });
        }
        for (offset, count) in self.counts.drain(..) {
            batch.push(match count {
                Some(count) => Op::PutCount { log, offset, count },
                None => Op::RemoveCount { log, offset },
            });
        }
        if self.durable {
            self.collect_pages(batch);
        }
        // A log that is not durable needs its record just once: a restart finds the log by it, and drops it.
        if self.durable || (wrote && !self.record_written) {
            self.record_written = true;
            let floor = self.settled.first_gap(0);
            let record = LogRecord {
                next,
                floor,
                bytes: self.bytes,
                ..LogRecord::default()
            };
            batch.push(Op::PutLog { log, record });
        }
    }

    fn collect_pages(&mut self, batch: &mut Batch) {
        let log = self.log;
        let floor_page = page_of(self.settled.first_gap(0));
        for page in std::mem::take(&mut self.dirty_pages) {
            if page >= floor_page {
                let settled = self.settled.page(page);
                batch.push(Op::PutPage { log, page, settled });
                self.written_pages.insert(page);
            }
        }
        while let Some(page) = self
            .written_pages
            .first()
            .copied()
            .filter(|page| *page < floor_page)
        {
            self.written_pages.remove(&page);
            batch.push(Op::RemovePage { log, page });
        }
    }

    fn settle(&mut self, range: Range<u64>) {
        if !self.durable || range.is_empty() {
            return;
        }
        self.settled.insert_range(range.clone());
        // What the floor has passed needs no page: the log's record says it.
        let floor = self.settled.first_gap(0);
        if range.end > floor {
            self.dirty_pages
                .extend(page_of(range.start.max(floor))..=page_of(range.end - 1));
        }
    }
}
