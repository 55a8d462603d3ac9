//! Sweeps in small batches, in the background: chunks that no read needs again, and all keys of removed logs. The log
//! has no entries about sweeps. What a crash undoes is swept again.

use std::ops::Range;

use ::fjall::{Guard, UserKey};

use super::core::Core;
use super::error::{decode_address, failed};
use super::keyspaces::remove;
use super::open::OpenDatabase;
use super::removed_logs::RemovedLogs;
use crate::model::LogId;
use crate::store::StoreError;
use crate::store::extents::ChunkAddress;
use crate::store::keys::{self, ChunkKey};

impl Core {
    /// Reads the tombstones. Returns the removed logs that are not fully swept.
    pub(super) fn load_tombs(&self) -> Result<Vec<LogId>, StoreError> {
        let mut remains = Vec::new();
        for entry in self.open()?.spaces.state.prefix([keys::TOMB]) {
            let key = entry.key().map_err(failed("reading"))?;
            if let Some((_, log, _)) = keys::parse_state(&key) {
                remains.push(log);
            }
        }
        let mut removed = self.removed.lock();
        removed.cursors.clear();
        removed.unmarked.clear();
        // A removal that was appended and is not durable is forgotten.
        let RemovedLogs { dead, swept, .. } = &mut *removed;
        *dead = swept.iter().chain(&remains).copied().collect();
        Ok(remains)
    }

    /// What was swept and a reopening has undone.
    pub(super) fn take_undone(&self) -> Vec<(LogId, Range<u64>)> {
        let parts = std::mem::take(&mut self.removed.lock().uncovered);
        let parts = parts.into_iter();
        parts.map(|((log, start), end)| (log, start..end)).collect()
    }

    /// Removes up to `max` chunks that lie wholly in `offsets`. Returns where to go on, `None` at the end, and the number of
    /// removed chunks.
    pub(super) fn sweep(
        &self,
        log: LogId,
        offsets: &Range<u64>,
        max: usize,
    ) -> Result<(Option<u64>, u64), StoreError> {
        let open = self.open()?;
        if self.removed.lock().dead.contains(&log) {
            return Ok((None, 0)); // `sweep_removed` sweeps it
        }
        let changing = open.changing(); // no chunk moves while this is held
        let cursor = self.cursor(log);
        let from = offsets.start.max(match offsets.start <= cursor {
            true => cursor,
            false => 0,
        });
        let mut gone = Vec::new();
        if from < offsets.end {
            let chunks = keys::chunks(log, from..=offsets.end - 1);
            for entry in open.spaces.msgs.range(chunks).take(max.saturating_add(1)) {
                gone.push(Remains::read(entry)?);
            }
        }
        let more = gone.len() > max;
        // Only the last chunk may extend beyond the range, since each of the others ends before the next
        // begins.
        let last = gone.pop();
        let mut end = offsets.end;
        match last {
            Some(last) if !more && last.ends_within(offsets.end) => gone.push(last),
            Some(last) => end = last.first,
            None => {}
        }
        open.remove_remains(&gone)?;
        drop(changing);
        let mut removed = self.removed.lock();
        if from == cursor {
            removed.cursors.insert(log, cursor.max(end));
        }
        if !gone.is_empty() {
            removed.part_swept(log, offsets.start..end);
        }
        drop(removed);
        Ok((more.then_some(end), gone.len() as u64))
    }

    fn cursor(&self, log: LogId) -> u64 {
        self.removed.lock().cursors.get(&log).copied().unwrap_or(0)
    }

    /// Removes up to `max` keys of a removed log. True when none was left. The tombstone goes after a checkpoint: it
    /// must not be lost before the keys are.
    pub(in crate::store) fn sweep_removed(
        &self,
        log: LogId,
        max: usize,
    ) -> Result<bool, StoreError> {
        let open = self.open()?;
        let changing = open.changing(); // no chunk moves while this is held
        let mut writes = open.spaces.batch(max);
        let mut cursor = self.cursor(log);
        let mut gone = Vec::new();
        for entry in open
            .spaces
            .msgs
            .range(keys::chunks(log, cursor..=u64::MAX))
            .take(max)
        {
            let remains = Remains::read(entry)?;
            cursor = remains.first;
            remove(&mut writes, &open.spaces.msgs, &remains.key);
            gone.push(remains);
        }
        for prefix in keys::PARTS {
            let state = &open.spaces.state;
            for entry in state.prefix(keys::of_log(prefix, log)).take(max) {
                writes.remove(state, entry.key().map_err(failed("reading"))?);
            }
        }
        let done = writes.is_empty();
        writes.commit().map_err(failed("sweeping"))?;
        open.extents.released(&addresses(&gone));
        drop(changing);
        let mut removed = self.removed.lock();
        if done {
            removed.sweep_ended(log);
        } else {
            removed.cursors.insert(log, cursor);
        }
        Ok(done)
    }
}

impl Core {
    /// Writes all memtables to tables, then removes the tombstones of the logs that were swept before. Gives up when
    /// `stop` holds, or the database is awaited; false then.
    pub(super) fn checkpoint(&self, stop: impl Fn() -> bool) -> Result<bool, StoreError> {
        let open = self.open()?;
        let (swept, parts) = {
            let mut removed = self.removed.lock();
            let swept = std::mem::take(&mut removed.unmarked);
            (swept, std::mem::take(&mut removed.uncovered))
        };
        self.manifests_change();
        let done = open.checkpoint(|| stop() || self.is_awaited());
        if !matches!(done, Ok(true)) {
            let mut removed = self.removed.lock();
            removed.unmarked.extend(swept);
            for ((log, start), end) in parts {
                removed.part_swept(log, start..end);
            }
            return done;
        }
        let changing = open.changing();
        let mut writes = open.spaces.batch(swept.len());
        for log in &swept {
            writes.remove(&open.spaces.state, keys::of_log(keys::TOMB, *log));
        }
        writes.commit().map_err(failed("sweeping"))?;
        drop(changing);
        let mut removed = self.removed.lock();
        swept.into_iter().for_each(|log| removed.tomb_removed(log));
        Ok(true)
    }
}

/// The entry of a chunk that a sweep may remove.
struct Remains {
    key: UserKey,
    first: u64,
    /// `None` for a chunk of format 2 that is still in the database.
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

impl Remains {
    /// Whether the chunk ends at or before `end`. False if nothing tells.
    fn ends_within(&self, end: u64) -> bool {
        self.address
            .is_some_and(|address| self.first.saturating_add(u64::from(address.count)) <= end)
    }
}

fn addresses(remains: &[Remains]) -> Vec<ChunkAddress> {
    remains
        .iter()
        .filter_map(|remains| remains.address)
        .collect()
}

impl OpenDatabase {
    fn remove_remains(&self, gone: &[Remains]) -> Result<(), StoreError> {
        let mut writes = self.spaces.batch(gone.len());
        for remains in gone {
            remove(&mut writes, &self.spaces.msgs, &remains.key);
        }
        writes.commit().map_err(failed("sweeping"))?;
        self.extents.released(&addresses(gone));
        Ok(())
    }
}
