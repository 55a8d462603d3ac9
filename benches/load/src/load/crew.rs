//! The workers of a load: producers and consumers, each with a thread and a connection.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::consumer::{self, Consumed, ConsumerPlan, Timing};
use super::meter::Meter;
use super::plan::{Load, PublishPlan};
use super::producer::{self, Produced, ProducerPlan};
use super::rate::Rate;
use super::snapshot::{Snapshot, Totals};
use super::stage::Stage;
use super::thread::{join_all, spawn_small};
use crate::client::Link;
use crate::error::BenchError;
use crate::latencies::Latencies;
use crate::lateness::Lateness;
use crate::message::{DueTimes, MessageRing};
use crate::witness::{Order, Witness};

struct Worker<T> {
    meter: Arc<Meter>,
    /// `None` after joining.
    thread: Option<JoinHandle<Result<T, BenchError>>>,
}

impl<T: Send + 'static> Worker<T> {
    fn spawn(
        role: &str,
        nth: usize,
        work: impl FnOnce(&Arc<Meter>) -> Result<T, BenchError> + Send + 'static,
    ) -> Result<Worker<T>, BenchError> {
        let meter = Arc::new(Meter::default());
        let own = meter.clone();
        let thread = spawn_small(&format!("{role} {nth}"), move || work(&own))?;
        Ok(Worker {
            meter,
            thread: Some(thread),
        })
    }

    fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

pub(super) struct Crew {
    pub(super) stage: Arc<Stage>,
    /// Whether producers end by themselves.
    has_quota: bool,
    producers: Vec<Worker<Produced>>,
    consumers: Vec<Worker<Consumed>>,
}

impl Crew {
    /// Connects all workers, then starts their threads, which wait for the leader.
    pub(super) fn start(load: &Load<'_>) -> Result<Crew, BenchError> {
        let producer_links = connect_producers(load)?;
        let consumer_links = connect_consumers(load)?;
        let workers = producer_links.len() + consumer_links.len();
        let mut crew = Crew {
            stage: Arc::new(Stage::new(workers)),
            has_quota: load.quota.is_some(),
            producers: Vec::new(),
            consumers: Vec::new(),
        };
        if let Some(plan) = load.consume {
            for (nth, link) in consumer_links.into_iter().enumerate() {
                crew.start_consumer(load, nth, link, plan)?;
            }
        }
        if let Some(plan) = load.produce {
            for (nth, link) in producer_links.into_iter().enumerate() {
                crew.start_producer(load, nth, link, plan)?;
            }
        }
        Ok(crew)
    }

    fn start_consumer(
        &mut self,
        load: &Load<'_>,
        nth: usize,
        link: Link,
        plan: ConsumerPlan,
    ) -> Result<(), BenchError> {
        let layout = &load.setup.layout;
        let queues = layout.queues_of(nth);
        let order = load.due.map_or(Order::of(layout), |_| Order::Any);
        let consumed = Consumed {
            witness: Witness::new(&queues, order),
            timing: timing(load),
        };
        let names = queues.iter().map(|queue| layout.queue_name(*queue));
        let names: Vec<String> = names.collect();
        let stage = self.stage.clone();
        let arguments = load.setup.consume_arguments.clone();
        let work = move |meter: &Arc<Meter>| {
            consumer::consume(link, &names, consumed, plan, &arguments, &stage, meter)
        };
        self.consumers.push(Worker::spawn("consumer", nth, work)?);
        Ok(())
    }

    fn start_producer(
        &mut self,
        load: &Load<'_>,
        nth: usize,
        link: Link,
        plan: PublishPlan,
    ) -> Result<(), BenchError> {
        let layout = &load.setup.layout;
        let producers = layout.producers;
        let plan = ProducerPlan {
            confirm_window: plan.confirm_window,
            rate: plan.rate.map(|rate| Rate::share(rate, producers)),
            quota: load.quota.map(|total| share(total, producers, nth)),
        };
        let mut ring = MessageRing::new(layout, nth, load.setup.shape, link.frame_max);
        if let Some(span) = load.due {
            ring = ring.due_at(DueTimes::new(span, nth));
        }
        let stage = self.stage.clone();
        let work = move |meter: &Arc<Meter>| producer::produce(link, ring, plan, &stage, meter);
        self.producers.push(Worker::spawn("producer", nth, work)?);
        Ok(())
    }

