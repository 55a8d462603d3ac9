//! After a failure the committer retries until everything since the last durable ticket is on disk.
//! Nothing is reported before.

use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use tracing::{error, info, warn};

use super::shared::{Gate, Shared, UnsyncedBatch, pause};
use crate::store::StoreError;

/// The pause between retries doubles up to this multiple of [`super::Limits::retry_after`].
const RETRY_PAUSES_MAX: u32 = 16;

impl Shared {
    /// Retries until everything since the last durable ticket is on disk. False if the committer is closing and the
    /// last try failed.
    pub(super) fn recover<'a>(&'a self, mut gate: MutexGuard<'a, Gate>) -> bool {
        while gate.syncing && !gate.closed {
            self.work.wait(&mut gate);
        }
        let failure = gate.failure.clone().unwrap_or_default();
        error!(%failure, "the store failed: nothing is confirmed until it works again");
        self.set_alarms(|alarms| alarms.failed = Some(failure));
        let mut said = String::new();
        let mut pauses = 1;
        loop {
            let closing = gate.closing;
            if !closing {
                pause(&self.work, &mut gate, self.limits.retry_after * pauses);
            }
            let mut unsynced = std::mem::take(&mut gate.unsynced);
            drop(gate);
            let outcome = self.room_to_recover().and_then(|()| {
                pauses = (pauses * 2).min(RETRY_PAUSES_MAX);
                self.write_again(unsynced.make_contiguous())
            });
            gate = self.gate.lock();
            // Only this thread adds unsynced, so nothing was added meanwhile.
            gate.unsynced = unsynced;
            match outcome {
                Ok(()) => {
                    gate.failure = None;
                    break;
                }
                Err(failure) => {
                    let failure = failure.to_string();
                    if said != failure {
                        warn!(failure, "the store does not work yet");
                        said = failure;
                    }
                    if closing {
                        return false;
                    }
                }
            }
        }
        self.check_disk(); // before publishers go on: the store may have used its reserve
        self.set_alarms(|alarms| alarms.failed = None);
        info!("the store works again; nothing that was confirmed is lost");
        let last = gate.unsynced.back().map(|unsynced| unsynced.batch.ticket);
        let upto = last.unwrap_or(self.durable.reached());
        drop(self.retire(gate, upto));
        self.durable.report(upto);
        self.applied.report(upto);
        true
    }

    /// Fails while little space is free: opening the store and writing the batches again takes some. A reserve is for that.
    fn room_to_recover(&self) -> Result<(), StoreError> {
        let limit = self.disk_free_min.load(Ordering::Relaxed);
        match self.store.free_bytes() {
            Some(free) if free < limit && !self.store.has_reserve() => Err(StoreError::Io {
                doing: format!("waiting until {limit} bytes are free"),
                source: std::io::ErrorKind::StorageFull.into(),
            }),
            _ => Ok(()),
        }
    }

    fn write_again(&self, batches: &[UnsyncedBatch]) -> Result<(), StoreError> {
        self.store.reopen()?;
        for unsynced in batches {
            self.append_batch(&unsynced.batch)?;
        }
        self.store.sync()?;
        self.store.apply()
    }
}
