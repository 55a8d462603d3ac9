//! The two threads that bring batches to the disk: one gathers and appends, the other syncs while the next batch
//! gathers. What they do after a failure stands in [`super::recovery`].

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::gathering::{GATHER_BYTES, GATHER_TIME};
use super::shared::{Gate, PIPELINE_BYTES, Pace, Shared, UnsyncedBatch};
use crate::clock;
use crate::model::Ticket;
use crate::store::{Batch, StoreError};

/// Maximum number of batches that wait for a sync, with `sync_within`.
const UNSYNCED_BATCHES_MAX: usize = 1024;
/// An append waits for a store that has fallen behind in steps of this length.
const THROTTLE_STEP: Duration = Duration::from_millis(2);
/// Number of steps after which the append goes ahead: the store limits itself, and may need to report an error.
const THROTTLE_STEPS_MAX: u32 = 2500;

impl Shared {
    /// The committer's thread.
    pub(super) fn commit_loop(&self) {
        loop {
            let gate = self.wait_for_work();
            if gate.closed {
                break;
            } else if gate.failure.is_some() {
                if !self.recover(gate) {
                    break;
                }
            } else if gate.has_work() {
                drop(gate);
                self.commit_one();
            } else if !gate.unsynced.is_empty() {
                // Closing: the last batches must be durable first.
                drop(self.sync_or_wait(gate));
            } else {
                break;
            }
        }
        let gate = self.gate.lock();
        if gate.failure.is_none() {
            drop(self.apply(gate));
        } else {
            drop(gate);
        }
        self.close();
    }

