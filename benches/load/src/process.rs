//! What `/proc` says about processes and the machine: CPU time, memory, bytes written. The parsers are pure.

use std::fs;

/// `/proc` counts CPU time in hundredths of a second on every architecture this runs on (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds, user and system, that a process has used since it started.
pub(super) fn cpu_seconds(pid: u32) -> Option<f64> {
    parse_cpu_seconds(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// CPU seconds that a thread of this process has used.
pub(super) fn thread_cpu_seconds(tid: u32) -> Option<f64> {
    parse_schedstat(&fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok()?)
}

/// The id of the calling thread.
pub(super) fn thread_id() -> Option<u32> {
    let link = fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// CPU seconds that all processes together have used since the machine started; stolen time is not among them.
pub(super) fn machine_cpu_seconds() -> Option<f64> {
    parse_machine(&fs::read_to_string("/proc/stat").ok()?)
}

/// Resident memory of a process, in bytes.
pub(super) fn rss_bytes(pid: u32) -> Option<u64> {
    parse_rss(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Bytes that a process has caused to be written to storage; `None` also if we may not know.
pub(super) fn written_bytes(pid: u32) -> Option<u64> {
    parse_written(&fs::read_to_string(format!("/proc/{pid}/io")).ok()?)
}

/// Lets the threads that this thread starts wake up on time: sleeps are otherwise up to 50 us late, which would count
/// as latency of the broker. Where the system refuses, they stay late.
pub(super) fn sleep_precisely() {
    drop(fs::write("/proc/self/timerslack_ns", "1000"));
}

fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    // The command name may hold spaces and brackets; it ends at the last bracket. utime and stime are fields 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn parse_schedstat(schedstat: &str) -> Option<f64> {
    let on_cpu_ns: f64 = schedstat.split_ascii_whitespace().next()?.parse().ok()?;
    Some(on_cpu_ns / 1e9)
}

fn parse_machine(stat: &str) -> Option<f64> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let mut ticks = 0.0;
    for (at, field) in line.split_ascii_whitespace().skip(1).enumerate() {
        // user nice system idle iowait irq softirq; what follows is stolen or counted as user already.
        if matches!(at, 0..=2 | 5..=6) {
            ticks += field.parse::<f64>().ok()?;
        }
    }
    Some(ticks / TICKS_PER_SECOND)
}

fn parse_rss(status: &str) -> Option<u64> {
    let kib: u64 = value_of(status, "VmRSS:")?
        .trim_end_matches(" kB")
        .parse()
        .ok()?;
    Some(kib * 1024)
}

fn parse_written(io: &str) -> Option<u64> {
    value_of(io, "write_bytes:")?.parse().ok()
}

fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::process;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn cpu_time_is_found_behind_an_awkward_name() {
        let stat = "42 (a ) b (c) S 1 42 42 0 -1 4194560 100 200 3 4 1234 66 7 8 20 0 9 0 5000 1 2";
        assert_eq!(parse_cpu_seconds(stat), Some(13.0));
        assert_eq!(parse_cpu_seconds("42 (a) S 1"), None);
    }

    #[test]
    fn memory_and_writes() {
        let status = "Name:\tx\nVmHWM:\t  99999 kB\nVmRSS:\t   12345 kB\nThreads:\t3\n";
        assert_eq!(parse_rss(status), Some(12_345 * 1024));
        assert_eq!(parse_rss("Name:\tkthread\n"), None);
        let io = "rchar: 1\nwchar: 2\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n";
        assert_eq!(parse_written(io), Some(4096));
    }

    #[test]
    fn idle_and_stolen_time_is_not_busy() {
        let stat = "cpu  100 20 30 9000 800 4 6 70 50 0\ncpu0 1 1 1 1\n";
        assert_eq!(parse_machine(stat), Some(1.6));
    }

    #[test]
    fn this_process_is_seen_to_work() {
        let before = cpu_seconds(process::id()).unwrap();
        let tid = thread_id().unwrap();
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
        assert!(cpu_seconds(process::id()).unwrap() > before);
        assert!(machine_cpu_seconds().unwrap() > machine_before);
        assert!(rss_bytes(process::id()).unwrap() > 1024 * 1024);
    }
}
