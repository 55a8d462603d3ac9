//! The store without a disk: batches last as long as the process. For tests and for brokers without a data
//! directory.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    Batch, DefinitionEntry, Journal, LogRecord, LogState, Op, PageBits, RangeSet, ReceiveRecord,
    ReturnCount, Segment, Store, StoreError, StoredChunk, StretchRecord, chunk,
};
use crate::model::LogId;

#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }
}

impl Journal for MemoryStore {
    /// Also applies the batch.
    fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut tables = self.tables.lock();
        tables.apply(batch);
        tables.handed_out = None;
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn apply(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn ends_in_order(&self, handed_out: Vec<(LogId, u64)>) {
        self.tables.lock().handed_out = Some(handed_out);
    }

    fn reopen(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Store for MemoryStore {
    fn read(
        &self,
        log: LogId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<StoredChunk>, StoreError> {
        Ok(self.tables.lock().read(log, from, max_bytes))
    }

    fn logs(&self) -> Result<Vec<(LogId, LogState)>, StoreError> {
        Ok(self.tables.lock().logs())
    }

    fn definitions(&self, prefix: &[u8]) -> Result<Vec<DefinitionEntry>, StoreError> {
        Ok(self.tables.lock().definitions(prefix))
    }

    fn sweep_settled(&self) -> Result<(), StoreError> {
        self.tables.lock().sweep_settled();
        Ok(())
    }
}

/// The contents of a store as plain maps: the simplest implementation of [`Store`]'s promises.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    chunks: BTreeMap<(LogId, u64), Bytes>,
    logs: BTreeMap<LogId, LogRecord>,
    pages: BTreeMap<(LogId, u64), PageBits>,
    counts: BTreeMap<(LogId, u64), ReturnCount>,
    segments: BTreeMap<(LogId, u64), Segment>,
    receives: BTreeMap<(LogId, u64), ReceiveRecord>,
    gone: BTreeMap<(LogId, u64), PageBits>,
    stretches: BTreeMap<(LogId, u64), StretchRecord>,
    meta: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What was handed out, once the run has ended in order.
    handed_out: Option<Vec<(LogId, u64)>>,
}

impl Tables {
    pub(super) fn apply(&mut self, batch: &Batch) {
        for op in &batch.ops {
            self.apply_op(op);
        }
    }

    fn apply_op(&mut self, op: &Op) {
        match op {
            Op::PutChunk { log, first, chunk } => {
                self.chunks.insert((*log, *first), chunk.clone());
            }
            Op::RemoveChunk { log, first } => {
                self.chunks.remove(&(*log, *first));
            }
            Op::Sweep { log, offsets } => self.sweep(*log, offsets),
            Op::PutLog { log, record } => {
                self.logs.insert(*log, *record);
            }
            Op::RemoveLog { log } => {
                self.logs.remove(log);
                remove_log(&mut self.chunks, *log);
                remove_log(&mut self.pages, *log);
                remove_log(&mut self.counts, *log);
                remove_log(&mut self.segments, *log);
                remove_log(&mut self.receives, *log);
                remove_log(&mut self.gone, *log);
                remove_log(&mut self.stretches, *log);
            }
            Op::PutSettledPage { log, page, settled } => {
                self.pages.insert((*log, *page), settled.clone());
            }
            Op::RemoveSettledPage { log, page } => {
                self.pages.remove(&(*log, *page));
            }
            Op::PutReturnCount { log, offset, count } => {
                self.counts.insert((*log, *offset), *count);
            }
            Op::RemoveReturnCount { log, offset } => {
                self.counts.remove(&(*log, *offset));
            }
            Op::PutSegment { log, segment } => {
                self.segments.insert((*log, segment.first), *segment);
            }
            Op::RemoveSegment { log, first } => {
                self.segments.remove(&(*log, *first));
            }
            Op::PutReceive { log, receive } => {
                self.receives
                    .insert((*log, receive.number), receive.clone());
            }
            Op::RemoveReceive { log, number } => {
                self.receives.remove(&(*log, *number));
            }
            Op::PutGonePage { log, page, gone } => {
                self.gone.insert((*log, *page), gone.clone());
            }
            Op::RemoveGonePage { log, page } => {
                self.gone.remove(&(*log, *page));
            }
            Op::PutStretch {
                log,
                first,
                stretch,
            } => {
                self.stretches.insert((*log, *first), *stretch);
            }
            Op::RemoveStretch { log, first } => {
                self.stretches.remove(&(*log, *first));
            }
            Op::PutDefinition { key, value } => {
                self.meta.insert(key.clone(), value.clone());
            }
            Op::RemoveDefinition { key } => {
                self.meta.remove(key);
            }
        }
    }

    pub(super) fn read(&self, log: LogId, from: u64, max_bytes: usize) -> Vec<StoredChunk> {
        let before = self.chunks.range((log, 0)..=(log, from)).next_back();
        let start = match before {
            Some((&(_, first), data)) if first + messages_in(data) > from => first,
            _ => from,
        };
        let mut bytes = 0;
        let mut found = Vec::new();
        for (&(_, first), data) in self.chunks.range((log, start)..=(log, u64::MAX)) {
            bytes += data.len();
            found.push(StoredChunk {
                first,
                data: data.clone(),
            });
            if bytes >= max_bytes {
                break;
            }
        }
        found
    }

    pub(super) fn logs(&self) -> Vec<(LogId, LogState)> {
        self.logs
            .iter()
            .map(|(&log, &record)| {
                let settled = pages(&self.pages, log, record.floor);
                let gone = pages(&self.gone, log, record.history_from.unwrap_or(0));
                let stretches = self.stretches.range((log, 0)..=(log, u64::MAX));
                let counts = self
                    .counts
                    .range((log, record.floor)..=(log, u64::MAX))
                    .map(|(&(_, offset), &count)| (offset, count))
                    .collect();
                let segments = self
                    .segments
                    .range((log, 0)..=(log, u64::MAX))
                    .map(|(_, segment)| *segment)
                    .collect();
                let receives = self
                    .receives
                    .range((log, 0)..=(log, u64::MAX))
                    .map(|(_, receive)| receive.clone())
                    .collect();
                (
                    log,
                    LogState {
                        record,
                        settled,
                        counts,
                        segments,
                        receives,
                        gone,
                        missing: RangeSet::new(),
                        handed_out_below: self.handed_out.as_ref().and_then(|all| {
                            let mut all = all.iter();
                            all.find(|(of, _)| *of == log).map(|(_, below)| *below)
                        }),
                        stretches: stretches
                            .map(|(&(_, first), &stretch)| (first, stretch))
                            .collect(),
                    },
                )
            })
            .collect()
    }

    pub(super) fn definitions(&self, prefix: &[u8]) -> Vec<DefinitionEntry> {
        self.meta
            .range(prefix.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    pub(super) fn has_definition(&self, key: &[u8]) -> bool {
        self.meta.contains_key(key)
    }

    pub(super) fn sweep_settled(&mut self) {
        for (log, state) in self.logs() {
            for offsets in state.gone_for_good().iter() {
                self.sweep(log, &offsets);
            }
        }
    }

    /// Removes the chunks that lie wholly in the range.
    fn sweep(&mut self, log: LogId, offsets: &Range<u64>) {
        let gone: Vec<_> = self
            .chunks
            .range((log, offsets.start)..(log, offsets.end))
            .filter(|((_, first), data)| first + messages_in(data) <= offsets.end)
            .map(|(key, _)| *key)
            .collect();
        for key in &gone {
            self.chunks.remove(key);
        }
    }
}

/// A set of offsets at or above `floor` from its pages.
fn pages(table: &BTreeMap<(LogId, u64), PageBits>, log: LogId, floor: u64) -> RangeSet {
    let mut set = RangeSet::new();
    for (&(_, page), bits) in table.range((log, 0)..=(log, u64::MAX)) {
        set.insert_page(page, bits);
    }
    set.remove_below(floor);
    set
}

/// Messages in a chunk. A damaged chunk counts as one message, since at least its first offset is taken.
fn messages_in(data: &Bytes) -> u64 {
    chunk::count(data).map_or(1, u64::from)
}

fn remove_log<V>(table: &mut BTreeMap<(LogId, u64), V>, log: LogId) {
    let gone: Vec<_> = table
        .range((log, 0)..=(log, u64::MAX))
        .map(|(key, _)| *key)
        .collect();
    for key in gone {
        table.remove(&key);
    }
}
