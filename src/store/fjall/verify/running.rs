//! Verifies an open store while it is in use. What is written, moved or removed meanwhile is not damage.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::access::Access;
use super::chunks;
use super::records;
use super::verifier::{Stop, Verifier, effect_of_entries};
use crate::store::StoreError;
use crate::store::extents::Extents;
use crate::store::fjall::core::Core;
use crate::store::fjall::found_log::Beside;
use crate::store::fjall::keyspaces::Keyspaces;
use crate::store::fjall::open::LOG_DIR;
use crate::store::fjall::{checkpoint_file, manifest};
use crate::store::log::{HeadFlaw, LogStart, head_flaws};
use crate::store::verify::{Effect, Verified, VerifyStep};

/// How often the log is scanned again because the store has removed one of its files meanwhile.
const TRIES: u32 = 5;

/// The database stays open while it is looked into. A reopening waits for that long.
impl Access for Core {
    fn with<T>(
        &self,
        look: impl FnOnce(&Keyspaces, &Extents) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let open = self.open()?;
        look(&open.spaces, &open.extents)
    }
}

impl Core {
    /// See [`crate::store::Store::verify`].
    pub(in crate::store::fjall) fn verify(
        &self,
        step: &mut VerifyStep<'_>,
    ) -> Result<Verified, StoreError> {
        let used = self.open()?.extents.disk_bytes()?;
        let total = manifest::bytes(&self.db_dir()) + used;
        let mut verifier = Verifier::new(step, total);
        let ended = self.verify_all(&mut verifier);
        verifier.outcome(ended)
    }

    fn verify_all(&self, verifier: &mut Verifier<'_, '_>) -> Result<(), Stop> {
        let checkpoint = verifier.checkpoint(&self.dir.join(LOG_DIR))?;
        // From the checkpoint the database can be built anew.
        let effect = match checkpoint {
            Some(_) => Effect::Mended,
            None => Effect::Refused,
        };
        verifier.database_files(&self.dir, &self.db_dir(), effect)?;
        self.verify_log(verifier, checkpoint)?;
        let bytes = records::verify(verifier, self)?;
        verifier.expect(bytes);
        // Extents that are newer are whole as far as this process knows.
        let below = self.open()?.extents.used();
        chunks::verify(verifier, self, below)
    }

    fn verify_log(
        &self,
        verifier: &mut Verifier<'_, '_>,
        checkpoint: Option<u64>,
    ) -> Result<(), Stop> {
        let (start, flaws) = self.scan_whole_log(verifier, checkpoint)?;
        let mut still = start.damages().to_vec();
        if !still.is_empty() {
            // An extent that is used again while it is scanned looks damaged once.
            let (again, _) = self.scan_whole_log(verifier, checkpoint)?;
            still.retain(|damage| again.damages().contains(damage));
        }
        if still.is_empty() && flaws.is_empty() {
            return Ok(());
        }
        // A checkpoint since then may have freed what was scanned.
        let least = self.open()?.checkpointed.load(Ordering::Relaxed);
        let file = checkpoint_file::find(&self.dir.join(LOG_DIR))?;
        let freed = file.map_or(least, |file| file.index);
        still.retain(|damage| damage.entries.end > freed + 1);
        let effect = effect_of_entries(&self.open()?.spaces)?;
        verifier.entries(&still, least, effect);
        for flaw in flaws.into_iter().filter(|flaw| flaw.index > freed) {
            verifier.head(flaw);
        }
        Ok(())
    }

    /// Scans the log, again if one of its files is removed meanwhile.
    fn scan_whole_log(
        &self,
        verifier: &mut Verifier<'_, '_>,
        checkpoint: Option<u64>,
    ) -> Result<(LogStart, Vec<HeadFlaw>), Stop> {
        let mut tries = 1;
        loop {
            match self.scan_log(verifier, checkpoint) {
                Err(Stop::Failed(StoreError::Io { source, .. }))
                    if source.kind() == ErrorKind::NotFound && tries < TRIES =>
                {
                    tries += 1;
                }
                scanned => return scanned,
            }
        }
    }

    /// Scans the entries that a start would need, or the building of a new database.
    fn scan_log(
        &self,
        verifier: &mut Verifier<'_, '_>,
        checkpoint: Option<u64>,
    ) -> Result<(LogStart, Vec<HeadFlaw>), Stop> {
        let (seed, used, beside, upto) = {
            let open = self.open()?;
            let seed = open.spaces.log_seed()?.unwrap_or(0);
            let least = open.checkpointed.load(Ordering::Relaxed);
            let from = checkpoint.map_or(least, |index| index.min(least));
            let beside = Beside::read(&open.spaces, from)?;
            (seed, open.extents.used(), beside, open.log.durable())
        };
        let log_dir = self.dir.join(LOG_DIR);
        let extents = Arc::new(Extents::open(&log_dir, self.options.extent_bytes, used)?);
        // The scan takes its time, and a reopening must not wait for it.
        let start = beside.find_log(&extents, seed, Some(upto))?;
        let flaws = head_flaws(&start, |_, bytes| {
            verifier.found.entries += 1;
            verifier.passed(bytes)
        })?;
        Ok((start, flaws))
    }
}
