//! Compares the resident memory of the process with its watermark, and raises the memory alarm above it. Does
//! not know which publishers the alarm stops.
//!
//! Reads two single fields of `/proc` by hand, one of them every 2.5 s. The crate `procfs` parses all of
//! `/proc/self/status` and fails if any mandatory field is missing, so the alarm would depend on fields that
//! it does not use. The crate does not read a cgroup's memory limit.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::broker::alarms::Alarms;
use crate::config::MemoryWatermark;

/// Interval of the checks, as in RabbitMQ.
const CHECK_EVERY: Duration = Duration::from_millis(2500);

/// Checks resident memory against a watermark.
pub struct MemoryMonitor {
    alarms: Arc<Alarms>,
    total: u64,
    watermark: Mutex<MemoryWatermark>,
}

impl MemoryMonitor {
    /// A monitor that has not checked yet.
    pub fn new(alarms: Arc<Alarms>, watermark: MemoryWatermark) -> MemoryMonitor {
        MemoryMonitor {
            alarms,
            total: total_bytes(),
            watermark: Mutex::new(watermark),
        }
    }

    /// Checks immediately, and then at each interval. Never returns.
    pub async fn watch(&self) {
        let mut ticks = tokio::time::interval(CHECK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.check();
        }
    }

    /// Replaces the watermark and checks immediately.
    pub fn set_watermark(&self, watermark: MemoryWatermark) {
        *self.watermark.lock() = watermark;
        self.check();
    }

    /// The watermark as configured.
    pub fn watermark(&self) -> MemoryWatermark {
        *self.watermark.lock()
    }

    /// The watermark in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.watermark().bytes(self.total)
    }

    /// Memory of the machine or its cgroup, in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }

    fn check(&self) {
        self.alarms.memory_is(resident_bytes(), self.limit_bytes());
    }
}

/// Resident memory of this process in bytes; 0 if the system does not report it.
pub fn resident_bytes() -> u64 {
    kib_field("/proc/self/status", "VmRSS:").unwrap_or(0)
}

/// Memory of the machine, or the cgroup's limit if that is lower. `u64::MAX` if the system reports neither.
pub fn total_bytes() -> u64 {
    let machine = kib_field("/proc/meminfo", "MemTotal:");
    let cgroups = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let cgroup = cgroups
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    cgroup.chain(machine).min().unwrap_or(u64::MAX)
}

/// Reads a field such as `VmRSS:   1234 kB`, in bytes.
fn kib_field(file: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_watermark_raises_the_alarm_and_a_large_one_clears_it() {
        let alarms = Arc::new(Alarms::default());
        let monitor = MemoryMonitor::new(alarms.clone(), MemoryWatermark::Fraction(1.0));
        assert!(resident_bytes() > 0 && monitor.total_bytes() > resident_bytes());
        monitor.set_watermark(MemoryWatermark::Fraction(0.000_000_01));
        assert!(alarms.raised().memory);
        monitor.set_watermark(MemoryWatermark::Bytes(u64::MAX));
        assert!(!alarms.raised().memory);
    }
}
