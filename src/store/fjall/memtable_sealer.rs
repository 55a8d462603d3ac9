//! Seals memtables that have reached their maximum size, on a thread of its own.
//!
//! The database could do it, but its worker can deadlock: every commit over the limit sends the worker a
//! request through a bounded channel, and each request makes the worker send another message through the same
//! channel. When the channel fills up during a long flush, the worker waits for itself. So the database's own
//! limit is set out of reach, and this thread seals each memtable once.
//!
//! A sealed memtable becomes a table, which changes the database's manifests. This thread copies them
//! afterwards.

use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::core::Core;
use super::seal_signal::Woken;
use crate::store::StoreError;
use crate::store::worker::Worker;

/// Interval of the checks whether sealed memtables have become tables.
const FLUSH_LOOK: Duration = Duration::from_millis(500);

/// The handle of the thread.
pub(super) struct MemtableSealer {
    core: Arc<Core>,
    worker: Worker,
}

impl MemtableSealer {
    pub(super) fn start(core: Arc<Core>) -> Result<MemtableSealer, StoreError> {
        let worker = Worker::start("leveret-rotate", {
            let core = core.clone();
            move || run(&core)
        })?;
        Ok(MemtableSealer { core, worker })
    }

    /// Wakes the thread. Called when a memtable exceeds its maximum.
    pub(super) fn wake(&self) {
        self.core.seal_signal.wake();
    }

    /// Stops the thread and waits for its end.
    pub(super) fn stop(&self) {
        self.core.seal_signal.stop();
        self.worker.join();
    }
}

fn run(core: &Core) {
    loop {
        let looks_again = || core.are_manifests_stale().then_some(FLUSH_LOOK);
        match core.seal_signal.wait(looks_again) {
            Woken::ToStop => return,
            Woken::InTime => core.copy_manifests(),
            Woken::ToWork => {
                if let Err(failure) = core.seal_overgrown() {
                    // The next commit reports the reason, and the committer writes unsynced batches again after a
                    // reopen.
                    debug!(%failure, "cannot seal a memtable");
                }
            }
        }
    }
}
