//! One load from beginning to end: connects the workers, leads them through the phases, measures between two moments,
//! and holds what was received against what was sent.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::BenchError;
use super::consumer::{self, Consumed, ConsumerPlan};
use super::due::{DueSpan, DueTimes};
use super::histogram::Histogram;
use super::lateness::Lateness;
use super::link::Link;
use super::order::{Findings, Order, Witness};
use super::process;
use super::producer::{self, Produced, ProducerPlan, STALL};
use super::progress::Progress;
use super::publish::Block;
use super::setup::Setup;
use super::stage::{Meter, Phase, Stage};

/// Stack of a worker: thousands of them are started to make thousands of connections.
pub(super) const STACK_BYTES: usize = 256 * 1024;
/// How often the leader looks.
const TICK: Duration = Duration::from_millis(5);
/// How often the broker's memory is looked at.
pub(super) const RSS_EVERY: Duration = Duration::from_millis(100);
/// How long consumers may receive nothing before what is missing is given up.
pub(super) const DRAIN_STALL: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });

/// How long a load is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// For a time.
    Time(Duration),
    /// Until so many messages, all producers and queues together, are confirmed, or received if there are consumers.
    Messages(u64),
}

/// What to do.
pub(super) struct Load<'a> {
    pub(super) setup: &'a Setup,
    /// What it is called in the progress line.
    pub(super) name: &'static str,
    pub(super) produce: Option<ProducerPlan>,
    pub(super) consume: Option<ConsumerPlan>,
    /// When messages are due, if at random times: producers draw from it, consumers see how late they are.
    pub(super) due: Option<DueSpan>,
    /// Messages per second that come in if the broker keeps up; `None`: as many as it can.
    pub(super) offered: Option<u64>,
    pub(super) warm_up: Duration,
    pub(super) length: Length,
    /// What earlier loads have put into the queues, by stream.
    pub(super) sent_before: Vec<u64>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How long was measured.
    pub(super) seconds: f64,
    /// Messages confirmed and received in that time.
    pub(super) published: u64,
    pub(super) received: u64,
    /// Messages refused by the broker, all in all.
    pub(super) refused: u64,
    pub(super) confirm_ns: Histogram,
    pub(super) latency_ns: Histogram,
    /// Set if messages were due at random times and there were consumers.
    pub(super) lateness: Option<Lateness>,
    pub(super) usage: Usage,
    /// Messages in the queues at the end of the time.
    pub(super) backlog: u64,
    /// Messages sent, by stream, all in all.
    pub(super) sent: Vec<u64>,
    /// Set if there were consumers.
    pub(super) findings: Option<Findings>,
    /// Seconds since the beginning, and messages so far, now and then.
    pub(super) course: Vec<(f64, u64)>,
}

/// What was used while measuring.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// CPU seconds of the broker, if its process is known.
    pub(super) broker_cpu: Option<f64>,
    pub(super) broker_rss_peak: Option<u64>,
    pub(super) broker_written: Option<u64>,
    /// CPU seconds of the workers, and of the busiest thread among them.
    pub(super) client_cpu: f64,
    pub(super) busiest_thread_cpu: f64,
    /// CPU seconds of everything on the machine.
    pub(super) machine_cpu: f64,
}

