//! The ideal log: records appended to one file whose blocks are allocated and written beforehand, and synced. What a
//! broker that syncs does beyond this is its own cost. It is not a store: it keeps no index and is never read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::BenchError;
use super::load::{Outcome, Usage};
use super::process;

/// Length of the file in bytes. When it is full it is written again from its beginning.
const FILE_BYTES: u64 = 256 * 1024 * 1024;
/// The file is filled in pieces of this many bytes.
const FILL_BYTES: usize = 1024 * 1024;

/// The log.
#[derive(Debug)]
pub(super) struct IdealLog {
    file: File,
    at: u64,
    pending: Vec<u8>,
}

impl IdealLog {
    /// Makes the file in a directory. It has no name there, and goes when this is dropped.
    pub(super) fn open(dir: &Path) -> io::Result<IdealLog> {
        let path = dir.join(format!("ideal-log.{}", std::process::id()));
        let file = File::create_new(&path)?;
        std::fs::remove_file(&path)?;
        let zeros = vec![0; FILL_BYTES];
        for at in (0..FILE_BYTES).step_by(FILL_BYTES) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(IdealLog {
            file,
            at: 0,
            pending: Vec::new(),
        })
    }

    /// Adds a record to those that the next write takes.
    pub(super) fn push(&mut self, record: &[u8]) {
        let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
        self.pending.extend_from_slice(&len.to_le_bytes());
        self.pending.extend_from_slice(record);
    }

    /// Writes the records that wait.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.at + self.pending.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.pending, self.at)?;
        self.at += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Makes what was written safe from a power loss.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogPlan {
    /// Length of a record in bytes.
    pub(super) size: usize,
    /// Records between two syncs: as many as publishers may have unconfirmed.
    pub(super) batch: u32,
    pub(super) warm_up: Duration,
    pub(super) time: Duration,
}

/// Writes and syncs for a time. In the outcome the log stands where a broker would: a message is published when it is
/// synced, a confirm takes as long as its write and sync.
pub(super) fn measure(dir: &Path, plan: LogPlan) -> Result<Outcome, BenchError> {
    let failed = |source| BenchError::io("writing the log")(source);
    let mut log = IdealLog::open(dir).map_err(failed)?;
    let record: Vec<u8> = (0..=250u8).cycle().take(plan.size).collect();
    let round = |log: &mut IdealLog| -> Result<Duration, BenchError> {
        let begun = Instant::now();
        for _ in 0..plan.batch {
            log.push(&record);
        }
        log.write().and_then(|()| log.sync()).map_err(failed)?;
        Ok(begun.elapsed())
    };
    let warm_until = Instant::now() + plan.warm_up;
    while Instant::now() < warm_until {
        round(&mut log)?;
    }
    let id = process::thread_id().unwrap_or(0);
    let cpu = || process::thread_cpu_seconds(id);
    let (cpu_before, machine_before) = (cpu(), process::machine_cpu_seconds());
    let mut outcome = Outcome::default();
    let begun = Instant::now();
    while begun.elapsed() < plan.time {
        let took = round(&mut log)?;
        outcome
            .confirm_ns
            .record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        outcome.published += u64::from(plan.batch);
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    let since = |before: Option<f64>, now: Option<f64>| Some(now? - before?);
    outcome.usage = Usage {
        broker_cpu: since(cpu_before, cpu()),
        broker_rss_peak: process::rss_bytes(std::process::id()),
        machine_cpu: since(machine_before, process::machine_cpu_seconds()).unwrap_or(0.0),
        ..Usage::default()
    };
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_lie_one_after_the_other_and_go_round() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = IdealLog::open(dir.path()).unwrap();
        for record in [&b"one"[..], b"three"] {
            log.push(record);
        }
        log.write().unwrap();
        log.sync().unwrap();
        let mut bytes = [0; 16];
        log.file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"\x03\0\0\0one\x05\0\0\0three");
        log.at = FILE_BYTES - 1;
        log.push(b"next");
        log.write().unwrap();
        assert_eq!(log.at, 8);
    }
}
