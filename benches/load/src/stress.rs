//! Somebody who behaves badly, beside a pair that does not: what the broker lets the one do to the other, and to its own
//! memory. What is here: those who behave badly. The pair is an ordinary load.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::BenchError;
use super::connections;
use super::histogram::Histogram;
use super::layout::{Layout, Routing};
use super::link::Link;
use super::load::{Outcome, RSS_EVERY, STACK_BYTES};
use super::producer::{self, Produced, ProducerPlan, Rate};
use super::publish::{Block, MessageShape};
use super::report::{Percentiles, StressReport};
use super::setup::Setup;
use super::stage::{Meter, Phase, Stage};
use leveret::wire::{AMQPValue, FieldTable};

/// Connections that flood.
const FLOODERS: usize = 4;
/// What a flood is offered at where it has a rate: 1 GB/s of 64 KB bodies, all producers together.
const BULK_BODY: usize = 65_536;
const BULK_PRODUCERS: usize = 2;
const BULK_RATE: u64 = 1_000_000_000 / BULK_BODY as u64;
/// What is published for the consumer that never reads, in messages per second.
const IGNORED_RATE: u64 = 20_000;
/// Threads that open and close connections.
const CHURNERS: usize = 4;
/// What floods may leave in a queue, so that they do not fill the disk, in bytes.
const QUEUE_BYTES_MAX: i64 = 1 << 30;
/// How long the broker is given to put its memory in order again, and what is taken for order.
const SETTLE_MAX: Duration = Duration::from_secs(30);
const SETTLED: f64 = 1.1;

/// Who behaves badly, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Stressor {
    /// A consumer without a prefetch limit that never reads, on a queue that gets 20,000 messages per second.
    StuckConsumer,
    /// Four producers without confirms, as fast as they can.
    Flood,
    /// Bodies of 64 KB, 1 GB per second offered, without confirms.
    Bulk,
    /// Four threads that open and close connections.
    Churn,
}

