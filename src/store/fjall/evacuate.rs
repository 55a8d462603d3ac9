//! Background work on extents: counts the live chunks of earlier runs, and moves chunks out of sparse
//! extents, so that these can be reused.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use ::fjall::{OwnedWriteBatch, Readable};
use tracing::{debug, error};

use super::core::Core;
use super::error::{decode_address, failed};
use super::keyspaces::remove;
use super::open::OpenDatabase;
use super::options::MIB;
use crate::model::LogId;
use crate::store::StoreError;
use crate::store::extents::{ChunkAddress, Writer};
use crate::store::keys::{self, ChunkKey};

/// Bytes of chunks moved in one batch; commits wait meanwhile.
const MOVE_BYTES: usize = 1024 * 1024;
/// What is moved takes space until a checkpoint has freed the emptied extents. So no more than this part of the room is
/// moved before one, ...
const MOVED_PART: u64 = 4;
/// ... nor more than these bytes.
const MOVED_MAX: u64 = 512 * MIB;
/// Number of addresses after which the thread looks whether it must stop.
const LOOK_AFTER: usize = 4096;
/// Number of spare extents that stay in quiet times.
const SPARE_AT_REST: usize = 1;

/// The entry of a chunk in an extent.
pub(super) struct AddressEntry {
    pub(super) log: LogId,
    pub(super) first: u64,
    generation: u8,
    pub(super) address: ChunkAddress,
}

impl Core {
    /// Counts the chunks that were in the extents when the database was opened.
    pub(in crate::store) fn count_extents(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        let Some(snapshot) = open.uncounted.lock().take() else {
            return Ok(());
        };
        let mut bytes = BTreeMap::new();
        for (nth, entry) in snapshot.iter(&open.spaces.msgs).enumerate() {
            if nth.is_multiple_of(LOOK_AFTER) && self.is_awaited() {
                return Ok(()); // the next opening is counted anew
            }
            if let Some(found) = address_entry(entry)? {
                *bytes.entry(found.address.extent()).or_default() += found.address.bytes();
            }
        }
        for (extent, bytes) in open.extents.counted(&bytes) {
            error!(
                extent,
                bytes, "an extent is missing; the messages in it cannot be read"
            );
        }
        Ok(())
    }

    /// Moves the chunks out of sparse extents, as many as there is room for. Does nothing while at most `slack` bytes are
    /// unused. Returns whether these extents are empty now: when a checkpoint has freed them, others may follow. Ends early
    /// when `stop` holds, the database is awaited, or the disk fills up.
    pub(in crate::store) fn evacuate(
        &self,
        slack: u64,
        stop: impl Fn() -> bool,
    ) -> Result<bool, StoreError> {
        let open = self.open()?;
        let sparse = |live_max| open.extents.sparse(slack, open.unneeded(), live_max);
        if sparse(MOVED_MAX).is_empty() {
            return Ok(false);
        }
        let mut room = self.room_beside_checkpoint(&open);
        if room / MOVED_PART < MOVED_MAX {
            open.extents.trim(0)?; // their space serves better for this
            room = self.room_beside_checkpoint(&open);
        }
        let moved_max = (room / MOVED_PART).min(MOVED_MAX);
        let sparse = sparse(moved_max);
        if sparse.is_empty() {
            return Ok(false);
        }
        let fills_up = || self.room_beside_checkpoint(&open) < room / 2;
        let stop = || stop() || self.is_awaited() || fills_up();
        let done = open.evacuate_extents(&sparse, stop)?;
        if done {
            open.extents.stuck(&sparse);
        }
        if done && moved_max < MOVED_MAX {
            open.hasten_file();
        }
        Ok(done)
    }

    /// Lets the next checkpoint free the extents that are empty, however few, if there is room for its file.
    pub(super) fn hasten_freeing(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        let has_emptied = open.extents.emptied_bytes(open.unneeded()) > 0;
        if has_emptied && self.room_beside_checkpoint(&open) > 0 {
            open.hasten_file();
        }
        Ok(())
    }

    /// Removes the spare extents: all but one, or all if space is short.
    pub(in crate::store) fn trim_extents(&self, all: bool) -> Result<(), StoreError> {
        self.open()?
            .extents
            .trim(if all { 0 } else { SPARE_AT_REST })
    }
}

impl OpenDatabase {
    /// The entry up to which a checkpoint makes the log unneeded, but for chunks in it.
    fn unneeded(&self) -> u64 {
        self.applied_index().min(self.log.unneeded())
    }

