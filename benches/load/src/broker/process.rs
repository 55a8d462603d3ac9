//! CPU time, memory and written bytes of processes, threads and the machine, from `/proc`.

use std::num::NonZeroU64;
use std::time::Duration;

use procfs::process::Process;
use procfs::{CurrentSI, KernelStats, ticks_per_second};
use rustix::thread::{Pid, gettid, set_current_timer_slack};

/// How late the kernel may wake a sleeping thread, in ns.
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::new(1000).expect("not zero");

/// CPU seconds, user and system, of a process since it started.
pub(crate) fn cpu_seconds(pid: i32) -> Option<f64> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    Some(seconds(stat.utime + stat.stime))
}

/// CPU seconds of a thread of this process.
pub(crate) fn thread_cpu_seconds(tid: i32) -> Option<f64> {
    let task = Process::myself().ok()?.task_from_tid(tid).ok()?;
    let on_cpu_ns = task.schedstat().ok()?.sum_exec_runtime;
    Some(Duration::from_nanos(on_cpu_ns).as_secs_f64())
}

/// The id of the calling thread.
pub(crate) fn thread_id() -> i32 {
    Pid::as_raw(Some(gettid()))
}

/// CPU seconds of all processes together since the machine started, without stolen time.
pub(crate) fn machine_cpu_seconds() -> Option<f64> {
    let total = KernelStats::current().ok()?.total;
    let interrupts = total.irq.unwrap_or(0) + total.softirq.unwrap_or(0);
    Some(seconds(total.user + total.nice + total.system + interrupts))
}

/// Resident memory of a process, in bytes.
pub(crate) fn rss_bytes(pid: i32) -> Option<u64> {
    let status = Process::new(pid).ok()?.status().ok()?;
    Some(status.vmrss? * 1024)
}

/// Bytes that a process has caused to be written to storage. `None` also without the right to read them.
pub(crate) fn written_bytes(pid: i32) -> Option<u64> {
    Some(Process::new(pid).ok()?.io().ok()?.write_bytes)
}

/// Lets this thread, and the threads that it starts, wake up on time. The default slack of 50 us would count
/// as latency of the broker. If the system refuses, the default stays.
pub(crate) fn sleep_precisely() {
    set_current_timer_slack(Some(TIMER_SLACK_NS)).unwrap_or_default();
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_work_of_this_process_is_counted() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let before = cpu_seconds(pid).unwrap();
        let tid = thread_id();
        let thread_before = thread_cpu_seconds(tid).unwrap();
        let machine_before = machine_cpu_seconds().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while thread_cpu_seconds(tid).unwrap() < thread_before + 0.05 {
            assert!(
                Instant::now() < deadline,
                "the thread's CPU time stands still"
            );
            black_box((0..100_000u64).sum::<u64>());
        }
        assert!(cpu_seconds(pid).unwrap() > before);
        assert!(machine_cpu_seconds().unwrap() > machine_before);
        assert!(rss_bytes(pid).unwrap() > 1024 * 1024);
    }
}
