//! `leveret bench`: drives any AMQP 0-9-1 broker over plain blocking sockets and measures it. What is here: the modes.
//! It is a client: it uses `wire` and nothing else of the broker.

mod args;
mod cmq;
mod connections;
mod consumer;
mod error;
mod histogram;
mod ideal_log;
mod layout;
mod link;
mod load;
mod order;
mod process;
mod producer;
mod progress;
mod publish;
mod queues;
mod report;
mod scan;
mod setup;
mod sink;
mod stage;
mod stamp;
mod stress;
mod swarm;
mod target;
mod window;

use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

pub use args::Args;
pub use error::BenchError;
pub use ideal_log::IdealLog;

use args::Mode;
use cmq::{CmqPlan, Endpoint};
use consumer::ConsumerPlan;
use ideal_log::LogPlan;
use layout::Layout;
use link::Link;
use load::{Length, Load, Outcome};
use producer::{ProducerPlan, Rate};
use publish::MessageShape;
use report::{LoadReport, Settings, Summary};
use setup::Setup;
use sink::Sink;
use stamp::STAMP_LEN;
use swarm::SwarmPlan;

/// The largest body that the sink can make up: it is not cut into frames.
const SINK_BODY_MAX: usize = 100_000;
/// How long a broker may take to come back after the restart hook.
const RESTART_MAX: Duration = Duration::from_secs(600);
/// How often it is looked for.
const RESTART_POLL: Duration = Duration::from_millis(20);

