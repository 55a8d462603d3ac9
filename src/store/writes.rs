//! Turns a batch into writes of keys and values. Pure. The database gives all writes of a batch one sequence
//! number, so only the last write of each key may remain.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use super::keys::{self, KeyspaceName};
use super::{Batch, Op};
use crate::model::LogId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) space: KeyspaceName,
    pub(super) key: Bytes,
    pub(super) change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Put(Bytes),
    Remove,
    /// Puts a chunk. The write's key is for a chunk in the database itself.
    PutChunk(LogId, u64, Bytes),
    /// Removes a chunk, which was put exactly once: if the put is still in memory, neither reaches a table.
    RemoveChunk(LogId, u64),
    /// Removes the chunks that lie wholly in a range, in the background.
    Sweep(LogId, Range<u64>),
}

/// The writes of a batch, one per key.
#[derive(Debug, Default)]
pub(super) struct KeyWrites {
    writes: Vec<Option<Write>>,
    places: HashMap<(KeyspaceName, Bytes), usize, Xxh3DefaultBuilder>,
    /// Logs that the batch removes.
    pub(super) removed_logs: HashSet<LogId>,
    /// Chunks that the batch removes.
    pub(super) removed_chunks: u64,
}

impl KeyWrites {
    /// The writes of a batch, without writes to removed logs.
    pub(super) fn new(batch: &Batch, is_dead: impl Fn(&LogId) -> bool) -> KeyWrites {
        let mut plan = KeyWrites::default();
        plan.writes.reserve(batch.ops.len() + 1);
        plan.places.reserve(batch.ops.len());
        for op in &batch.ops {
            let alive = |log: &LogId| !is_dead(log) && !plan.removed_logs.contains(log);
            match op {
                Op::PutChunk { log, first, chunk } if alive(log) => {
                    plan.set(
                        KeyspaceName::Msgs,
                        &keys::chunk(*log, *first),
                        Change::PutChunk(*log, *first, chunk.clone()),
                    );
                }
                Op::RemoveChunk { log, first } if alive(log) => {
                    plan.removed_chunks += 1;
                    plan.set(
                        KeyspaceName::Msgs,
                        &keys::chunk(*log, *first),
                        Change::RemoveChunk(*log, *first),
                    );
                }
                Op::Sweep { log, offsets } if alive(log) => {
                    plan.set(
                        KeyspaceName::Msgs,
                        &keys::sweep(*log, offsets),
                        Change::Sweep(*log, offsets.clone()),
                    );
                }
                Op::PutLog { log, record } if alive(log) => {
                    let value = record.encode().into();
                    plan.set(
                        KeyspaceName::State,
                        &keys::of_log(keys::RECORD, *log),
                        Change::Put(value),
                    );
                }
                Op::RemoveLog { log } => plan.remove_log(*log),
                Op::PutSettledPage { log, page, settled } if alive(log) => {
                    let key = keys::of_part(keys::SETTLED_PAGE, *log, *page);
                    plan.set(
                        KeyspaceName::State,
                        &key,
                        Change::Put(settled.encode().into()),
                    );
                }
                Op::RemoveSettledPage { log, page } if alive(log) => {
                    plan.set(
                        KeyspaceName::State,
                        &keys::of_part(keys::SETTLED_PAGE, *log, *page),
                        Change::Remove,
                    );
                }
                Op::PutReturnCount { log, offset, count } if alive(log) => {
                    let key = keys::of_part(keys::RETURN_COUNT, *log, *offset);
                    let value = count.encode().into();
                    plan.set(KeyspaceName::State, &key, Change::Put(value));
                }
                Op::RemoveReturnCount { log, offset } if alive(log) => {
                    let key = keys::of_part(keys::RETURN_COUNT, *log, *offset);
                    plan.set(KeyspaceName::State, &key, Change::Remove);
                }
                Op::PutSegment { log, segment } if alive(log) => {
                    let key = keys::of_part(keys::SEGMENT, *log, segment.first);
                    plan.set(
                        KeyspaceName::State,
                        &key,
                        Change::Put(segment.encode().into()),
                    );
                }
                Op::RemoveSegment { log, first } if alive(log) => {
                    let key = keys::of_part(keys::SEGMENT, *log, *first);
                    plan.set(KeyspaceName::State, &key, Change::Remove);
                }
                Op::PutReceive { log, receive } if alive(log) => {
                    let key = keys::of_part(keys::RECEIVE, *log, receive.number);
                    plan.set(
                        KeyspaceName::State,
                        &key,
                        Change::Put(receive.encode().into()),
                    );
                }
                Op::RemoveReceive { log, number } if alive(log) => {
                    let key = keys::of_part(keys::RECEIVE, *log, *number);
                    plan.set(KeyspaceName::State, &key, Change::Remove);
                }
                Op::PutGonePage { log, page, gone } if alive(log) => {
                    let key = keys::of_part(keys::GONE_PAGE, *log, *page);
                    plan.set(KeyspaceName::State, &key, Change::Put(gone.encode().into()));
                }
                Op::RemoveGonePage { log, page } if alive(log) => {
                    let key = keys::of_part(keys::GONE_PAGE, *log, *page);
                    plan.set(KeyspaceName::State, &key, Change::Remove);
                }
                Op::PutStretch {
                    log,
                    first,
                    stretch,
                } if alive(log) => {
                    let key = keys::of_part(keys::STRETCH, *log, *first);
                    plan.set(
                        KeyspaceName::State,
                        &key,
                        Change::Put(stretch.encode().into()),
                    );
                }
                Op::RemoveStretch { log, first } if alive(log) => {
                    let key = keys::of_part(keys::STRETCH, *log, *first);
                    plan.set(KeyspaceName::State, &key, Change::Remove);
                }
                Op::PutDefinition { key, value } => {
                    let value = Bytes::copy_from_slice(value);
                    plan.set(
                        KeyspaceName::Meta,
                        &keys::definition(key),
                        Change::Put(value),
                    );
                }
                Op::RemoveDefinition { key } => {
                    plan.set(KeyspaceName::Meta, &keys::definition(key), Change::Remove);
                }
                Op::PutChunk { .. }
                | Op::RemoveChunk { .. }
                | Op::Sweep { .. }
                | Op::PutLog { .. }
                | Op::PutSettledPage { .. }
                | Op::RemoveSettledPage { .. }
                | Op::PutReturnCount { .. }
                | Op::RemoveReturnCount { .. }
                | Op::PutSegment { .. }
                | Op::RemoveSegment { .. }
                | Op::PutReceive { .. }
                | Op::RemoveReceive { .. }
                | Op::PutGonePage { .. }
                | Op::RemoveGonePage { .. }
                | Op::PutStretch { .. }
                | Op::RemoveStretch { .. } => {} // for a removed log
            }
        }
        plan
    }