    /// False after a worker has failed, or when there are only producers and all have sent their quota.
    pub(super) fn all_are_at_work(&self) -> bool {
        let mut producers = self.producers.iter();
        let producers_ended = if self.has_quota {
            self.consumers.is_empty() && producers.all(Worker::is_finished)
        } else {
            producers.any(Worker::is_finished)
        };
        !producers_ended && !self.has_lost_a_consumer()
    }

    /// Whether a consumer has ended before its time.
    pub(super) fn has_lost_a_consumer(&self) -> bool {
        self.consumers.iter().any(Worker::is_finished)
    }

    pub(super) fn totals(&self) -> Totals {
        self.meters()
            .fold(Totals::default(), |totals, meter| Totals {
                published: totals.published + meter.published.get(),
                received: totals.received + meter.received.get(),
            })
    }

    /// Time of the last confirm or delivery of any worker, on the stage's clock.
    pub(super) fn last_ns(&self) -> u64 {
        self.meters()
            .map(|meter| meter.last_ns.get())
            .max()
            .unwrap_or(0)
    }

    pub(super) fn snapshot(&self, load: &Load<'_>) -> Snapshot {
        Snapshot::take(
            self.stage.now_ns(),
            self.totals(),
            self.meters().map(Meter::cpu_seconds).collect(),
            &load.setup.broker.processes,
        )
    }

    pub(super) fn join_producers(&mut self) -> Result<Vec<Produced>, BenchError> {
        let threads = self.producers.iter_mut();
        join_all(threads.filter_map(|worker| worker.thread.take()))
    }

    pub(super) fn join_consumers(&mut self) -> Result<Vec<Consumed>, BenchError> {
        let threads = self.consumers.iter_mut();
        join_all(threads.filter_map(|worker| worker.thread.take()))
    }

    fn meters(&self) -> impl Iterator<Item = &Meter> {
        let producers = self.producers.iter().map(|worker| &*worker.meter);
        producers.chain(self.consumers.iter().map(|worker| &*worker.meter))
    }
}

fn connect_producers(load: &Load<'_>) -> Result<Vec<Link>, BenchError> {
    let connect = |plan: PublishPlan| {
        let mut link = Link::open(&load.setup.broker.target)?;
        if plan.confirm_window.is_some() {
            link.select_confirms()?;
        }
        Ok(link)
    };
    let plans = load.produce.into_iter();
    let plans = plans.flat_map(|plan| (0..load.setup.layout.producers).map(move |_| plan));
    plans.map(connect).collect()
}

fn connect_consumers(load: &Load<'_>) -> Result<Vec<Link>, BenchError> {
    let connect = |plan: ConsumerPlan| {
        let mut link = Link::open(&load.setup.broker.target)?;
        link.prefetch(plan.prefetch)?;
        Ok(link)
    };
    let plans = load.consume.into_iter();
    let plans = plans.flat_map(|plan| (0..load.setup.layout.consumers).map(move |_| plan));
    plans.map(connect).collect()
}

fn timing(load: &Load<'_>) -> Timing {
    if load.due.is_some() {
        Timing::Lateness(Lateness::default())
    } else if load.sent_before.is_empty() {
        Timing::Latencies(Latencies::default())
    } else {
        Timing::Ignored
    }
}

/// The part of `total` messages that the `nth` of `sharers` sends.
fn share(total: u64, sharers: usize, nth: usize) -> u64 {
    let (sharers, nth) = (sharers as u64, nth as u64);
    total / sharers + u64::from(nth < total % sharers)
}