impl Load<'_> {
    /// Runs the load.
    pub(super) fn run(mut self) -> Result<Outcome, BenchError> {
        process::sleep_precisely();
        let mut crew = Crew::start(&self)?;
        let led = self.lead(&crew);
        crew.stage.enter(Phase::Drain);
        let produced = join_all(&mut crew.producers);
        // What a worker says went wrong explains more than what its leader saw.
        let mut outcome = produced.and_then(|produced| {
            let mut outcome = led?;
            outcome.sent = std::mem::take(&mut self.sent_before);
            outcome.sent.resize(self.setup.layout.streams(), 0);
            for produced in produced {
                outcome.refused += produced.refused;
                outcome.confirm_ns.merge(&produced.confirm_ns);
                for (stream, sent) in produced.sent {
                    if let Some(total) = outcome.sent.get_mut(stream) {
                        *total += sent;
                    }
                }
            }
            Ok(outcome)
        });
        if let (Ok(outcome), Some(_)) = (&outcome, self.consume) {
            self.await_rest(&crew, outcome);
        }
        crew.stage.enter(Phase::End);
        let consumed = join_all(&mut crew.consumers);
        if let (Ok(outcome), Some(_)) = (&mut outcome, self.consume) {
            let mut witnesses = Vec::new();
            for consumed in consumed? {
                outcome.latency_ns.merge(&consumed.latency_ns);
                if let Some(lateness) = consumed.lateness {
                    let all = outcome.lateness.get_or_insert_default();
                    all.merge(&lateness);
                }
                witnesses.push(consumed.witness);
            }
            outcome.findings = Some(Witness::conclude(
                witnesses,
                &self.setup.layout,
                &outcome.sent,
            ));
        }
        outcome
    }

    /// Leads the workers to the end of the measured time.
    fn lead(&self, crew: &Crew) -> Result<Outcome, BenchError> {
        let mut progress = Progress::new(self.setup, self.name);
        let first = if self.warm_up.is_zero() {
            // Nothing that happens is to be missed.
            crew.stage.enter(Phase::Measure);
            let first = Snapshot::take(self.setup, crew);
            crew.stage.await_start();
            first
        } else {
            crew.stage.await_start();
            let warm_until = Instant::now() + self.warm_up;
            while Instant::now() < warm_until && crew.all_are_at_work() {
                thread::sleep(TICK);
                progress.show(&crew.totals());
            }
            crew.stage.enter(Phase::Measure);
            Snapshot::take(self.setup, crew)
        };
        let begun = Instant::now();
        let (mut rss_peak, mut rss_at, mut moved) = (None, begun, (begun, first.totals));
        let mut course = Vec::new();
        // Few messages that are due within a long time leave long gaps.
        let patience = STALL + self.due.map_or(Duration::ZERO, DueSpan::length);
        loop {
            thread::sleep(TICK);
            let (totals, now) = (crew.totals(), Instant::now());
            if totals != moved.1 {
                moved = (now, totals);
                course.push(((now - begun).as_secs_f64(), self.goal_count(&totals)));
            }
            if now >= rss_at {
                rss_peak = rss_peak.max(self.setup.broker_rss());
                rss_at = now + RSS_EVERY;
            }
            progress.show(&totals);
            let done = match self.length {
                Length::Time(time) => now >= begun + time,
                Length::Messages(count) => self.goal_count(&totals) >= count,
            };
            if done || !crew.all_are_at_work() {
                break;
            }
            if now - moved.0 > patience {
                let what = format!(
                    "{} confirmed, {} received",
                    totals.published, totals.received
                );
                return Err(BenchError::Stalled {
                    seconds: patience.as_secs(),
                    what,
                });
            }
        }
        let last = Snapshot::take(self.setup, crew);
        progress.end();
        let mut outcome = first.until(&last);
        if let Length::Messages(_) = self.length {
            // The leader looks every few milliseconds; the workers know better when the last message moved.
            let end_ns = crew
                .workers()
                .map(|worker| worker.meter.last_ns.get())
                .max()
                .unwrap_or(0);
            outcome.seconds = seconds(end_ns.saturating_sub(first.at_ns)).max(1e-6);
        }
        outcome.usage.broker_rss_peak = rss_peak.max(self.setup.broker_rss());
        let sent_before: u64 = self.sent_before.iter().sum();
        let copies = self.setup.layout.copies() as u64;
        outcome.backlog =
            ((sent_before + last.totals.published) * copies).saturating_sub(last.totals.received);
        outcome.course = course;
        Ok(outcome)
    }

    /// The count that `Length::Messages` speaks of.
    fn goal_count(&self, totals: &Totals) -> u64 {
        if self.consume.is_some() {
            totals.received
        } else {
            totals.published
        }
    }

    /// Waits until consumers have received what was sent, or nothing comes any more.
    fn await_rest(&self, crew: &Crew, outcome: &Outcome) {
        let sent: u64 = outcome
            .sent
            .iter()
            .sum::<u64>()
            .saturating_sub(outcome.refused);
        let expected = sent * self.setup.layout.copies() as u64;
        let (mut moved, mut received) = (Instant::now(), crew.totals().received);
        while received < expected
            && moved.elapsed() < DRAIN_STALL
            && !crew.consumers.iter().any(Worker::is_finished)
        {
            thread::sleep(TICK);
            let now = crew.totals().received;
            if now != received {
                (moved, received) = (Instant::now(), now);
            }
        }
    }
}

