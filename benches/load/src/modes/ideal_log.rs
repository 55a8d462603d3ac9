//! The limit that the disk sets to brokers: messages appended to one preallocated file and synced. Everything
//! that a broker needs beyond this is its own cost.

use std::path::PathBuf;
use std::process;
use std::time::{Duration, Instant};

use super::mode::Mode;
use crate::broker::{machine_cpu_seconds, rss_bytes, thread_cpu_seconds, thread_id};
use crate::error::BenchError;
use crate::load::{Outcome, Progress, Usage};
use crate::options::{TimeOptions, body_size};
use crate::preallocated_log::PreallocatedLog;
use crate::report::{LoadReport, NoDetails, Summary};

#[derive(Debug, clap::Args)]
pub(crate) struct IdealLog {
    /// A directory on the disk to measure.
    #[arg(long)]
    dir: PathBuf,
    /// Length of messages in bytes.
    #[arg(long, default_value_t = 1024, value_parser = body_size())]
    size: usize,
    /// Messages between two syncs.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    confirm_window: u32,
    #[command(flatten)]
    time: TimeOptions,
}

impl Mode for IdealLog {
    type Details = NoDetails;

    fn run(&self, _: Progress) -> Result<Summary<NoDetails>, BenchError> {
        let load = LoadReport::new("ideal-log", &self.measure()?, self.size, None);
        Ok(Summary {
            mode: "ideal-log",
            broker: "ideal log".to_owned(),
            settings: None,
            loads: vec![load],
            details: NoDetails {},
            ok: true,
        })
    }
}

impl IdealLog {
    /// The log takes the broker's place: a message is published when it is synced, a confirm takes as long as
    /// its write and sync, and the CPU is the broker's.
    fn measure(&self) -> Result<Outcome, BenchError> {
        let failed = |source| BenchError::io("writing the log")(source);
        let mut log = PreallocatedLog::open(&self.dir).map_err(failed)?;
        let warm_until = Instant::now() + self.time.warm_up;
        while Instant::now() < warm_until {
            self.write_window(&mut log).map_err(failed)?;
        }
        let thread = thread_id();
        let cpu_before = thread_cpu_seconds(thread);
        let machine_before = machine_cpu_seconds();
        let mut outcome = Outcome::default();
        let begun = Instant::now();
        while begun.elapsed() < self.time.seconds {
            let took = self.write_window(&mut log).map_err(failed)?;
            outcome.confirms.record(took);
            outcome.published += u64::from(self.confirm_window);
        }
        outcome.seconds = begun.elapsed().as_secs_f64();
        let since = |before: Option<f64>, now: Option<f64>| Some(now? - before?);
        outcome.usage = Usage {
            broker_cpu: since(cpu_before, thread_cpu_seconds(thread)),
            broker_rss_peak: i32::try_from(process::id()).ok().and_then(rss_bytes),
            machine_cpu: since(machine_before, machine_cpu_seconds()).unwrap_or(0.0),
            ..Usage::default()
        };
        Ok(outcome)
    }

    /// Writes and syncs the messages of one confirm window. Returns the time that this took.
    fn write_window(&self, log: &mut PreallocatedLog) -> std::io::Result<Duration> {
        let message: Vec<u8> = (0..=250u8).cycle().take(self.size).collect();
        let begun = Instant::now();
        for _ in 0..self.confirm_window {
            log.push(&message);
        }
        log.write()?;
        log.sync()?;
        Ok(begun.elapsed())
    }
}
