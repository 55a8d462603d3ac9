//! What a run is to do: the options, checked, and the loads that they make. Measures nothing.

use std::time::Duration;

use clap::ValueEnum;

use super::args::{Args, Mode};
use super::consumer::ConsumerPlan;
use super::delayed::DELAY_MS;
use super::due::{DueSpan, wall_clock_ms};
use super::error::BenchError;
use super::layout::Layout;
use super::load::{Length, Load};
use super::producer::{ProducerPlan, Rate};
use super::publish::MessageShape;
use super::report::{Settings, Summary};
use super::setup::{Setup, parse_arguments};
use super::sink::Sink;
use super::stamp::STAMP_LEN;
use super::swarm::SwarmPlan;

/// The largest body that the sink can make up: it is not cut into frames.
const SINK_BODY_MAX: usize = 100_000;

/// A run: the options, checked.
pub(super) struct Run<'a> {
    pub(super) args: &'a Args,
    pub(super) setup: Setup,
    pub(super) produce: ProducerPlan,
    pub(super) consume: ConsumerPlan,
    pub(super) rate: Option<u64>,
}

impl Run<'_> {
    pub(super) fn new(args: &Args) -> Result<Run<'_>, BenchError> {
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
        if args.due.is_some() && args.mode != Mode::Delayed {
            return usage("--due goes with delayed");
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
        if consumers == 0 && (consuming || args.due.is_some()) {
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
                delay_ms: (args.mode == Mode::Delayed).then_some(DELAY_MS),
            },
            durable: !args.transient_queues,
            queue_arguments: parse_arguments(&args.queue_arguments)?,
            consume_arguments: parse_arguments(&args.consume_arguments)?,
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

    pub(super) fn swarm_plan(&self) -> SwarmPlan {
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
    pub(super) fn load(
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
            due: None,
            offered: produce.and(self.rate),
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

    pub(super) fn fill(&self, count: u64) -> Load<'_> {
        let count = self.args.count.unwrap_or(count);
        Load {
            produce: Some(ProducerPlan {
                quota: Some(count),
                ..self.produce
            }),
            offered: self.rate,
            warm_up: Duration::ZERO,
            length: Length::Messages(count),
            ..self.load("fill", None, None)
        }
    }

    /// Fills the queues with messages that are due at random times.
    pub(super) fn fill_due(&self, count: u64, due: DueSpan) -> Load<'_> {
        Load {
            due: Some(due),
            ..self.fill(count)
        }
    }

    /// Takes them as they become due. What the broker uses is counted from when the first is due.
    pub(super) fn drain_due(&self, sent: Vec<u64>, due: DueSpan) -> Load<'_> {
        let drain = self.drain("due", sent);
        let offered = match drain.length {
            Length::Messages(count) => Some(due.per_second(count)),
            Length::Time(_) => None,
        };
        Load {
            due: Some(due),
            offered,
            warm_up: due.begins_in(wall_clock_ms()),
            ..drain
        }
    }

    pub(super) fn drain(&self, name: &'static str, sent: Vec<u64>) -> Load<'_> {
        let there = sent.iter().sum::<u64>() * self.setup.layout.copies() as u64;
        Load {
            warm_up: Duration::ZERO,
            length: Length::Messages(there),
            sent_before: sent,
            ..self.load(name, None, Some(self.consume))
        }
    }

    pub(super) fn blank_summary(&self) -> Summary {
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
            delayed: None,
            stress: None,
            ok: true,
        }
    }
}