/// Messages so far, of all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) published: u64,
    pub(super) received: u64,
}

struct Worker<T> {
    meter: Arc<Meter>,
    thread: Option<JoinHandle<Result<T, BenchError>>>,
}

impl<T> Worker<T> {
    fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

struct Crew {
    stage: Arc<Stage>,
    /// Producers end by themselves.
    quota: bool,
    producers: Vec<Worker<Produced>>,
    consumers: Vec<Worker<Consumed>>,
}

/// What every worker has, whatever it works at.
struct WorkerView<'a> {
    meter: &'a Meter,
}

impl Crew {
    /// Connects everyone, then starts their threads. They wait for the leader.
    fn start(load: &Load<'_>) -> Result<Crew, BenchError> {
        let setup = load.setup;
        let mut producer_links = Vec::new();
        if let Some(plan) = load.produce {
            for _ in 0..setup.layout.producers {
                let mut link = Link::open(&setup.target)?;
                if plan.confirm_window.is_some() {
                    link.select_confirms()?;
                }
                producer_links.push(link);
            }
        }
        let mut consumer_links = Vec::new();
        if let Some(plan) = load.consume {
            for _ in 0..setup.layout.consumers {
                let mut link = Link::open(&setup.target)?;
                link.prefetch(plan.prefetch)?;
                consumer_links.push(link);
            }
        }
        let mut crew = Crew {
            stage: Arc::new(Stage::new(producer_links.len() + consumer_links.len())),
            quota: load.produce.is_some_and(|plan| plan.quota.is_some()),
            producers: Vec::new(),
            consumers: Vec::new(),
        };
        for (nth, link) in consumer_links.into_iter().enumerate() {
            let Some(plan) = load.consume else { break };
            let queues = setup.layout.queues_of(nth);
            let order = load.due.map_or(setup.layout.order(), |_| Order::Any);
            let consumed = Consumed {
                witness: Witness::new(&queues, order),
                latency_ns: Histogram::default(),
                lateness: load.due.map(|_| Lateness::default()),
            };
            let names: Vec<String> = queues
                .iter()
                .map(|queue| setup.layout.queue_name(*queue))
                .collect();
            let stage = crew.stage.clone();
            let arguments = setup.consume_arguments.clone();
            let work = move |meter: &Arc<Meter>| {
                consumer::run(link, &names, consumed, plan, &arguments, &stage, meter)
            };
            crew.consumers.push(spawn("consumer", nth, work)?);
        }
        for (nth, link) in producer_links.into_iter().enumerate() {
            let Some(plan) = load.produce else { break };
            let quota = plan
                .quota
                .map(|total| share(total, setup.layout.producers, nth));
            let plan = ProducerPlan { quota, ..plan };
            let mut block = Block::new(&setup.layout, nth, setup.shape, link.frame_max);
            if let Some(span) = load.due {
                block = block.due_at(DueTimes::new(span, nth));
            }
            let stage = crew.stage.clone();
            let work = move |meter: &Arc<Meter>| producer::run(link, block, plan, &stage, meter);
            crew.producers.push(spawn("producer", nth, work)?);
        }
        Ok(crew)
    }

