//! The broker's processes, as the options name them, and the resources that they use together.

use std::fs;
use std::iter::Sum;
use std::path::PathBuf;

use super::process;

/// All sums are `None` if no process is named, or one of them cannot be read.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Processes {
    /// Process ids of the broker, to report its CPU time and memory.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<i32>,
    /// Files that hold a process id of the broker. They are read each time, for a broker that restarts.
    #[arg(long, value_delimiter = ',')]
    pid_file: Vec<PathBuf>,
}

impl Processes {
    /// CPU seconds since the broker started.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        self.sum(process::cpu_seconds)
    }

    /// Resident memory, in bytes.
    pub(crate) fn rss(&self) -> Option<u64> {
        self.sum(process::rss_bytes)
    }

    pub(crate) fn rss_mb(&self) -> Option<f64> {
        self.rss().map(megabytes)
    }

    /// Bytes written to storage.
    pub(crate) fn written(&self) -> Option<u64> {
        self.sum(process::written_bytes)
    }

    fn sum<T: Sum>(&self, of: impl Fn(i32) -> Option<T>) -> Option<T> {
        if self.pid.is_empty() && self.pid_file.is_empty() {
            return None;
        }
        let given = self.pid.iter().copied().map(Some);
        let read = self
            .pid_file
            .iter()
            .map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
        given.chain(read).map(|pid| of(pid?)).sum()
    }
}

pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
