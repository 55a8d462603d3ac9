//! Misbehaving clients that run beside a load.

use std::sync::Arc;
use std::thread::JoinHandle;

use clap::ValueEnum;
use leveret::wire::{AMQPValue, FieldTable};

use crate::churn::start_churn;
use crate::client::Link;
use crate::error::BenchError;
use crate::latencies::Latencies;
use crate::layout::{Layout, Routing};
use crate::load::{
    Meter, Phase, Produced, ProducerPlan, Rate, Stage, join_all, produce, spawn_small,
};
use crate::message::{MessageRing, MessageShape};
use crate::setup::Setup;

/// Producers of a flood.
const FLOODERS: usize = 4;
/// Body size, producers and messages per second of a bulk load: 1 GB/s of 64 KB bodies.
const BULK_BODY: usize = 65_536;
const BULK_PRODUCERS: usize = 2;
const BULK_RATE: u64 = 1_000_000_000 / BULK_BODY as u64;
/// Messages per second for the consumer that never reads.
const IGNORED_RATE: u64 = 20_000;
/// Threads that open and close connections.
const CHURNERS: usize = 4;
/// Length limit of a stressor's queue in bytes, so that it does not fill the disk.
const QUEUE_BYTES_MAX: i64 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StressorKind {
    /// A consumer without a prefetch limit that never reads, on a queue that gets 20,000 messages per second.
    StuckConsumer,
    /// Four producers without confirms at full speed.
    Flood,
    /// Bodies of 64 KB, 1 GB per second offered, without confirms.
    Bulk,
    /// Four threads that open and close connections.
    Churn,
}

/// A misbehaving client at work.
pub(crate) struct Stressor {
    setup: Setup,
    stage: Arc<Stage>,
    meters: Vec<Arc<Meter>>,
    producers: Vec<JoinHandle<Result<Produced, BenchError>>>,
    churners: Vec<JoinHandle<Result<Latencies, BenchError>>>,
    /// Open, and never read.
    stuck: Option<Link>,
}

impl Stressor {
    /// Starts on its own queues at the broker of `beside`.
    pub(crate) fn start(beside: &Setup, kind: StressorKind) -> Result<Stressor, BenchError> {
        let (producers, size, rate) = match kind {
            StressorKind::StuckConsumer => (1, beside.shape.size, Some(IGNORED_RATE)),
            StressorKind::Flood => (FLOODERS, beside.shape.size, None),
            StressorKind::Bulk => (BULK_PRODUCERS, BULK_BODY, Some(BULK_RATE)),
            StressorKind::Churn => (0, beside.shape.size, None),
        };
        let setup = own_setup(beside, producers.max(1), size)?;
        setup.declare()?;
        let mut stressor = Stressor {
            stage: Arc::new(Stage::new(producers)),
            meters: Vec::new(),
            producers: Vec::new(),
            churners: Vec::new(),
            stuck: None,
            setup,
        };
        let target = &stressor.setup.broker.target;
        match kind {
            StressorKind::StuckConsumer => {
                let queue = stressor.setup.layout.queue_name(0);
                let mut link = Link::open(target)?;
                link.start_consuming(&queue, 0, false, &FieldTable::default())?;
                stressor.stuck = Some(link);
            }
            StressorKind::Churn => {
                stressor.churners = start_churn(target, CHURNERS, &stressor.stage)?;
            }
            StressorKind::Flood | StressorKind::Bulk => {}
        }
        let plan = ProducerPlan {
            confirm_window: None,
            rate: rate.map(|messages| Rate::share(messages, producers)),
            quota: None,
        };
        for nth in 0..producers {
            stressor.start_producer(nth, plan)?;
        }
        stressor.stage.await_start();
        Ok(stressor)
    }

    fn start_producer(&mut self, nth: usize, plan: ProducerPlan) -> Result<(), BenchError> {
        let link = Link::open(&self.setup.broker.target)?;
        let ring = MessageRing::new(&self.setup.layout, nth, self.setup.shape, link.frame_max);
        let (stage, meter) = (self.stage.clone(), Arc::new(Meter::default()));
        self.meters.push(meter.clone());
        let work = move || produce(link, ring, plan, &stage, &meter);
        self.producers.push(spawn_small("stressor", work)?);
        Ok(())
    }

    /// Ends it and deletes its queues. Returns the number of messages that it sent, or connections that it
    /// opened.
    pub(crate) fn stop(self) -> Result<u64, BenchError> {
        self.stage.enter(Phase::End);
        let sent: u64 = self.meters.iter().map(|meter| meter.published.get()).sum();
        join_all(self.producers)?;
        let opened: u64 = join_all(self.churners)?.iter().map(Latencies::len).sum();
        drop(self.stuck);
        self.setup.clean_up()?;
        Ok(sent + opened)
    }
}

/// One queue for each producer, with a length limit.
fn own_setup(beside: &Setup, producers: usize, size: usize) -> Result<Setup, BenchError> {
    let prefix = format!("{}-stress", beside.layout.prefix);
    let mut queue_arguments = beside.queue_arguments.clone();
    queue_arguments.insert(
        "x-max-length-bytes".into(),
        AMQPValue::LongLongInt(QUEUE_BYTES_MAX),
    );
    Ok(Setup {
        broker: beside.broker.clone(),
        layout: Layout::new(&prefix, (producers, 0, producers), Routing::Default, 0)?,
        shape: MessageShape {
            size,
            persistent: beside.shape.persistent,
            delay_ms: None,
        },
        durable: beside.durable,
        queue_arguments,
        consume_arguments: FieldTable::default(),
    })
}
