//! Many queues without messages.

use std::fmt::{self, Display, Formatter};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::mode::Mode;
use crate::broker::restart;
use crate::error::BenchError;
use crate::layout::{Layout, Routing};
use crate::load::Progress;
use crate::message::MessageShape;
use crate::options::{Argument, BrokerOptions, QueueOptions};
use crate::report::Summary;
use crate::setup::Setup;
use crate::stamp::STAMP_LEN;

/// Time for the broker to release memory before that is measured.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Queues {
    #[command(flatten)]
    broker: BrokerOptions,
    #[command(flatten)]
    options: QueueOptions,
    /// Queues to declare.
    #[arg(long, default_value_t = 1)]
    queues: usize,
    /// A shell command that restarts the broker and returns when it accepts connections.
    #[arg(long)]
    restart_hook: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct QueueDetails {
    queues: QueueReport,
}

#[derive(Debug, Serialize)]
struct QueueReport {
    declared: u64,
    /// One after another on one connection.
    declared_per_second: f64,
    deleted_per_second: f64,
    /// Memory of the broker before, with the queues, and with them after a restart.
    rss_before_mb: Option<f64>,
    rss_declared_mb: Option<f64>,
    /// CPU of the broker with idle queues, in percent of a core.
    idle_cpu_percent: Option<f64>,
    /// Time from the restart hook until the broker accepted a client again.
    restart_seconds: Option<f64>,
    rss_restarted_mb: Option<f64>,
}

impl Mode for Queues {
    type Details = QueueDetails;

    fn run(&self, _: Progress) -> Result<Summary<QueueDetails>, BenchError> {
        let setup = self.setup()?;
        let processes = &setup.broker.processes;
        let rss_before_mb = processes.rss_mb();
        let declared = setup.declare()?;
        thread::sleep(SETTLE);
        let rss_declared_mb = processes.rss_mb();
        let cpu_before = processes.cpu_seconds();
        thread::sleep(SETTLE);
        let cpu = processes.cpu_seconds().zip(cpu_before);
        let hook = self.restart_hook.as_deref();
        let restart_seconds = hook
            .map(|hook| restart(&setup.broker.target, hook))
            .transpose()?;
        let mut rss_restarted_mb = None;
        if restart_seconds.is_some() {
            thread::sleep(SETTLE);
            rss_restarted_mb = processes.rss_mb();
        }
        let begun = Instant::now();
        setup.clean_up()?;
        let queues = QueueReport {
            declared: self.queues as u64,
            declared_per_second: declared.queues_per_second,
            deleted_per_second: self.queues as f64 / begun.elapsed().as_secs_f64(),
            rss_before_mb,
            rss_declared_mb,
            idle_cpu_percent: cpu
                .map(|(now, before)| (now - before) / SETTLE.as_secs_f64() * 100.0),
            restart_seconds,
            rss_restarted_mb,
        };
        Ok(Summary {
            mode: "queues",
            broker: declared.broker,
            settings: None,
            loads: Vec::new(),
            details: QueueDetails { queues },
            ok: true,
        })
    }
}

impl Queues {
    fn setup(&self) -> Result<Setup, BenchError> {
        let QueueOptions {
            queue_arguments,
            transient_queues,
            prefix,
        } = &self.options;
        Ok(Setup {
            broker: self.broker.clone(),
            layout: Layout::new(prefix, (1, 0, self.queues), Routing::Default, 0)?,
            shape: MessageShape {
                size: STAMP_LEN,
                persistent: true,
                delay_ms: None,
            },
            durable: !transient_queues,
            queue_arguments: Argument::table(queue_arguments),
            consume_arguments: Argument::table(&[]),
        })
    }
}

impl Display for QueueDetails {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = &self.queues;
        writeln!(
            f,
            "{} queues declared, {:.0} per second; deleted {:.0} per second",
            report.declared, report.declared_per_second, report.deleted_per_second
        )?;
        if let (Some(before), Some(declared)) = (report.rss_before_mb, report.rss_declared_mb) {
            write!(f, "  broker {before:.1} MB before, {declared:.1} MB after")?;
        }
        if let Some(cpu) = report.idle_cpu_percent {
            write!(f, "; idle {cpu:.1} % of a core")?;
        }
        writeln!(f)?;
        if let Some(seconds) = report.restart_seconds {
            write!(f, "  restart {seconds:.2} s")?;
            if let Some(rss) = report.rss_restarted_mb {
                write!(f, ", then {rss:.1} MB")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
