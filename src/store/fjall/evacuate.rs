//! Background work on extents: counts the live chunks of earlier runs, and moves chunks out of sparse
//! extents, so that these can be reused.

use std::collections::{BTreeMap, HashSet};

use ::fjall::Readable;
use tracing::{debug, error};

use super::core::Core;
use super::error::{decode_address, failed};
use super::keyspaces::remove;
use super::open::OpenDatabase;
use crate::model::LogId;
use crate::store::StoreError;
use crate::store::extents::ChunkAddress;
use crate::store::keys::{self, ChunkKey};

/// Bytes of chunks moved in one batch; commits wait meanwhile.
const MOVE_BYTES: usize = 1024 * 1024;
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
        for entry in snapshot.iter(&open.spaces.msgs) {
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

    /// Moves the chunks out of sparse extents, until `stop` holds. Does nothing while at most `slack` bytes
    /// are unused.
    pub(in crate::store) fn evacuate(
        &self,
        slack: u64,
        stop: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        let open = self.open()?;
        let sparse = open.extents.sparse(slack);
        if sparse.is_empty() {
            return Ok(());
        }
        open.evacuate_extents(&sparse, stop)
    }

    /// Removes the spare extents: all but one, or all if space is short.
    pub(in crate::store) fn trim_extents(&self, all: bool) -> Result<(), StoreError> {
        self.open()?
            .extents
            .trim(if all { 0 } else { SPARE_AT_REST })
    }
}

impl OpenDatabase {
    /// Moves the chunks out of these extents, until `stop` holds.
    pub(super) fn evacuate_extents(
        &self,
        extents: &[u32],
        stop: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        let extents: HashSet<u32> = extents.iter().copied().collect();
        let mut moved = 0;
        let mut group = Vec::new();
        let mut group_bytes = 0;
        for entry in self.spaces.msgs.iter() {
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
                    return Ok(());
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
        Ok(())
    }

    /// Writes chunks to an extent of moved chunks and replaces their addresses. Skips chunks that were removed
    /// meanwhile. The log has no entry about it: if a power loss takes the new addresses, the old ones are still true,
    /// since their extents are used again only after a checkpoint.
    fn relocate(&self, group: Vec<AddressEntry>) -> Result<(), StoreError> {
        let _changing = self.changing(); // no chunk is removed while this is held
        let mut writer = self.extents.writer();
        let mut writes = self.spaces.batch(2 * group.len());
        let mut left = Vec::with_capacity(group.len());
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
            if generation != keys::MOVED {
                remove(&mut writes, &self.spaces.msgs, &key);
            }
            let key = keys::chunk_address(log, first, keys::MOVED);
            writes.insert(&self.spaces.msgs, key, new.encode());
            left.push(address);
        }
        writer.sync()?;
        writes.commit().map_err(failed("moving chunks"))?;
        self.extents.released(&left);
        Ok(())
    }
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
