//! Finds chunks by their addresses in the database, and reads them from the extents.

use std::cell::Cell;
use std::ops::RangeInclusive;

use ::fjall::{Guard, UserValue};
use bytes::Bytes;

use super::error::{failed, is_damage};
use super::keyspaces::Keyspaces;
use super::open::OpenDatabase;
use crate::model::LogId;
use crate::store::extents::{ChunkAddress, Extents};
use crate::store::keys::{self, ChunkKey};
use crate::store::{StoreError, StoredChunk, chunk};

/// A chunk's entry in the database.
pub(super) struct ChunkEntry {
    pub(super) log: LogId,
    pub(super) first: u64,
    pub(super) address: ChunkAddress,
}

impl ChunkEntry {
    /// Length of the chunk in bytes.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.address.bytes()).unwrap_or(usize::MAX)
    }

    /// The offset after the chunk's last message.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.address.count))
    }
}

/// Why an entry was not read.
pub(super) enum Unread {
    /// The entry is damaged. `first` is its first offset, if its key could be read.
    Damaged {
        first: Option<u64>,
        reason: String,
    },
    Failed(StoreError),
}

impl From<Unread> for StoreError {
    fn from(unread: Unread) -> StoreError {
        match unread {
            Unread::Damaged { reason, .. } => StoreError::Corrupt(reason),
            Unread::Failed(error) => error,
        }
    }
}

/// The result of loading one chunk.
pub(super) enum Loaded {
    Data(Bytes),
    /// The chunk was removed after its entry was found.
    Gone,
    Damaged,
}