    /// False once a worker has failed, or all that can end by themselves have and nobody else is there.
    fn all_are_at_work(&self) -> bool {
        let mut producers = self.producers.iter();
        let producers_ended = match self.quota {
            true => self.consumers.is_empty() && producers.all(Worker::is_finished),
            false => producers.any(Worker::is_finished),
        };
        !producers_ended && !self.consumers.iter().any(Worker::is_finished)
    }

    fn workers(&self) -> impl Iterator<Item = WorkerView<'_>> {
        let producers = self.producers.iter().map(|worker| WorkerView {
            meter: &worker.meter,
        });
        producers.chain(self.consumers.iter().map(|worker| WorkerView {
            meter: &worker.meter,
        }))
    }

    fn totals(&self) -> Totals {
        self.workers()
            .fold(Totals::default(), |totals, worker| Totals {
                published: totals.published + worker.meter.published.get(),
                received: totals.received + worker.meter.received.get(),
            })
    }
}

/// Everything that is measured, at one moment.
struct Snapshot {
    at_ns: u64,
    totals: Totals,
    broker_cpu: Option<f64>,
    written: Option<u64>,
    /// CPU seconds by worker: its busier thread, the other one.
    workers: Vec<(f64, f64)>,
    machine: f64,
}

impl Snapshot {
    fn take(setup: &Setup, crew: &Crew) -> Snapshot {
        Snapshot {
            at_ns: crew.stage.now_ns(),
            totals: crew.totals(),
            broker_cpu: setup.broker_cpu(),
            written: setup.broker_written(),
            workers: crew
                .workers()
                .map(|worker| worker.meter.cpu_seconds())
                .collect(),
            machine: process::machine_cpu_seconds().unwrap_or(0.0),
        }
    }

    /// What happened between this moment and a later one.
    fn until(&self, later: &Snapshot) -> Outcome {
        let mut usage = Usage {
            broker_cpu: self
                .broker_cpu
                .zip(later.broker_cpu)
                .map(|(from, to)| to - from),
            broker_written: self.written.zip(later.written).map(|(from, to)| to - from),
            machine_cpu: later.machine - self.machine,
            ..Usage::default()
        };
        for (from, to) in self.workers.iter().zip(&later.workers) {
            let (busier, other) = (to.0 - from.0, to.1 - from.1);
            usage.client_cpu += busier + other;
            usage.busiest_thread_cpu = usage.busiest_thread_cpu.max(busier);
        }
        Outcome {
            seconds: seconds(later.at_ns - self.at_ns),
            published: later.totals.published - self.totals.published,
            received: later.totals.received - self.totals.received,
            usage,
            ..Outcome::default()
        }
    }
}

fn spawn<T: Send + 'static>(
    role: &str,
    nth: usize,
    work: impl FnOnce(&Arc<Meter>) -> Result<T, BenchError> + Send + 'static,
) -> Result<Worker<T>, BenchError> {
    let meter = Arc::new(Meter::default());
    let worker_meter = meter.clone();
    let thread = thread::Builder::new()
        .name(format!("{role} {nth}"))
        .stack_size(STACK_BYTES)
        .spawn(move || work(&worker_meter))
        .map_err(BenchError::io("starting a thread"))?;
    Ok(Worker {
        meter,
        thread: Some(thread),
    })
}

fn join_all<T>(workers: &mut [Worker<T>]) -> Result<Vec<T>, BenchError> {
    // All are joined before an error is looked at, so that none is left behind.
    let joined: Vec<_> = workers
        .iter_mut()
        .filter_map(|worker| worker.thread.take())
        .map(JoinHandle::join)
        .collect();
    joined
        .into_iter()
        .map(|result| result.unwrap_or(Err(BenchError::Panicked)))
        .collect()
}

/// How many of `total` messages fall to the `nth` of `sharers`.
fn share(total: u64, sharers: usize, nth: usize) -> u64 {
    let (sharers, nth) = (sharers as u64, nth as u64);
    total / sharers + u64::from(nth < total % sharers)
}

fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}