    /// The writes, each key once.
    pub(super) fn into_writes(self) -> Vec<Write> {
        self.writes.into_iter().flatten().collect()
    }

    fn remove_log(&mut self, log: LogId) {
        self.removed_logs.insert(log);
        self.set(
            KeyspaceName::State,
            &keys::of_log(keys::RECORD, log),
            Change::Remove,
        );
        self.set(
            KeyspaceName::State,
            &keys::of_log(keys::TOMB, log),
            Change::Put(Bytes::new()),
        );
    }

    fn set(&mut self, space: KeyspaceName, key: &[u8], change: Change) {
        let key = Bytes::copy_from_slice(key);
        let place = self.places.insert((space, key.clone()), self.writes.len());
        let before = place
            .and_then(|at| self.writes.get_mut(at))
            .and_then(Option::take);
        let put_now = before.is_some_and(|write| matches!(write.change, Change::PutChunk(..)));
        // A chunk that is put and removed in one batch needs neither write.
        let removed = matches!(change, Change::RemoveChunk(..));
        let write = (!removed || !put_now).then_some(Write { space, key, change });
        self.writes.push(write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LogRecord;

    fn writes(ops: Vec<Op>, dead: &[LogId]) -> Vec<(KeyspaceName, Vec<u8>, Change)> {
        let batch: Batch = ops.into_iter().collect();
        KeyWrites::new(&batch, |log| dead.contains(log))
            .into_writes()
            .into_iter()
            .map(|write| (write.space, write.key.to_vec(), write.change))
            .collect()
    }

    const LOG: LogId = LogId(7);

    fn put_chunk(first: u64) -> Op {
        Op::PutChunk {
            log: LOG,
            first,
            chunk: Bytes::from_static(b"chunk"),
        }
    }

    fn put_log(next: u64) -> Op {
        Op::PutLog {
            log: LOG,
            record: LogRecord {
                next,
                ..LogRecord::default()
            },
        }
    }

    #[test]
    fn the_last_write_of_a_key_remains() {
        let left = writes(vec![put_log(1), put_log(2)], &[]);
        let record = LogRecord {
            next: 2,
            ..LogRecord::default()
        };
        let key = keys::of_log(keys::RECORD, LOG).to_vec();
        assert_eq!(
            left,
            [(
                KeyspaceName::State,
                key,
                Change::Put(record.encode().into())
            )]
        );
        let key = b"k".to_vec();
        let left = writes(
            vec![
                Op::PutDefinition {
                    key: key.clone(),
                    value: vec![1],
                },
                Op::RemoveDefinition { key },
            ],
            &[],
        );
        assert_eq!(left, [(KeyspaceName::Meta, b"mk".to_vec(), Change::Remove)]);
    }

    #[test]
    fn a_chunk_put_and_removed_in_one_batch_is_not_written() {
        let remove = Op::RemoveChunk { log: LOG, first: 3 };
        assert_eq!(writes(vec![put_chunk(3), remove.clone()], &[]), []);
        let key = keys::chunk(LOG, 3).to_vec();
        assert_eq!(
            writes(vec![remove], &[]),
            [(KeyspaceName::Msgs, key, Change::RemoveChunk(LOG, 3))]
        );
    }

    #[test]
    fn nothing_is_written_to_a_removed_log() {
        let removal = [
            (
                KeyspaceName::State,
                keys::of_log(keys::RECORD, LOG).to_vec(),
                Change::Remove,
            ),
            (
                KeyspaceName::State,
                keys::of_log(keys::TOMB, LOG).to_vec(),
                Change::Put(Bytes::new()),
            ),
        ];
        let ops = vec![
            put_log(1),
            Op::RemoveLog { log: LOG },
            put_log(2),
            put_chunk(1),
        ];
        assert_eq!(writes(ops, &[]), removal);
        assert_eq!(writes(vec![put_log(2), put_chunk(1)], &[LOG]), []);
        assert_eq!(
            writes(vec![Op::RemoveLog { log: LOG }], &[LOG]),
            removal,
            "a second try"
        );
    }
}