impl OpenDatabase {
    /// See [`crate::store::Store::read`].
    pub(super) fn read(
        &self,
        log: LogId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<StoredChunk>, StoreError> {
        loop {
            let found = self.find_from(log, from, max_bytes)?;
            let none = found.is_empty();
            let chunks = self.load(found)?;
            // All found chunks may have been removed meanwhile, but more may follow them.
            if none || !chunks.is_empty() {
                return Ok(chunks);
            }
        }
    }

    /// Entries of the chunks of a log whose first offsets are in this range, in order. Reads no extent.
    pub(super) fn find(
        &self,
        log: LogId,
        firsts: RangeInclusive<u64>,
    ) -> impl DoubleEndedIterator<Item = Result<ChunkEntry, Unread>> {
        self.spaces.msgs.range(keys::chunks(log, firsts)).map(found)
    }

    /// Entries of chunks from the one that holds `from` on. Ends before an unreadable entry.
    fn find_from(
        &self,
        log: LogId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<ChunkEntry>, StoreError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        match self.chunk_holding(log, from) {
            Ok(Some(holder)) => {
                next = holder.first.saturating_add(1);
                bytes += holder.bytes();
                found.push(holder);
            }
            Ok(None) => {}
            Err(unread) => return self.behind(log, from, unread),
        }
        if bytes >= max_bytes && !found.is_empty() {
            return Ok(found);
        }
        for chunk in self.find(log, next..=u64::MAX) {
            match chunk {
                Ok(chunk) => {
                    bytes += chunk.bytes();
                    found.push(chunk);
                }
                Err(Unread::Damaged { .. }) if !found.is_empty() => break,
                Err(unread) => return self.behind(log, next, unread),
            }
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(found)
    }

    /// The chunk whose offsets include `from`. Reads no extent.
    fn chunk_holding(&self, log: LogId, from: u64) -> Result<Option<ChunkEntry>, Unread> {
        // The lower bound keeps the search from skipping long-removed keys one by one.
        let earliest = from.saturating_sub(u64::from(chunk::CHUNK_MESSAGES_MAX) - 1);
        let Some(found) = self.find(log, earliest..=from).next_back().transpose()? else {
            return Ok(None);
        };
        Ok((found.end() > from).then_some(found))
    }

    /// Handles an unreadable entry in a search from `from` on: returns a readable chunk before it, or else an
    /// error with the unreadable offsets.
    fn behind(&self, log: LogId, from: u64, unread: Unread) -> Result<Vec<ChunkEntry>, StoreError> {
        let (first, reason) = match unread {
            Unread::Damaged { first, reason } => (first, reason),
            Unread::Failed(error) => return Err(error),
        };
        let offsets = match first {
            Some(first) => first..self.next_readable(log, first.saturating_add(1)),
            None => {
                // The database fails before it returns the last readable entry. A search that ends there
                // finds it.
                if let Some(found) = self.before_damage(log, from) {
                    return Ok(vec![found]);
                }
                from..self.next_readable(log, from.saturating_add(1))
            }
        };
        Err(StoreError::Unreadable { offsets, reason })
    }

    /// The first chunk from `from` on, if it is before the unreadable entry.
    fn before_damage(&self, log: LogId, from: u64) -> Option<ChunkEntry> {
        let reaches = |last| matches!(self.find(log, from..=last).next(), Some(Err(_)));
        if reaches(from) {
            return None;
        }
        let (mut whole, mut damaged) = (from, u64::MAX);
        while damaged - whole > 1 {
            let middle = whole + halfway(whole - from, damaged - whole);
            match reaches(middle) {
                true => damaged = middle,
                false => whole = middle,
            }
        }
        self.find(log, from..=whole).next()?.ok()
    }

    /// The first offset of the next chunk at or after `from` with a readable key; `u64::MAX` without one.
    fn next_readable(&self, log: LogId, from: u64) -> u64 {
        let key_from = |at| {
            let mut entries = self.spaces.msgs.range(keys::chunks(log, at..=u64::MAX));
            entries.next().map(Guard::key).transpose()
        };
        let (mut damaged, mut readable) = (from, u64::MAX);
        if key_from(from).is_ok() {
            readable = from;
        }
        while readable - damaged > 1 {
            let middle = damaged + halfway(damaged - from, readable - damaged);
            match key_from(middle) {
                Ok(_) => readable = middle,
                Err(_) => damaged = middle,
            }
        }
        let key = key_from(readable).ok().flatten();
        match key.as_deref().and_then(keys::parse_chunk) {
            Some(ChunkKey::Chunk(_, first) | ChunkKey::Address(_, first, _)) => first,
            None => u64::MAX,
        }
    }

    /// Reads the chunks of these entries, without chunks that were removed meanwhile. Ends before an
    /// unreadable one.
    pub(super) fn load(&self, found: Vec<ChunkEntry>) -> Result<Vec<StoredChunk>, StoreError> {
        let addresses: Vec<ChunkAddress> = found.iter().map(|found| found.address).collect();
        let read = self.extents.read(&addresses)?;
        let mut chunks = Vec::with_capacity(found.len());
        for (
            ChunkEntry {
                log,
                first,
                address,
            },
            data,
        ) in found.into_iter().zip(read)
        {
            let loaded = match data {
                Some(data) => Loaded::Data(data),
                None => load_moved(&self.spaces, &self.extents, log, first, address)?,
            };
            match loaded {
                Loaded::Data(data) => chunks.push(StoredChunk { first, data }),
                Loaded::Gone => {}
                Loaded::Damaged if !chunks.is_empty() => break,
                Loaded::Damaged => {
                    let count = u64::from(address.count.max(1));
                    return Err(StoreError::Unreadable {
                        offsets: first..first.saturating_add(count),
                        reason: "its extent does not hold it".to_owned(),
                    });
                }
            }
        }
        Ok(chunks)
    }
}

/// Reads a chunk that is not at its address `before`: it was moved or removed meanwhile, or it is damaged.
pub(super) fn load_moved(
    spaces: &Keyspaces,
    extents: &Extents,
    log: LogId,
    first: u64,
    mut before: ChunkAddress,
) -> Result<Loaded, StoreError> {
    while let Some((_, now)) = spaces.address_of(log, first)? {
        if now == before {
            return Ok(Loaded::Damaged);
        }
        if let Some(data) = extents.read(&[now])?.pop().flatten() {
            return Ok(Loaded::Data(data));
        }
        before = now;
    }
    Ok(Loaded::Gone)
}

/// The next step of a search for a boundary in `left` offsets: doubles the distance covered so far, up to
/// half of `left`. Boundaries are usually near.
fn halfway(gone: u64, left: u64) -> u64 {
    gone.saturating_add(1).min(left / 2).max(1)
}

/// Reads an entry of `msgs`.
pub(super) fn found(entry: Guard) -> Result<ChunkEntry, Unread> {
    let key = Cell::new(None);
    let read = entry.into_inner_if(|found| {
        key.set(keys::parse_chunk(found));
        true
    });
    let damaged = |reason| {
        let first = key.get().map(|key| match key {
            ChunkKey::Chunk(_, first) | ChunkKey::Address(_, first, _) => first,
        });
        Unread::Damaged { first, reason }
    };
    let value = match read {
        Ok((_, value)) => value.unwrap_or_else(|| UserValue::from([])),
        Err(error) if is_damage(&error) => return Err(damaged(error.to_string())),
        Err(error) => return Err(Unread::Failed(failed("reading")(error))),
    };
    match key.get() {
        Some(ChunkKey::Address(log, first, _)) => match ChunkAddress::decode(&value) {
            Some(address) => Ok(ChunkEntry {
                log,
                first,
                address,
            }),
            None => Err(damaged("its address makes no sense".to_owned())),
        },
        Some(ChunkKey::Chunk(..)) | None => Err(damaged("its key makes no sense".to_owned())),
    }
}
