//! What the disk has room for.

use std::sync::atomic::Ordering;

use super::core::Core;
use super::open::OpenDatabase;
use crate::store::dir;

/// A spare extent is made ready only while the disk has room for this many.
const ROOMY_EXTENTS: u64 = 16;

impl Core {
    pub(super) fn memtable_bytes(&self) -> u64 {
        self.open()
            .map_or(0, |open| open.spaces.db.write_buffer_size())
    }

    /// Whether the disk has no room for a spare extent beside what else it must take soon.
    pub(super) fn is_short_of_space(&self) -> bool {
        let needed = self.memtable_bytes() + ROOMY_EXTENTS * self.options.extent_bytes;
        dir::free_bytes(&self.dir).is_some_and(|free| free < needed)
    }

    /// Whether the disk has room for the memtables.
    pub(super) fn has_room_to_flush(&self) -> bool {
        dir::free_bytes(&self.dir).is_none_or(|free| free > self.memtable_bytes())
    }

    /// Free bytes beside what a checkpoint writes: the memtables, and a new checkpoint file before the old one goes.
    pub(super) fn room_beside_checkpoint(&self, open: &OpenDatabase) -> u64 {
        let file = open.file_bytes.load(Ordering::Relaxed);
        let owed = open.spaces.db.write_buffer_size().saturating_add(file);
        self.free_bytes(open)
            .map_or(u64::MAX, |free| free.saturating_sub(owed))
    }

    #[cfg(not(test))]
    fn free_bytes(&self, _open: &OpenDatabase) -> Option<u64> {
        dir::free_bytes(&self.dir)
    }

    /// As of the disk that a test says.
    #[cfg(test)]
    fn free_bytes(&self, open: &OpenDatabase) -> Option<u64> {
        match *self.disk.lock() {
            Some(disk) => Some(disk.saturating_sub(open.extents.disk_bytes().ok()?)),
            None => dir::free_bytes(&self.dir),
        }
    }
}