/// Measures the pair alone and then beside the stressor. `pair` runs the pair once under a name.
pub(super) fn measure(
    setup: &Setup,
    stressor: Stressor,
    mut pair: impl FnMut(&'static str) -> Result<Outcome, BenchError>,
) -> Result<StressReport, BenchError> {
    let quiet = pair("quiet")?;
    // Both times the pair begins with an empty queue.
    setup.declare()?;
    let rss_before = setup.broker_rss();
    let stress = Stress::start(setup, stressor)?;
    let begun = Instant::now();
    let stressed = pair("stressed");
    let took = begun.elapsed().as_secs_f64();
    let done = stress.stop()?;
    let stressed = stressed?;
    let (rss_after, settled) = settle(setup, rss_before);
    let p99 = |outcome: &Outcome| Percentiles::of(&outcome.latency_ns).map(|ms| ms.p99);
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    Ok(StressReport {
        stressor: stressor
            .to_possible_value()
            .map_or(String::new(), |name| name.get_name().to_owned()),
        done_per_second: done as f64 / took,
        p99_ratio: p99(&stressed)
            .zip(p99(&quiet))
            .map(|(now, alone)| now / alone),
        rss_before_mb: rss_before.map(megabytes),
        rss_peak_mb: stressed.usage.broker_rss_peak.map(megabytes),
        rss_after_mb: rss_after.map(megabytes),
        settled_seconds: settled.map(|time| time.as_secs_f64()),
    })
}

/// Waits until the broker's memory is back where it was, nearly; returns what it is, and how long that took unless
/// it did not come back.
fn settle(setup: &Setup, before: Option<u64>) -> (Option<u64>, Option<Duration>) {
    let begun = Instant::now();
    loop {
        let now = setup.broker_rss();
        let (Some(before), Some(now)) = (before, now) else {
            return (now, None);
        };
        if now as f64 <= before as f64 * SETTLED {
            return (Some(now), Some(begun.elapsed()));
        }
        if begun.elapsed() > SETTLE_MAX {
            return (Some(now), None);
        }
        thread::sleep(RSS_EVERY);
    }
}

/// The stressor at work.
struct Stress {
    setup: Setup,
    stage: Arc<Stage>,
    meters: Vec<Arc<Meter>>,
    producers: Vec<JoinHandle<Result<Produced, BenchError>>>,
    churners: Vec<JoinHandle<Result<Histogram, BenchError>>>,
    /// Open, and never read from.
    stuck: Option<Link>,
}

impl Stress {
    fn start(beside: &Setup, stressor: Stressor) -> Result<Stress, BenchError> {
        let (producers, size, rate) = match stressor {
            Stressor::StuckConsumer => (1, beside.shape.size, Some(IGNORED_RATE)),
            Stressor::Flood => (FLOODERS, beside.shape.size, None),
            Stressor::Bulk => (BULK_PRODUCERS, BULK_BODY, Some(BULK_RATE)),
            Stressor::Churn => (0, beside.shape.size, None),
        };
        let setup = own_setup(beside, producers.max(1), size)?;
        setup.declare()?;
        let mut stress = Stress {
            stage: Arc::new(Stage::new(producers)),
            meters: Vec::new(),
            producers: Vec::new(),
            churners: Vec::new(),
            stuck: None,
            setup,
        };
        if stressor == Stressor::StuckConsumer {
            let mut link = Link::open(&stress.setup.target)?;
            link.start_consuming(
                &stress.setup.layout.queue_name(0),
                0,
                false,
                &FieldTable::default(),
            )?;
            stress.stuck = Some(link);
        }
        if stressor == Stressor::Churn {
            stress.churners =
                connections::start_churn(&stress.setup.target, CHURNERS, &stress.stage)?;
        }
        let plan = ProducerPlan {
            confirm_window: None,
            rate: rate.map(|messages| Rate {
                messages,
                seconds: producers as u64,
            }),
            quota: None,
        };
        for nth in 0..producers {
            stress.start_producer(nth, plan)?;
        }
        stress.stage.await_start();
        Ok(stress)
    }

    fn start_producer(&mut self, nth: usize, plan: ProducerPlan) -> Result<(), BenchError> {
        let link = Link::open(&self.setup.target)?;
        let block = Block::new(&self.setup.layout, nth, self.setup.shape, link.frame_max);
        let (stage, meter) = (self.stage.clone(), Arc::new(Meter::default()));
        self.meters.push(meter.clone());
        let work = move || producer::run(link, block, plan, &stage, &meter);
        let spawned = thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
        self.producers
            .push(spawned.map_err(BenchError::io("starting a thread"))?);
        Ok(())
    }

    /// Ends it and deletes its queues; returns how many messages were sent, or connections opened.
    fn stop(self) -> Result<u64, BenchError> {
        self.stage.enter(Phase::End);
        let mut done = self.meters.iter().map(|meter| meter.published.get()).sum();
        for producer in self.producers {
            producer.join().map_err(|_| BenchError::Panicked)??;
        }
        for churner in self.churners {
            done += churner.join().map_err(|_| BenchError::Panicked)??.len();
        }
        drop(self.stuck);
        self.setup.clean_up()?;
        Ok(done)
    }
}

/// Queues of the stressor's own at the same broker, one per producer.
fn own_setup(beside: &Setup, producers: usize, size: usize) -> Result<Setup, BenchError> {
    let prefix = format!("{}-stress", beside.layout.prefix);
    let mut queue_arguments = beside.queue_arguments.clone();
    queue_arguments.insert(
        "x-max-length-bytes".into(),
        AMQPValue::LongLongInt(QUEUE_BYTES_MAX),
    );
    Ok(Setup {
        target: beside.target.clone(),
        layout: Layout::new(&prefix, (producers, 0, producers), Routing::Default, 0)?,
        shape: MessageShape {
            size,
            persistent: beside.shape.persistent,
            delay_ms: None,
        },
        durable: beside.durable,
        queue_arguments,
        consume_arguments: FieldTable::default(),
        pids: beside.pids.clone(),
        pid_files: beside.pid_files.clone(),
        quiet: true,
    })
}
