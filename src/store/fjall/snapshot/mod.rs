//! Snapshots: everything that a member's store holds after an entry, for a member that lacks entries which the others no
//! longer keep. [`SnapshotSource`] reads it in blocks; [`SnapshotTarget`] writes the blocks to a directory of its own, which
//! then takes the place of the store's files.
//!
//! Chunks are written as moved chunks, so the new log begins empty, behind the snapshot's entry.

mod install; // puts a received snapshot in the place of what the store holds
mod source; // reads a snapshot
pub(super) mod swap; // the swap of directories
mod target; // writes a received snapshot

pub(super) use source::SnapshotSource;
pub(super) use target::{Received, SnapshotTarget};

use ::fjall::Readable;

use super::error::failed;
use super::keyspaces::Keyspaces;
use crate::store::StoreError;
use crate::store::keys::{self, KeyspaceName};

/// Whether the database holds nothing that members have in common.
pub(super) fn is_empty(spaces: &Keyspaces) -> Result<bool, StoreError> {
    let snapshot = spaces.db.snapshot();
    for space in KeyspaceName::ALL {
        for entry in snapshot.iter(spaces.of(space)) {
            let key = entry.key().map_err(failed("reading"))?;
            if is_common(space, &key) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Bytes of a block, roughly. A larger chunk gets a block of its own.
const BLOCK_BYTES: usize = 4 * 1024 * 1024;

/// Whether all members have this key in common. The others tell of a node's own files.
pub(super) fn is_common(space: KeyspaceName, key: &[u8]) -> bool {
    match space {
        KeyspaceName::Msgs => keys::is_chunk_address(key),
        KeyspaceName::State => keys::parse_state(key).is_some(),
        KeyspaceName::Meta => key.first() == Some(&keys::DEFINITION) || key == keys::MEMBERS,
    }
}
