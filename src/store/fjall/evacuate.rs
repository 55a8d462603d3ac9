//! The accounts of the extents: counting what earlier runs have left in them, and moving what is left in those that
//! hold little, so that they can be used again. For the background.

use std::collections::{BTreeMap, HashSet};

use ::fjall::Readable;
use tracing::{debug, error};

use super::chunks::remove;
use super::core::Core;
use super::error::{decode_address, failed};
use super::keys::{self, ChunkKey};
use super::open::OpenDatabase;
use crate::model::LogId;
use crate::store::StoreError;
use crate::store::extents::ChunkAddress;

/// Bytes of chunks moved at once: commits wait meanwhile.
const MOVE_BYTES: usize = 1024 * 1024;
/// Spare extents that are kept while nothing is written.
const SPARE_AT_REST: usize = 1;

/// A chunk that lies in an extent.
struct AddressEntry {
    log: LogId,
    first: u64,
    generation: u8,
    address: ChunkAddress,
}

impl Core {
    /// Counts what was in the extents when the database was opened.
    pub(in crate::store) fn count_extents(&self) -> Result<(), StoreError> {
        let open = self.open()?;
        let Some(snapshot) = open.uncounted.lock().take() else {
            return Ok(());
        };
        let mut bytes = BTreeMap::new();
        for entry in snapshot.iter(&open.msgs) {
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

    /// Moves what is left in sparse extents, until `stop` holds. `slack` bytes of no use are left alone.
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

    /// Gives the space of spare extents back: of all but one, or of all if it is short.
    pub(in crate::store) fn trim_extents(&self, all: bool) -> Result<(), StoreError> {
        self.sync()?; // what was moved last is final only now
        self.open()?
            .extents
            .trim(if all { 0 } else { SPARE_AT_REST })
    }
}

impl OpenDatabase {
    /// Moves what is left in these extents, until `stop` holds.
    pub(super) fn evacuate_extents(
        &self,
        extents: &[u32],
        stop: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        let extents: HashSet<u32> = extents.iter().copied().collect();
        let mut moved = 0;
        let mut group = Vec::new();
        let mut group_bytes = 0;
        for entry in self.msgs.iter() {
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
            "moved what was left in extents"
        );
        Ok(())
    }

    /// Writes chunks to the active extent and exchanges their places. Those that were removed meanwhile are left out.
    fn relocate(&self, group: Vec<AddressEntry>) -> Result<(), StoreError> {
        let mut writer = self.extents.writer(); // nothing is removed while this is held
        let mut writes = self.batch(2 * group.len());
        let mut left = Vec::with_capacity(group.len());
        for AddressEntry {
            log,
            first,
            generation,
            address,
        } in group
        {
            let key = keys::chunk_address(log, first, generation);
            let now = self.msgs.get(key).map_err(failed("reading"))?;
            if now.map(|now| decode_address(log, &now)).transpose()? != Some(address) {
                continue;
            }
            let Some(chunk) = self.extents.read(&[address])?.pop().flatten() else {
                continue; // damaged: its queue says so when it is wanted
            };
            let Some(new) = writer.append(&chunk)? else {
                continue; // cannot be: it fitted before
            };
            if generation != keys::MOVED {
                remove(&mut writes, &self.msgs, &key);
            }
            let key = keys::chunk_address(log, first, keys::MOVED);
            writes.insert(&self.msgs, key, new.encode());
            left.push(address);
        }
        writer.sync()?;
        self.note_extents(&mut writes, &writer);
        self.commit(writes, None, &writer)
            .map_err(failed("moving chunks"))?;
        self.extents.released(&left);
        Ok(())
    }
}

/// The place in an entry of `msgs`, if it is one. Does not read chunks.
fn address_entry(entry: ::fjall::Guard) -> Result<Option<AddressEntry>, StoreError> {
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