    fn wait_for_work(&self) -> MutexGuard<'_, Gate> {
        let mut gate = self.gate.lock();
        self.gather(&mut gate);
        loop {
            if gate.closing || gate.closed || gate.failure.is_some() {
                break;
            }
            gate.committer = if !gate.has_work() {
                Pace::AwaitsWork
            } else if gate.unsynced.len() >= self.unsynced_max()
                && self.gathered.load(Ordering::Acquire) < PIPELINE_BYTES
            {
                Pace::AwaitsSync
            } else {
                break;
            };
            self.work.wait(&mut gate);
        }
        gate.committer = Pace::Works;
        gate
    }

    /// Waits a little for more work, if work has come during the last batch and it is worthwhile.
    fn gather(&self, gate: &mut MutexGuard<'_, Gate>) {
        let may_pause = gate.has_work()
            && !gate.closing
            && gate.failure.is_none()
            && gate.unsynced.is_empty()
            && self.limits.sync_within.is_none()
            && self.gathered.load(Ordering::Acquire) < GATHER_BYTES
            && gate.gathering.may_pause();
        if !may_pause {
            return;
        }
        let before = self.arrivals.count();
        gate.committer = Pace::Gathers;
        let paused = self.work.wait_for(gate, GATHER_TIME);
        if paused.timed_out() {
            let arrived = self.arrivals.count().wrapping_sub(before);
            gate.gathering.paused(arrived, self.arrivals.quiet());
        }
    }

    /// Closes the batch that gathers, and appends it.
    fn commit_one(&self) {
        self.wait_while_throttled();
        let unsynced = self.collect();
        let ticket = unsynced.batch.ticket;
        let bytes = unsynced.batch.bytes;
        let begun = clock::monotonic();
        let outcome = self.append_batch(&unsynced.batch);
        if !unsynced.batch.ops.is_empty() {
            self.figures.committed(bytes, begun.elapsed());
        }
        self.use_disk(bytes as u64);
        let mut gate = self.gate.lock();
        gate.unsynced.push_back(unsynced);
        if let Err(failure) = outcome {
            gate.failure.get_or_insert(failure.to_string());
            return;
        }
        if let Some(within) = self.limits.sync_within {
            if gate.failure.is_none() {
                if gate.sync_due.is_none() || self.is_much_unsynced(&gate) {
                    gate.sync_due.get_or_insert(clock::monotonic() + within);
                    self.synced.notify_all();
                }
                drop(gate);
                self.durable.report(ticket);
            }
            return;
        }
        let much = bytes.max(self.gathered.load(Ordering::Acquire)) >= PIPELINE_BYTES;
        if gate.syncing || gate.failure.is_some() {
            // The sync thread looks again after its sync; after a failure this batch is appended again.
        } else if much {
            self.synced.notify_all();
        } else {
            drop(self.sync(gate));
        }
    }

    fn collect(&self) -> UnsyncedBatch {
        let boundary = self.boundary.write();
        let mut gate = self.gate.lock();
        let ticket = gate.open;
        gate.open = Ticket(ticket.0 + 1);
        self.gathering.store(gate.open.0, Ordering::Release);
        gate.nudged = false;
        let sources = std::mem::take(&mut gate.dirty);
        let loose = std::mem::take(&mut gate.loose);
        drop(gate);
        let share = self.gathered.swap(0, Ordering::Relaxed);
        let mut batch = Batch {
            ticket,
            ..Batch::default()
        };
        for source in &sources {
            source.collect(&mut batch);
        }
        loose.into_iter().for_each(|op| batch.push(op));
        drop(boundary);
        UnsyncedBatch { batch, share }
    }

    pub(super) fn append_batch(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.ops.is_empty() {
            return Ok(());
        }
        self.store.append(batch)
    }

    /// Waits while the store has fallen behind. Meanwhile changes gather, and `pending_bytes_max` stops publishers.
    fn wait_while_throttled(&self) {
        for _ in 0..THROTTLE_STEPS_MAX {
            if !self.store.throttled() || self.gate.lock().failure.is_some() {
                return;
            }
            thread::sleep(THROTTLE_STEP);
        }
    }

    /// The sync thread.
    pub(super) fn sync_loop(&self) {
        let mut gate = self.gate.lock();
        while !gate.closed {
            if gate.unsynced.is_empty() || gate.syncing || gate.failure.is_some() {
                self.synced.wait(&mut gate);
            } else if let Some(left) = self.until_sync(&gate) {
                self.synced.wait_for(&mut gate, left);
            } else {
                gate = self.sync(gate);
            }
        }
    }

    /// How long the sync thread may wait for more batches.
    fn until_sync(&self, gate: &Gate) -> Option<Duration> {
        let left = gate.sync_due?.checked_duration_since(clock::monotonic())?;
        let may_wait = !left.is_zero() && !gate.closing && !self.is_much_unsynced(gate);
        may_wait.then_some(left)
    }

    fn is_much_unsynced(&self, gate: &Gate) -> bool {
        self.pending.load(Ordering::Relaxed) >= self.limits.pending_bytes_max / 4
            || gate.unsynced.len() >= UNSYNCED_BATCHES_MAX
    }

    /// Number of unsynced batches from which a small next batch waits for the sync.
    fn unsynced_max(&self) -> usize {
        match self.limits.sync_within {
            Some(_) => UNSYNCED_BATCHES_MAX,
            None => 1,
        }
    }

    /// Makes durable what is appended, and calls the waiters. Does not hold the gate meanwhile.
    fn sync<'a>(&'a self, mut gate: MutexGuard<'a, Gate>) -> MutexGuard<'a, Gate> {
        let Some(upto) = gate.unsynced.back().map(|unsynced| unsynced.batch.ticket) else {
            return gate;
        };
        let written = gate
            .unsynced
            .iter()
            .find(|unsynced| !unsynced.batch.ops.is_empty())
            .map(|unsynced| unsynced.batch.ticket);
        gate.syncing = true;
        gate.sync_due = None;
        drop(gate);
        let begun = clock::monotonic();
        let outcome = match written {
            Some(first) => self.store.sync_some(first..=upto),
            None => Ok(upto),
        };
        if written.is_some() {
            self.figures.synced(begun.elapsed());
        }
        let mut gate = self.gate.lock();
        gate.syncing = false;
        match outcome {
            Ok(durable) => {
                gate = self.retire(gate, durable);
                self.may_apply(&mut gate, durable);
            }
            Err(failure) => {
                gate.failure.get_or_insert(failure.to_string());
            }
        }
        if !gate.unsynced.is_empty() {
            self.synced.notify_all();
        }
        if gate.committer == Pace::AwaitsSync {
            self.wake_committer(&mut gate);
        } else if gate.failure.is_some() || gate.closing {
            self.wake_all();
        }
        gate
    }

    /// Takes the batches up to `upto` off the list, and reports them unless they were reported when appended.
    pub(super) fn retire<'a>(
        &'a self,
        mut gate: MutexGuard<'a, Gate>,
        upto: Ticket,
    ) -> MutexGuard<'a, Gate> {
        let synced = gate
            .unsynced
            .partition_point(|unsynced| unsynced.batch.ticket <= upto);
        let synced: Vec<UnsyncedBatch> = gate.unsynced.drain(..synced).collect();
        drop(gate);
        if self.limits.sync_within.is_none() {
            self.durable.report(upto);
        }
        let share: usize = synced.iter().map(|unsynced| unsynced.share).sum();
        let before = self.pending.fetch_sub(share, Ordering::Relaxed);
        let max = self.limits.pending_bytes_max;
        if before > max && before - share <= max {
            self.room.notify_waiters();
        }
        drop(synced); // the bodies, outside the gate
        self.gate.lock()
    }

    /// Syncs, or waits for the running sync.
    fn sync_or_wait<'a>(&'a self, mut gate: MutexGuard<'a, Gate>) -> MutexGuard<'a, Gate> {
        if gate.syncing {
            self.work.wait(&mut gate);
            gate
        } else {
            self.sync(gate)
        }
    }
}
