//! The watch over the free space, and raising the alarm.

use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::alarm::{Alarm, AlarmCauses};
use super::shared::{Shared, pause};

/// The free space is checked again when this share of what is free above the limit has been committed, ...
const DISK_CHECK_SHARE: u64 = 8;
/// ... but not for less than this.
pub(super) const DISK_CHECK_BYTES_MIN: u64 = 256 * 1024;

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

    /// Checks the free space after each share of it that commits have used, so that a fast publisher stops in time.
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
        let is_on_reserve = self.store.is_on_reserve();
        let low = free.filter(|free| *free < limit || is_on_reserve);
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

    pub(super) fn set_alarms(&self, change: impl FnOnce(&mut AlarmCauses)) {
        let mut alarms = self.alarms.lock();
        change(&mut alarms);
        let limit = self.disk_free_min.load(Ordering::Relaxed);
        let now = match (&alarms.failed, alarms.low) {
            (Some(failure), _) => Some(Alarm::DiskFailed(failure.clone())),
            (None, Some(free)) => Some(Alarm::DiskLow { free, limit }),
            (None, None) => None,
        };
        self.alarm.send_if_modified(|alarm| {
            // Notifies when an alarm is raised or cleared, not on each change of the number of free bytes.
            let same = match (&*alarm, &now) {
                (Some(Alarm::DiskLow { .. }), Some(Alarm::DiskLow { .. })) => true,
                (before, after) => before == after,
            };
            *alarm = now;
            !same
        });
    }
}
