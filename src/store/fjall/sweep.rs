//! Sweeps in small batches, in the background: chunks that no read needs again, and all keys of removed logs.

use std::ops::Range;

use ::fjall::{Guard, UserKey};

use super::chunks::remove;
use super::core::Core;
use super::error::{corrupt, decode_address, failed, is_damage};
use super::keys::{self, ChunkKey};
use super::open::OpenDatabase;
use crate::model::LogId;
use crate::store::extents::{ChunkAddress, Writer};
use crate::store::{LogRecord, StoreError, chunk};

impl Core {
    /// Reads the tombstones. Returns the removed logs that are not fully swept and that memory does not know
    /// yet.
    pub(super) fn load_tombs(&self) -> Result<Vec<LogId>, StoreError> {
        let mut remains = Vec::new();
        for entry in self.open()?.state.prefix([keys::TOMB]) {
            let key = entry.key().map_err(failed("reading"))?;
            if let Some((_, log, _)) = keys::parse_state(&key) {
                remains.push(log);
            }
        }
        let mut removed = self.removed.lock();
        removed.cursors.clear();
        remains.retain(|log| removed.dead.insert(*log));
        Ok(remains)
    }

    /// See [`Store::sweep`].
    pub(super) fn sweep(&self, log: LogId, below: u64, max: usize) -> Result<bool, StoreError> {
        let open = self.open()?;
        let writer = open.extents.writer(); // no chunk moves while this is held
        let Some(value) = open
            .state
            .get(keys::of_log(keys::RECORD, log))
            .map_err(failed("reading"))?
        else {
            return Ok(true); // `sweep_removed` sweeps a removed log
        };
        let record = LogRecord::decode(&value).map_err(corrupt("log record", log))?;
        let below = below.min(record.floor);
        let from = self.cursor(log);
        let mut gone = Vec::new();
        let mut done = true;
        if from < below {
            for entry in open.msgs.range(keys::chunks(log, from..=below - 1)) {
                gone.push(Remains::read(entry)?);
                if gone.len() > max {
                    done = false;
                    break;
                }
            }
        }
        // Only the last chunk may extend beyond `below`, since each of the others ends before the next
        // begins.
        let last = gone.pop();
        let mut cursor = last.as_ref().map(|last| last.first);
        if done
            && let Some(last) = last
            && open.ends_within(&last, below)?
        {
            cursor = Some(last.first + 1);
            gone.push(last);
        }
        open.remove_remains(&gone, &writer)?;
        drop(writer);
        if let Some(cursor) = cursor {
            self.removed.lock().cursors.insert(log, cursor);
        }
        Ok(done)
    }

    /// See [`Store::sweep_range`]. Also returns the number of removed chunks.
    pub(super) fn sweep_range(
        &self,
        log: LogId,
        range: Range<u64>,
        max: usize,
    ) -> Result<(Option<u64>, u64), StoreError> {
        let open = self.open()?;
        if range.is_empty() || self.removed.lock().dead.contains(&log) {
            return Ok((None, 0));
        }
        let writer = open.extents.writer(); // no chunk moves while this is held
        let mut gone = Vec::new();
        let chunks = keys::chunks(log, range.start..=range.end - 1);
        for entry in open.msgs.range(chunks).take(max.saturating_add(1)) {
            gone.push(Remains::read(entry)?);
        }
        // Only the last chunk may extend beyond the range, since each of the others ends before the next
        // begins.
        let last = gone.pop();
        let more = gone.len() >= max;
        let next = last.as_ref().map(|last| last.first).filter(|_| more);
        if !more
            && let Some(last) = last
            && open.ends_within(&last, range.end)?
        {
            gone.push(last);
        }
        open.remove_remains(&gone, &writer)?;
        drop(writer);
        Ok((next, gone.len() as u64))
    }

    fn cursor(&self, log: LogId) -> u64 {
        self.removed.lock().cursors.get(&log).copied().unwrap_or(0)
    }

    /// Removes up to `max` keys of a removed log. True when none was left, and the tombstone is removed too.
    pub(in crate::store) fn sweep_removed(
        &self,
        log: LogId,
        max: usize,
    ) -> Result<bool, StoreError> {
        let open = self.open()?;
        let writer = open.extents.writer(); // no chunk moves while this is held
        let mut writes = open.batch(max);
        let mut cursor = self.cursor(log);
        let mut gone = Vec::new();
        for entry in open
            .msgs
            .range(keys::chunks(log, cursor..=u64::MAX))
            .take(max)
        {
            let remains = Remains::read(entry)?;
            cursor = remains.first;
            remove(&mut writes, &open.msgs, &remains.key);
            gone.push(remains);
        }
        for prefix in keys::PARTS {
            for entry in open.state.prefix(keys::of_log(prefix, log)).take(max) {
                writes.remove(&open.state, entry.key().map_err(failed("reading"))?);
            }
        }
        let done = writes.is_empty();
        if done {
            writes.remove(&open.state, keys::of_log(keys::TOMB, log));
        }
        open.commit(writes, None, &writer)
            .map_err(failed("sweeping"))?;
        open.extents.released(&addresses(&gone));
        drop(writer);
        let mut removed = self.removed.lock();
        if done {
            removed.sweep_ended(log);
        } else {
            removed.cursors.insert(log, cursor);
        }
        Ok(done)
    }
}

/// The entry of a chunk that a sweep may remove.
struct Remains {
    key: UserKey,
    first: u64,
    /// Its address, if it is in an extent.
    address: Option<ChunkAddress>,
}

impl Remains {
    /// Reads the key and the address, but not the chunk.
    fn read(entry: Guard) -> Result<Remains, StoreError> {
        let (key, address) = entry
            .into_inner_if(|key| keys::is_chunk_address(key))
            .map_err(failed("reading"))?;
        let (log, first) = match keys::parse_chunk(&key) {
            Some(ChunkKey::Chunk(log, first) | ChunkKey::Address(log, first, _)) => (log, first),
            None => return Err(StoreError::Corrupt(format!("chunk key {key:?}"))),
        };
        let address = address
            .map(|address| decode_address(log, &address))
            .transpose()?;
        Ok(Remains {
            key,
            first,
            address,
        })
    }
}

fn addresses(remains: &[Remains]) -> Vec<ChunkAddress> {
    remains
        .iter()
        .filter_map(|remains| remains.address)
        .collect()
}

impl OpenDatabase {
    fn remove_remains(&self, gone: &[Remains], writer: &Writer<'_>) -> Result<(), StoreError> {
        let mut writes = self.batch(gone.len());
        for remains in gone {
            remove(&mut writes, &self.msgs, &remains.key);
        }
        self.commit(writes, None, writer)
            .map_err(failed("sweeping"))?;
        self.extents.released(&addresses(gone));
        Ok(())
    }

    /// Whether a chunk ends at or before `end`. False for an unreadable chunk, which therefore stays.
    fn ends_within(&self, remains: &Remains, end: u64) -> Result<bool, StoreError> {
        let count = match &remains.address {
            Some(address) => Some(address.count),
            None => match self.msgs.get(&remains.key) {
                Ok(None) => Some(0),
                Ok(Some(data)) => chunk::count(&data).ok(),
                Err(error) if is_damage(&error) => None,
                Err(error) => return Err(failed("reading")(error)),
            },
        };
        Ok(count.is_some_and(|count| remains.first.saturating_add(u64::from(count)) <= end))
    }
}
