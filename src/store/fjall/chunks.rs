//! Where chunks are and how they are read: in the database, or in an extent of which the database knows the place.

use std::ops::RangeInclusive;

use ::fjall::{Keyspace, OwnedWriteBatch};
use bytes::Bytes;

use super::{Open, corrupt, failed};
use crate::model::LogId;
use crate::store::extents::Place;
use crate::store::keys::{self, ChunkKey};
use crate::store::{StoreError, StoredChunk, chunk};

/// A chunk that the database knows of, not yet read from an extent.
pub(super) struct Found {
    pub(super) log: LogId,
    pub(super) first: u64,
    pub(super) data: Data,
}

/// Where the database says that a chunk is.
pub(super) enum Data {
    Here(Bytes),
    Placed(Place),
}

impl Found {
    /// Length of the chunk in bytes.
    pub(super) fn bytes(&self) -> usize {
        match &self.data {
            Data::Here(data) => data.len(),
            Data::Placed(place) => usize::try_from(place.bytes()).unwrap_or(usize::MAX),
        }
    }

    /// The offset after the chunk's last message. Reads no extent.
    pub(super) fn end(&self) -> Result<u64, StoreError> {
        let count = match &self.data {
            Data::Here(data) => chunk::count(data).map_err(corrupt("chunk", self.log))?,
            Data::Placed(place) => place.count,
        };
        Ok(self.first.saturating_add(u64::from(count)))
    }
}

impl Open {
    /// The chunks of a log that start in these offsets, in order. Reads no extent.
    pub(super) fn find(
        &self,
        log: LogId,
        firsts: RangeInclusive<u64>,
    ) -> impl DoubleEndedIterator<Item = Result<Found, StoreError>> {
        self.msgs
            .range(keys::chunks(log, firsts))
            .map(move |entry| found(entry.into_inner().map_err(failed("reading"))?))
    }

    /// The chunk that holds `from`, or the next one, and those that follow; see [`crate::store::Store::read`].
    pub(super) fn find_from(
        &self,
        log: LogId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Found>, StoreError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        if let Some(holder) = self.chunk_holding(log, from)? {
            next = holder.first.saturating_add(1);
            bytes += holder.bytes();
            found.push(holder);
        }
        if bytes >= max_bytes && !found.is_empty() {
            return Ok(found);
        }
        for chunk in self.find(log, next..=u64::MAX) {
            let chunk = chunk?;
            bytes += chunk.bytes();
            found.push(chunk);
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(found)
    }

    /// The chunk whose offsets include `from`. Reads no extent.
    fn chunk_holding(&self, log: LogId, from: u64) -> Result<Option<Found>, StoreError> {
        // Bounded, so that it does not wade through what was removed long ago.
        let earliest = from.saturating_sub(u64::from(chunk::CHUNK_MESSAGES_MAX) - 1);
        match self.find(log, earliest..=from).next_back().transpose()? {
            Some(found) if found.end()? > from => Ok(Some(found)),
            Some(_) | None => Ok(None),
        }
    }

    /// The chunks themselves, without those that were removed since they were found.
    pub(super) fn load(&self, found: Vec<Found>) -> Result<Vec<StoredChunk>, StoreError> {
        let places: Vec<Place> = found
            .iter()
            .filter_map(|found| match &found.data {
                Data::Placed(place) => Some(*place),
                Data::Here(_) => None,
            })
            .collect();
        let mut read = self.extents.read(&places)?.into_iter();
        let mut chunks = Vec::with_capacity(found.len());
        for Found { log, first, data } in found {
            let data = match data {
                Data::Here(data) => Some(data),
                Data::Placed(place) => match read.next().flatten() {
                    Some(data) => Some(data),
                    None => self.load_moved(log, first, place)?,
                },
            };
            chunks.extend(data.map(|data| StoredChunk { first, data }));
        }
        Ok(chunks)
    }

    /// A chunk that is not where it was found: it was moved or removed since, or it is damaged.
    fn load_moved(
        &self,
        log: LogId,
        first: u64,
        mut before: Place,
    ) -> Result<Option<Bytes>, StoreError> {
        while let Some((_, now)) = self.placed(log, first)? {
            if now == before {
                return Err(corrupt("chunk", log)("its extent does not hold it"));
            }
            if let Some(data) = self.extents.read(&[now])?.pop().flatten() {
                return Ok(Some(data));
            }
            before = now;
        }
        Ok(None)
    }

    /// The place of a chunk, and its generation, if it lies in an extent.
    pub(super) fn placed(&self, log: LogId, first: u64) -> Result<Option<(u8, Place)>, StoreError> {
        if self.extents.is_unused() {
            return Ok(None);
        }
        for generation in [keys::PUT, keys::MOVED] {
            let key = keys::placed(log, first, generation);
            if let Some(value) = self.msgs.get(key).map_err(failed("reading"))? {
                return Ok(Some((generation, decode_place(log, &value)?)));
            }
        }
        Ok(None)
    }
}

/// Removes the key of a chunk or of its place. One that was put once vanishes with what was put, if that is still in
/// memory. One that may have been written several times must not: the database would bring back an older value.
pub(super) fn remove(writes: &mut OwnedWriteBatch, msgs: &Keyspace, key: &[u8]) {
    match keys::parse_chunk(key) {
        Some(ChunkKey::Placed(_, _, keys::MOVED)) => writes.remove(msgs, key),
        _ => writes.remove_weak(msgs, key),
    }
}

/// Reads an entry of `msgs`.
fn found((key, value): ::fjall::KvPair) -> Result<Found, StoreError> {
    match keys::parse_chunk(&key) {
        Some(ChunkKey::Chunk(log, first)) => Ok(Found {
            log,
            first,
            data: Data::Here(Bytes::from(value)),
        }),
        Some(ChunkKey::Placed(log, first, _)) => Ok(Found {
            log,
            first,
            data: Data::Placed(decode_place(log, &value)?),
        }),
        None => Err(StoreError::Corrupt(format!("chunk key {key:?}"))),
    }
}

pub(super) fn decode_place(log: LogId, value: &[u8]) -> Result<Place, StoreError> {
    Place::decode(value).ok_or_else(|| corrupt("place of a chunk", log)("it makes no sense"))
}
