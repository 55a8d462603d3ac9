//! The free space and the alarm: when publishers are stopped because the store failed or its disk is nearly full.

use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::{Shared, pause};

/// Free space is looked at again when this share of what is free above the limit has been committed, ...
const DISK_CHECK_SHARE: u64 = 8;
/// ... but not for less than this.
pub(super) const DISK_CHECK_BYTES_MIN: u64 = 256 * 1024;

/// Why publishers are stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The store failed; it is tried again until it works.
    DiskFailed(String),
    /// Too little free space.
    DiskLow {
        /// Free bytes, less those that the store owes to the disk.
        free: u64,
        /// The limit that they are below.
        limit: u64,
    },
}

#[derive(Default)]
pub(super) struct Alarms {
    /// What the failed store said.
    pub(super) failed: Option<String>,
    /// Free bytes, if too few.
    pub(super) low: Option<u64>,
}

impl Shared {
    /// The thread that watches the free space.
    pub(super) fn disk_loop(&self) {
        let mut gate = self.gate.lock();
        while !gate.closing && !gate.closed {
            pause(&self.closing, &mut gate, self.limits.disk_check_every);
            drop(gate);
            self.check_disk();
            gate = self.gate.lock();
        }
    }

    /// Looks at the free space as often as it may have changed by much, so that a fast publisher is stopped in time.
    pub(super) fn use_disk(&self, bytes: u64) {
        let margin = self.disk_margin.load(Ordering::Relaxed);
        if bytes < margin {
            self.disk_margin.store(margin - bytes, Ordering::Relaxed);
        } else {
            self.check_disk();
        }
    }

    pub(super) fn check_disk(&self) {
        let limit = self.disk_free_min.load(Ordering::Relaxed);
        let owed = self.store.owed_bytes();
        let free = self
            .store
            .free_bytes()
            .map(|free| free.saturating_sub(owed));
        let margin = free.map_or(u64::MAX, |free| {
            (free.saturating_sub(limit) / DISK_CHECK_SHARE).max(DISK_CHECK_BYTES_MIN)
        });
        self.disk_margin.store(margin, Ordering::Relaxed);
        let low = free.filter(|free| *free < limit);
        if low.is_some() {
            self.store.spare();
        }
        self.set_alarms(|alarms| {
            match (alarms.low, low) {
                (None, Some(free)) => {
                    warn!(free, owed, limit, "free disk space is below the limit")
                }
                (Some(_), None) => info!(limit, "free disk space is above the limit again"),
                (None, None) | (Some(_), Some(_)) => {}
            }
            alarms.low = low;
        });
    }

    pub(super) fn set_alarms(&self, change: impl FnOnce(&mut Alarms)) {
        let mut alarms = self.alarms.lock();
        change(&mut alarms);
        let limit = self.disk_free_min.load(Ordering::Relaxed);
        let now = match (&alarms.failed, alarms.low) {
            (Some(failure), _) => Some(Alarm::DiskFailed(failure.clone())),
            (None, Some(free)) => Some(Alarm::DiskLow { free, limit }),
            (None, None) => None,
        };
        self.alarm.send_if_modified(|alarm| {
            // How many bytes are free is no news to those who wait for it to be enough.
            let same = match (&*alarm, &now) {
                (Some(Alarm::DiskLow { .. }), Some(Alarm::DiskLow { .. })) => true,
                (before, after) => before == after,
            };
            *alarm = now;
            !same
        });
    }
}