/// Runs a benchmark and writes its summary to standard output. Fails if it could not be run, and also if messages were
/// lost, repeated, out of order or refused.
pub fn run(args: &Args) -> ExitCode {
    let summary = match Run::new(args).and_then(|run| run.measure()) {
        Ok(summary) => summary,
        Err(error) => {
            eprintln!("leveret bench: {error}");
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

/// A run: the options, checked.
struct Run<'a> {
    args: &'a Args,
    setup: Setup,
    produce: ProducerPlan,
    consume: ConsumerPlan,
    rate: Option<u64>,
}

impl Run<'_> {
    fn new(args: &Args) -> Result<Run<'_>, BenchError> {
        let usage = |what: &str| Err(BenchError::Usage(what.to_owned()));
        if args.size < STAMP_LEN {
            return usage("--size must be at least 16: a body holds a time and a sequence number");
        }
        if !(args.seconds > 0.0 && args.seconds < 1e9 && args.warm_up >= 0.0 && args.warm_up < 1e9)
        {
            return usage("--seconds must be more than 0, and --warm-up not less");
        }
        let ack_batch = args.ack_batch.unwrap_or(match args.mode {
            Mode::Latency | Mode::Stress | Mode::Swarm => 1,
            _ => 100,
        });
        if args.prefetch > 0 && ack_batch > u32::from(args.prefetch) {
            return usage(
                "--ack-batch must not be more than --prefetch, or consumers wait for ever",
            );
        }
        let pairs = args.pairs.unwrap_or(1);
        let rate = args.rate.or(match args.mode {
            Mode::Latency | Mode::Stress => Some(1000),
            Mode::Swarm => Some(100 * pairs as u64),
            _ => None,
        });
        if rate == Some(0) {
            return usage("--rate must be more than 0");
        }
        if (args.mode == Mode::Rewind) != args.rewind_hook.is_some() {
            return usage("--rewind-hook goes with rewind, and rewind with --rewind-hook");
        }
        if (args.mode == Mode::IdealLog) != args.dir.is_some() {
            return usage("--dir goes with ideal-log, and ideal-log with --dir");
        }
        if matches!(args.mode, Mode::Swarm | Mode::IdealLog) && args.confirm_window == 0 {
            return usage("--confirm-window must be more than 0 here");
        }
        if args.mode == Mode::Swarm && args.ack_batch.is_some_and(|batch| batch == 0) {
            return usage("--ack-batch must be more than 0 here");
        }
        let producers = args.producers.unwrap_or(pairs);
        let consumers = args.consumers.unwrap_or(pairs);
        let queues = args
            .queues
            .unwrap_or(if args.pairs.is_some() { pairs } else { 1 });
        let consuming = matches!(
            args.mode,
            Mode::Consume
                | Mode::Both
                | Mode::Latency
                | Mode::Backlog
                | Mode::Rewind
                | Mode::Stress
                | Mode::Swarm
        );
        if consumers == 0 && consuming {
            return usage("at least one consumer is needed");
        }
        let target = match args.sink {
            false => args.uri.parse()?,
            true if producers != queues || consumers != queues || args.size > SINK_BODY_MAX => {
                return usage(
                    "the sink wants as many producers and consumers as queues, and bodies up to 100 KB",
                );
            }
            true => {
                let sink = Sink::start(None).map_err(BenchError::io("starting the sink"))?;
                format!("amqp://127.0.0.1:{}", sink.port).parse()?
            }
        };
        let setup = Setup {
            target,
            layout: Layout::new(
                &args.prefix,
                (producers, consumers, queues),
                args.exchange_type,
                args.bindings,
            )?,
            shape: MessageShape {
                size: args.size,
                persistent: !args.transient,
            },
            durable: !args.transient_queues,
            queue_arguments: setup::parse_arguments(&args.queue_arguments)?,
            consume_arguments: setup::parse_arguments(&args.consume_arguments)?,
            pids: args.pid.clone(),
            pid_files: args.pid_file.clone(),
            quiet: args.quiet,
        };
        Ok(Run {
            args,
            produce: ProducerPlan {
                confirm_window: (args.confirm_window > 0).then_some(args.confirm_window),
                rate: rate.map(|messages| Rate {
                    messages,
                    seconds: producers as u64,
                }),
                quota: None,
            },
            consume: ConsumerPlan {
                prefetch: args.prefetch,
                ack_batch: (ack_batch > 0).then_some(ack_batch),
            },
            setup,
            rate,
        })
    }

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
        summary.ok = summary.loads.iter().all(LoadReport::is_ok);
        Ok(summary)
    }

    fn measure_messages(&self, summary: &mut Summary) -> Result<(), BenchError> {
        let mut load = |load: Load<'_>| -> Result<Outcome, BenchError> {
            let (name, rate) = (load.name, load.produce.and(self.rate));
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
                let restarted = hook.map(|hook| self.restart(hook)).transpose()?;
                load(self.drain("drain", sent))?;
                summary.restart_seconds = restarted;
            }
            Mode::Rewind => {
                let hook = self.args.rewind_hook.as_deref().unwrap_or_default();
                let sent = load(self.fill(1_000_000))?.sent;
                load(self.drain("drain", sent.clone()))?;
                let begun = Instant::now();
                run_hook("rewind", hook)?;
                summary.rewind_seconds = Some(begun.elapsed().as_secs_f64());
                load(self.drain("drain again", sent))?;
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
        let restart = || hook.map(|hook| self.restart(hook)).transpose();
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

    fn swarm_plan(&self) -> SwarmPlan {
        SwarmPlan {
            rate: self.rate.unwrap_or(1),
            confirm_window: self.args.confirm_window,
            prefetch: self.args.prefetch,
            ack_batch: self.consume.ack_batch.unwrap_or(1),
            warm_up: Duration::from_secs_f64(self.args.warm_up),
            time: Duration::from_secs_f64(self.args.seconds),
        }
    }

    /// A load as the options say: for a time, or so many messages from the beginning.
    fn load(
        &self,
        name: &'static str,
        produce: Option<ProducerPlan>,
        consume: Option<ConsumerPlan>,
    ) -> Load<'_> {
        let copies = if consume.is_some() {
            self.setup.layout.copies() as u64
        } else {
            1
        };
        let (warm_up, length) = match self.args.count {
            Some(count) => (0.0, Length::Messages(count * copies)),
            None => (
                self.args.warm_up,
                Length::Time(Duration::from_secs_f64(self.args.seconds)),
            ),
        };
        Load {
            setup: &self.setup,
            name,
            produce: produce.map(|plan| ProducerPlan {
                quota: self.args.count,
                ..plan
            }),
            consume,
            warm_up: Duration::from_secs_f64(warm_up),
            length,
            sent_before: Vec::new(),
        }
    }

    fn fill(&self, count: u64) -> Load<'_> {
        let count = self.args.count.unwrap_or(count);
        Load {
            produce: Some(ProducerPlan {
                quota: Some(count),
                ..self.produce
            }),
            warm_up: Duration::ZERO,
            length: Length::Messages(count),
            ..self.load("fill", None, None)
        }
    }

    fn drain(&self, name: &'static str, sent: Vec<u64>) -> Load<'_> {
        let there = sent.iter().sum::<u64>() * self.setup.layout.copies() as u64;
        Load {
            warm_up: Duration::ZERO,
            length: Length::Messages(there),
            sent_before: sent,
            ..self.load(name, None, Some(self.consume))
        }
    }

    /// Restarts the broker; returns after how many seconds it let a client in again.
    fn restart(&self, hook: &str) -> Result<f64, BenchError> {
        let begun = Instant::now();
        run_hook("restart", hook)?;
        loop {
            match Link::open(&self.setup.target) {
                Ok(link) => {
                    link.close()?;
                    return Ok(begun.elapsed().as_secs_f64());
                }
                Err(error) if begun.elapsed() > RESTART_MAX => return Err(error),
                Err(_) => thread::sleep(RESTART_POLL),
            }
        }
    }

    fn blank_summary(&self) -> Summary {
        let layout = &self.setup.layout;
        Summary {
            mode: self
                .args
                .mode
                .to_possible_value()
                .map_or(String::new(), |mode| mode.get_name().to_owned()),
            broker: String::new(),
            settings: Settings {
                producers: layout.producers,
                consumers: layout.consumers,
                queues: layout.queues,
                exchange: layout
                    .routing
                    .exchange_type()
                    .unwrap_or("default")
                    .to_owned(),
                routing_keys: layout.routes,
                body_bytes: self.args.size,
                persistent: !self.args.transient,
                confirm_window: self.args.confirm_window,
                prefetch: self.args.prefetch,
                ack_batch: self.consume.ack_batch.unwrap_or(0),
                offered_per_second: self.rate,
            },
            queues_declared_per_second: None,
            loads: Vec::new(),
            restart_seconds: None,
            rewind_seconds: None,
            connections: None,
            queues: None,
            stress: None,
            ok: true,
        }
    }
}