    /// Makes the next checkpoint write its file.
    fn hasten_file(&self) {
        self.since_file.store(u64::MAX / 2, Ordering::Relaxed);
    }

    /// Moves the chunks out of these extents. Returns false if `stop` has ended it.
    pub(super) fn evacuate_extents(
        &self,
        extents: &[u32],
        stop: impl Fn() -> bool,
    ) -> Result<bool, StoreError> {
        let extents: HashSet<u32> = extents.iter().copied().collect();
        let mut moved = 0;
        let mut group = Vec::new();
        let mut group_bytes = 0;
        for (nth, entry) in self.spaces.msgs.iter().enumerate() {
            if nth.is_multiple_of(LOOK_AFTER) && stop() {
                return Ok(false);
            }
            let Some(found) = address_entry(entry)? else {
                continue;
            };
            if !extents.contains(&found.address.extent()) {
                continue;
            }
            group_bytes += usize::try_from(found.address.bytes()).unwrap_or(usize::MAX);
            group.push(found);
            if group_bytes >= MOVE_BYTES {
                moved += group.len();
                self.relocate(std::mem::take(&mut group))?;
                group_bytes = 0;
                if stop() {
                    return Ok(false);
                }
            }
        }
        moved += group.len();
        self.relocate(group)?;
        debug!(
            extents = extents.len(),
            chunks = moved,
            "moved chunks out of sparse extents"
        );
        Ok(true)
    }

    /// Writes chunks to an extent of moved chunks and replaces their addresses. Skips chunks that were removed
    /// meanwhile. The log has no entry about it: if a power loss takes the new addresses, the old ones are still true,
    /// since their extents are used again only after a checkpoint.
    fn relocate(&self, group: Vec<AddressEntry>) -> Result<(), StoreError> {
        let _changing = self.changing(); // no chunk is removed while this is held
        let mut writer = self.extents.writer();
        let mut moves = Moves {
            writes: self.spaces.batch(2 * group.len()),
            left: Vec::with_capacity(group.len()),
            copies: Vec::with_capacity(group.len()),
        };
        let copied = self.copy(group, &mut writer, &mut moves);
        if let Err(failure) = copied.and_then(|()| writer.sync()) {
            self.extents.released(&moves.copies); // nothing leads to them
            return Err(failure);
        }
        moves.writes.commit().map_err(failed("moving chunks"))?;
        self.extents.released(&moves.left);
        Ok(())
    }

    /// Copies chunks to an extent of moved chunks.
    fn copy(
        &self,
        group: Vec<AddressEntry>,
        writer: &mut Writer<'_>,
        moves: &mut Moves,
    ) -> Result<(), StoreError> {
        for AddressEntry {
            log,
            first,
            generation,
            address,
        } in group
        {
            let key = keys::chunk_address(log, first, generation);
            let now = self.spaces.msgs.get(key).map_err(failed("reading"))?;
            if now.map(|now| decode_address(log, &now)).transpose()? != Some(address) {
                continue;
            }
            let Some(chunk) = self.extents.read(&[address])?.pop().flatten() else {
                continue; // damaged; its queue reports it when it reads the chunk
            };
            let Some(new) = writer.append(&chunk)? else {
                continue; // cannot happen, since it had an address before
            };
            moves.copies.push(new);
            if generation != keys::MOVED {
                remove(&mut moves.writes, &self.spaces.msgs, &key);
            }
            let key = keys::chunk_address(log, first, keys::MOVED);
            moves.writes.insert(&self.spaces.msgs, key, new.encode());
            moves.left.push(address);
        }
        Ok(())
    }
}

/// Chunks that are moved together.
struct Moves {
    writes: OwnedWriteBatch,
    /// Where they were.
    left: Vec<ChunkAddress>,
    /// Where their copies are.
    copies: Vec<ChunkAddress>,
}

/// Reads an entry of `msgs` that holds an address; `None` for others. Reads no chunks.
pub(super) fn address_entry(entry: ::fjall::Guard) -> Result<Option<AddressEntry>, StoreError> {
    let (key, value) = entry
        .into_inner_if(|key| keys::is_chunk_address(key))
        .map_err(failed("reading"))?;
    let Some((ChunkKey::Address(log, first, generation), value)) =
        keys::parse_chunk(&key).zip(value)
    else {
        return Ok(None);
    };
    let address = decode_address(log, &value)?;
    Ok(Some(AddressEntry {
        log,
        first,
        generation,
        address,
    }))
}
