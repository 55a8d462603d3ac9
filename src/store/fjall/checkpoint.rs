//! Checkpoints: everything that is applied goes to tables, so that the log is needed only for its chunks.

use std::sync::atomic::Ordering;

use ::fjall::Snapshot;

use super::apply::Applied;
use super::checkpoint_file;
use super::error::failed;
use super::keyspaces::two_numbers;
use super::open::OpenDatabase;
use crate::store::keys::KeyspaceName;
use crate::store::{StoreError, keys};

/// A checkpoint file follows when the log has grown by this many times the length of the last one, ...
const LOG_PER_CHECKPOINT_FILE: u64 = 16;
/// ... or when it frees this many times its length. So writing it costs little.
const FREED_PER_CHECKPOINT_FILE: u64 = 4;

impl OpenDatabase {
    /// Writes all memtables to tables, so that the next start needs no entry up to now, and from time to time the
    /// checkpoint file, so that nothing needs them but for the chunks in them. Then the extents that were empty before
    /// can be used again. Gives up when `stop` holds; false then.
    pub(super) fn checkpoint(&self, stop: impl Fn() -> bool) -> Result<bool, StoreError> {
        // Two would write the same file.
        let _one = self.checkpointing.lock();
        let since_file = self.since_file.load(Ordering::Relaxed);
        let file_bytes = self.file_bytes.load(Ordering::Relaxed);
        let (is_file_due, upto, emptied, snapshot) = {
            let mut applied = self.changing();
            let unneeded = applied.index.min(self.log.unneeded());
            let freed = self.extents.emptied_bytes(unneeded);
            let is_file_due = since_file >= file_bytes.saturating_mul(LOG_PER_CHECKPOINT_FILE)
                || (freed > 0 && freed >= file_bytes.saturating_mul(FREED_PER_CHECKPOINT_FILE));
            let emptied = match is_file_due {
                true => self.extents.before_checkpoint(unneeded),
                false => Vec::new(),
            };
            let sealed = self.seal(&mut applied);
            if sealed.is_err() {
                self.extents.after_checkpoint(emptied, false)?;
                return sealed.map(|()| false);
            }
            let snapshot = is_file_due.then(|| self.spaces.db.snapshot());
            (is_file_due, applied.index, emptied, snapshot)
        };
        let done = self.finish_checkpoint(upto, snapshot, &stop);
        self.extents
            .after_checkpoint(emptied, matches!(done, Ok(true)))?;
        if matches!(done, Ok(true)) {
            self.checkpointed.fetch_max(upto, Ordering::Relaxed);
            if is_file_due {
                self.since_file.fetch_sub(since_file, Ordering::Relaxed);
            }
        }
        done
    }

    /// Makes a checkpoint with a checkpoint file, so that a database that is built anew knows what no entry says.
    pub(super) fn checkpoint_whole(&self) -> Result<(), StoreError> {
        self.since_file.store(u64::MAX / 2, Ordering::Relaxed);
        self.checkpoint(|| false).map(drop)
    }

    fn finish_checkpoint(
        &self,
        upto: u64,
        snapshot: Option<Snapshot>,
        stop: impl Fn() -> bool,
    ) -> Result<bool, StoreError> {
        if !self.spaces.wait_for_flush(&stop)? {
            return Ok(false);
        }
        self.spaces.sync_names()?;
        if let Some(snapshot) = snapshot {
            let (dir, spaces) = (&self.log_dir, &self.spaces);
            let Some(file) = checkpoint_file::write_until(dir, spaces, &snapshot, upto, stop)?
            else {
                return Ok(false);
            };
            self.file_bytes.store(file.bytes, Ordering::Relaxed);
        }
        Ok(true)
    }

    fn seal(&self, applied: &mut Applied) -> Result<(), StoreError> {
        let mut writes = self.spaces.batch(4);
        applied.extents = self.extents.used();
        let used = applied.extents.to_le_bytes();
        writes.insert(&self.spaces.meta, keys::EXTENTS, used);
        if let Some((purged, _)) = self.log.bounds() {
            // The extents of purged entries are used again after the checkpoint.
            let purged = two_numbers(purged.term, purged.index);
            writes.insert(&self.spaces.meta, keys::BASE, purged);
        }
        for space in KeyspaceName::ALL {
            self.spaces.note_applied(&mut writes, space, applied.index);
        }
        writes.commit().map_err(failed("writing"))?;
        for keyspace in self.spaces.all() {
            keyspace.rotate_memtable().map_err(failed("flushing"))?;
        }
        Ok(())
    }
}