/// Runs a shell command that does something to the broker, to its end.
fn run_hook(name: &str, hook: &str) -> Result<(), BenchError> {
    let mut command = Command::new("sh");
    command.args(["-c", hook]);
    // What it says is not to stand among the results.
    let status = command.stdout(Stdio::null()).status();
    let status = status.map_err(BenchError::io("running a hook"))?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| BenchError::Usage(format!("the {name} hook failed: {status}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Args {
        Line::try_parse_from(line.split_whitespace()).unwrap().args
    }

    /// Runs the load generator against a sink; `lost` is not delivered.
    fn measure(line: &str, lost: Option<u64>) -> Summary {
        let sink = Sink::start(lost).unwrap();
        let line = format!(
            "bench {line} --quiet --warm-up 0 --uri amqp://127.0.0.1:{}",
            sink.port
        );
        Run::new(&args(&line)).unwrap().measure().unwrap()
    }

    #[test]
    fn every_mode_with_messages_runs_to_its_end() {
        for (line, loads) in [
            ("produce --count 20000", 1),
            ("produce --count 3000 --confirm-window 0", 1),
            ("produce --seconds 0.2 --pairs 2", 1),
            ("consume --count 20001 --pairs 2 --size 100", 2),
            ("both --count 20001 --pairs 3", 1),
            ("both --seconds 0.3 --rate 5000 --confirm-window 10", 1),
            ("latency --seconds 0.3 --rate 2000 --size 16", 1),
            ("backlog --count 5000 --size 40000 --restart-hook true", 2),
            ("both --count 5000 --ack-batch 0", 1),
            ("swarm --pairs 30 --rate 3000 --seconds 0.3", 1),
        ] {
            let summary = measure(line, None);
            assert!(summary.ok, "{line}: {summary}");
            assert_eq!(summary.loads.len(), loads, "{line}");
            assert!(
                summary.loads.iter().all(|load| load.rate > 0.0),
                "{line}: {summary}"
            );
        }
    }

    #[test]
    fn counts_are_exact() {
        let summary = measure("both --count 12345 --pairs 2", None);
        let [load] = &summary.loads[..] else {
            panic!("one load")
        };
        assert_eq!((load.rate * load.seconds).round(), 12345.0);
        assert_eq!((load.published_per_second * load.seconds).round(), 12345.0);
    }

    #[test]
    fn connections_open_and_close() {
        let held = measure("connections --connections 20 --seconds 0.1", None);
        assert_eq!(held.connections.unwrap().opened, 20);
        let churned = measure("churn --connections 2 --seconds 0.3", None);
        assert!(churned.connections.unwrap().opened > 2);
    }

    #[test]
    fn every_stressor_works_and_ends() {
        for stressor in ["stuck-consumer", "flood", "bulk", "churn"] {
            let line = format!("stress --stressor {stressor} --seconds 0.3");
            let summary = measure(&line, None);
            assert!(summary.ok, "{summary}");
            assert_eq!(summary.loads.len(), 2, "alone, and beside it");
            let stress = summary.stress.unwrap();
            assert!(stress.done_per_second > 1.0, "{stress}");
            assert!(stress.p99_ratio.is_some_and(|ratio| ratio > 0.0));
        }
    }

    #[test]
    fn queues_are_declared_and_deleted() {
        let queues = measure("queues --queues 20 --restart-hook true", None);
        let queues = queues.queues.unwrap();
        assert_eq!(queues.declared, 20);
        assert!(queues.declared_per_second > 0.0 && queues.restart_seconds.is_some());
    }

    #[test]
    fn the_disk_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let line = format!(
            "ideal-log --seconds 0.1 --confirm-window 10 --dir {}",
            dir.path().display()
        );
        let [load] = &measure(&line, None).loads[..] else {
            panic!("one load")
        };
        assert!(load.rate > 0.0 && load.confirm_ms.is_some());
    }

    #[test]
    fn a_lost_message_is_found() {
        let summary = measure("latency --seconds 0.3 --rate 2000", Some(100));
        assert!(!summary.ok);
        let findings = summary.loads[0].findings.unwrap();
        assert_eq!((findings.missing, findings.repeated_or_late), (1, 0));
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "produce --size 15",
            "both --prefetch 10 --ack-batch 11",
            "latency --rate 0",
            "consume --consumers 0",
            "produce --seconds 0",
            "produce --bindings 4",
            "produce --uri http://nowhere",
            "ideal-log",
            "produce --dir .",
            "swarm --confirm-window 0",
        ] {
            assert!(Run::new(&args(&format!("bench {line}"))).is_err(), "{line}");
        }
    }
}
