//! The store's background thread. It sweeps what batches tell it to and removed logs, makes checkpoints, empties sparse extents and, in quiet times,
//! frees the disk space of removed chunks. It sleeps while it has no work.

mod thread; // carrying out the work
mod work; // what there is to do, pure

use std::ops::Range;
use std::sync::Arc;

use self::thread::Shared;
use self::work::{Doing, Shortage, Work};
use super::apply::Progress;
use super::core::Core;
use crate::clock;
use crate::model::LogId;
use crate::store::StoreError;
use crate::store::worker::Worker;

/// The handle of the thread.
pub(super) struct Maintenance {
    shared: Arc<Shared>,
    worker: Worker,
}

impl Maintenance {
    /// Starts the thread, with the removed logs that an earlier run did not fully sweep.
    pub(super) fn start(core: Arc<Core>, remains: Vec<LogId>) -> Result<Maintenance, StoreError> {
        let work = Work {
            logs: remains.into(),
            uncounted: true,
            ..Work::default()
        };
        let shared = Arc::new(Shared::new(core, work));
        let worker = Worker::start("leveret-maint", {
            let shared = shared.clone();
            move || shared.run()
        })?;
        Ok(Maintenance { shared, worker })
    }

    /// Counts what was applied, and wakes the thread if it has work now.
    pub(super) fn applied(&self, progress: Progress) {
        let shared = &self.shared;
        shared.change(|work| work.count(progress), |work| shared.must_wake(work));
    }

    /// Tells the thread to look for chunks that a start would sweep.
    pub(super) fn sweep_settled(&self) {
        let is_asleep = |work: &Work| work.doing == Doing::Asleep;
        self.shared.change(|work| work.unsettled = true, is_asleep);
    }

    /// Whether every sweep that was asked for has ended, and the extents are counted.
    #[cfg(test)]
    pub(super) fn has_swept(&self) -> bool {
        self.shared.has_swept()
    }

    /// Tells the thread that free space is below its limit.
    pub(super) fn space_is_short(&self) {
        let tell = |work: &mut Work| work.note_shortage(clock::monotonic());
        let wakes = |work: &Work| work.short == Shortage::Told && work.doing == Doing::Asleep;
        self.shared.change(tell, wakes);
    }

    /// Tells the thread that the database was reopened, which removed logs it still has, and which sweeps are undone.
    pub(super) fn reopened(&self, remains: Vec<LogId>, undone: Vec<(LogId, Range<u64>)>) {
        let change = |work: &mut Work| {
            work.reopened = true;
            work.uncounted = true;
            work.uncovered = 0; // what the reopening has replayed follows
            work.logs.extend(remains);
            work.sweeps.extend(undone);
        };
        self.shared.change(change, |_| true);
    }

    /// Stops the thread and waits for its end.
    pub(super) fn stop(&self) {
        self.shared.change(|work| work.stopping = true, |_| true);
        self.worker.join();
    }
}
