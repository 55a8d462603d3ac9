//! `leveret-bench`: drives any AMQP 0-9-1 broker over plain blocking sockets and measures it. It knows a broker only by
//! its socket, and uses nothing of Leveret but `leveret::wire`.

mod args;
mod cmq;
mod connections;
mod consumer;
mod delayed;
mod due;
mod error;
mod histogram;
mod hook;
mod ideal_log;
mod lateness;
mod layout;
mod link;
mod load;
mod order;
mod plan;
mod process;
mod producer;
mod progress;
mod publish;
mod queues;
mod random;
mod report;
mod scan;
mod setup;
mod sink;
mod stage;
mod stamp;
mod stress;
mod swarm;
mod target;
#[cfg(test)]
mod tests;
mod window;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use args::{Args, Mode};
use clap::Parser;
use cmq::{CmqPlan, Endpoint};
use error::BenchError;
use ideal_log::LogPlan;
use lateness::LatenessReport;
use link::Link;
use load::{Load, Outcome};
use plan::Run;
use report::{LoadReport, Summary};

/// Writes the summary of a run to standard output. Fails if it could not be run, and also if messages were lost,
/// repeated, out of order or refused.
fn main() -> ExitCode {
    let args = Args::parse();
    let summary = match Run::new(&args).and_then(|run| run.measure()) {
        Ok(summary) => summary,
        Err(error) => {
            eprintln!("leveret-bench: {error}");
            return ExitCode::from(2);
        }
    };
    let text = if args.json {
        serde_json::to_string_pretty(&summary).unwrap_or_default() + "\n"
    } else {
        summary.to_string()
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) if summary.ok => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

impl Run<'_> {
    fn measure(&self) -> Result<Summary, BenchError> {
        let time = Duration::from_secs_f64(self.args.seconds);
        let mut summary = self.blank_summary();
        match self.args.mode {
            Mode::Connections | Mode::Churn => {
                let link = Link::open(&self.setup.target)?;
                summary.broker = link.server_name();
                link.close()?;
                summary.connections = Some(match self.args.mode {
                    Mode::Churn => connections::churn(&self.setup, self.args.connections, time)?,
                    _ => connections::hold(&self.setup, self.args.connections, time)?,
                });
                return Ok(summary);
            }
            Mode::Queues => return self.measure_queues(summary),
            Mode::IdealLog => return self.measure_ideal_log(summary),
            Mode::CmqSend | Mode::CmqReceive => return self.measure_cmq(summary),
            Mode::Produce
            | Mode::Consume
            | Mode::Both
            | Mode::Latency
            | Mode::Backlog
            | Mode::Rewind
            | Mode::Delayed
            | Mode::Stress
            | Mode::Swarm => {}
        }
        let declared = self.setup.declare()?;
        summary.broker = declared.broker;
        summary.queues_declared_per_second = Some(declared.queues_per_second);
        let measured = self.measure_messages(&mut summary);
        if !self.args.keep {
            let cleaned = self.setup.clean_up();
            measured.and(cleaned)?;
        } else {
            measured?;
        }
        let due = summary
            .delayed
            .as_ref()
            .and_then(|found| found.due.as_ref());
        summary.ok =
            summary.loads.iter().all(LoadReport::is_ok) && due.is_none_or(LatenessReport::is_ok);
        Ok(summary)
    }

    fn measure_messages(&self, summary: &mut Summary) -> Result<(), BenchError> {
        let mut load = |load: Load<'_>| -> Result<Outcome, BenchError> {
            let (name, rate) = (load.name, load.offered);
            let outcome = load.run()?;
            let mut report = LoadReport::new(name, &outcome, self.args.size, rate);
            if name == "consume" || name.starts_with("drain") {
                // How long messages had been lying there.
                report.latency_ms = None;
            }
            summary.loads.push(report);
            Ok(outcome)
        };
        match self.args.mode {
            Mode::Produce => {
                load(self.load("produce", Some(self.produce), None))?;
            }
            Mode::Both => {
                load(self.load("both", Some(self.produce), Some(self.consume)))?;
            }
            Mode::Latency => {
                load(self.load("latency", Some(self.produce), Some(self.consume)))?;
            }
            Mode::Consume => {
                let sent = load(self.fill(500_000))?.sent;
                load(self.drain("consume", sent))?;
            }
            Mode::Backlog => {
                let sent = load(self.fill(1_000_000))?.sent;
                let hook = self.args.restart_hook.as_deref();
                let restarted = hook
                    .map(|hook| hook::restart(&self.setup.target, hook))
                    .transpose()?;
                load(self.drain("drain", sent))?;
                summary.restart_seconds = restarted;
            }
            Mode::Rewind => {
                let hook = self.args.rewind_hook.as_deref().unwrap_or_default();
                let sent = load(self.fill(1_000_000))?.sent;
                load(self.drain("drain", sent.clone()))?;
                let begun = Instant::now();
                hook::run("rewind", hook)?;
                summary.rewind_seconds = Some(begun.elapsed().as_secs_f64());
                load(self.drain("drain again", sent))?;
            }
            Mode::Delayed => {
                let hook = self.args.restart_hook.as_deref();
                let restart = || {
                    hook.map(|hook| hook::restart(&self.setup.target, hook))
                        .transpose()
                };
                summary.delayed = Some(match self.args.due {
                    Some(window) => delayed::measure_due(self, window, load, restart)?,
                    None => delayed::measure(self, load, restart)?,
                });
            }
            Mode::Stress => {
                let pair = |name| load(self.load(name, Some(self.produce), Some(self.consume)));
                summary.stress = Some(stress::measure(&self.setup, self.args.stressor, pair)?);
            }
            Mode::Swarm => {
                let outcome = swarm::measure(&self.setup, self.swarm_plan())?;
                summary.loads.push(LoadReport::new(
                    "swarm",
                    &outcome,
                    self.args.size,
                    self.rate,
                ));
            }
            Mode::Connections
            | Mode::Churn
            | Mode::Queues
            | Mode::IdealLog
            | Mode::CmqSend
            | Mode::CmqReceive => {}
        }
        Ok(())
    }

    fn measure_queues(&self, mut summary: Summary) -> Result<Summary, BenchError> {
        let link = Link::open(&self.setup.target)?;
        summary.broker = link.server_name();
        link.close()?;
        let hook = self.args.restart_hook.as_deref();
        let restart = || {
            hook.map(|hook| hook::restart(&self.setup.target, hook))
                .transpose()
        };
        summary.queues = Some(queues::measure(&self.setup, restart)?);
        Ok(summary)
    }

    fn measure_ideal_log(&self, mut summary: Summary) -> Result<Summary, BenchError> {
        summary.broker = "ideal log".to_owned();
        let plan = LogPlan {
            size: self.args.size,
            batch: self.args.confirm_window,
            warm_up: Duration::from_secs_f64(self.args.warm_up),
            time: Duration::from_secs_f64(self.args.seconds),
        };
        if let Some(dir) = &self.args.dir {
            let outcome = ideal_log::measure(dir, plan)?;
            let report = LoadReport::new("ideal-log", &outcome, self.args.size, None);
            summary.loads.push(report);
        }
        Ok(summary)
    }

    fn measure_cmq(&self, mut summary: Summary) -> Result<Summary, BenchError> {
        let uri = self.args.cmq_uri.as_deref().unwrap_or_default();
        let queues = 0..self.setup.layout.queues;
        let plan = CmqPlan {
            endpoint: Endpoint::parse(uri)?,
            connections: self.args.connections,
            queues: queues
                .map(|queue| format!("{}-cmq-{queue}", self.args.prefix))
                .collect(),
            size: self.args.size,
            warm_up: Duration::from_secs_f64(self.args.warm_up),
            time: Duration::from_secs_f64(self.args.seconds),
        };
        summary.broker = "CMQ API 2.0".to_owned();
        plan.prepare()?;
        let (name, outcome) = match self.args.mode {
            Mode::CmqSend => ("cmq-send", plan.send(&self.setup)),
            _ => {
                let count = self.args.count.unwrap_or(500_000);
                ("cmq-receive", plan.receive(&self.setup, count))
            }
        };
        if !self.args.keep {
            plan.clean_up()?;
        }
        let report = LoadReport::new(name, &outcome?, self.args.size, None);
        summary.loads.push(report);
        summary.ok = summary.loads.iter().all(LoadReport::is_ok);
        Ok(summary)
    }
}
