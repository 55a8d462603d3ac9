//! The engine of `swarm`: thousands of connections that each send or receive a message now and then. One
//! thread with epoll serves all of them, since a thread per connection would use more CPU than the broker.

use std::io::Write;
use std::time::Duration;

use bytes::BytesMut;
use leveret::wire::put_ack;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::broker::{sleep_precisely, thread_cpu_seconds, thread_id};
use crate::client::{CHANNEL, Event, Link, refuse_close};
use crate::error::BenchError;
use crate::latencies::Latencies;
use crate::load::{DRAIN_STALL, Outcome, RSS_EVERY, Rate, Snapshot, Stage, Totals, Window};
use crate::message::MessageRing;
use crate::setup::Setup;
use crate::witness::{Order, Witness};

/// The longest sleep between two looks at the clock.
const SLEEP_MAX: Duration = Duration::from_millis(1);
/// Ready connections per `epoll_wait`.
const EVENTS_MAX: usize = 1024;

#[derive(Clone, Copy, Debug)]
pub(crate) struct SwarmPlan {
    /// Messages per second, all pairs together.
    pub(crate) rate: u64,
    /// Messages that each producer may have unconfirmed.
    pub(crate) confirm_window: u32,
    pub(crate) prefetch: u16,
    /// Messages per acknowledgement.
    pub(crate) ack_batch: u32,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

struct Producer {
    link: Link,
    ring: MessageRing,
    window: Window,
}

struct Consumer {
    link: Link,
    witness: Witness,
    unacked: u32,
    last_tag: u64,
}

/// All pairs. In epoll, producers have the first numbers and consumers the next.
struct Swarm<'a> {
    setup: &'a Setup,
    plan: SwarmPlan,
    rate: Rate,
    stage: Stage,
    poll: OwnedFd,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    /// Messages sent so far.
    sent: u64,
    acks: BytesMut,
    totals: Totals,
    refused: u64,
    rss_peak: Option<u64>,
    /// Whether to record latencies.
    is_measuring: bool,
    confirms: Latencies,
    latencies: Latencies,
}

/// Connects the pairs, runs them for a time, and waits for outstanding messages.
pub(crate) fn measure(setup: &Setup, plan: SwarmPlan) -> Result<Outcome, BenchError> {
    sleep_precisely();
    let mut swarm = Swarm::connect(setup, plan)?;
    let start = swarm.stage.now_ns();
    let begin = start + nanoseconds(plan.warm_up);
    let end = begin + nanoseconds(plan.time);
    swarm.work(start, begin)?;
    let first = swarm.snapshot();
    swarm.is_measuring = true;
    swarm.work(start, end)?;
    swarm.is_measuring = false;
    let mut outcome = first.until(&swarm.snapshot());
    outcome.usage.broker_rss_peak = swarm.rss_peak;
    outcome.backlog = swarm.sent.saturating_sub(swarm.totals.received);
    swarm.finish(outcome)
}

impl<'a> Swarm<'a> {
    fn connect(setup: &'a Setup, plan: SwarmPlan) -> Result<Swarm<'a>, BenchError> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(polling)?;
        let layout = &setup.layout;
        let (mut producers, mut consumers) = (Vec::new(), Vec::new());
        for nth in 0..layout.consumers {
            let mut link = Link::open(&setup.broker.target)?;
            link.prefetch(plan.prefetch)?;
            let queues = layout.queues_of(nth);
            for (tag, queue) in queues.iter().enumerate() {
                link.start_consuming(
                    &layout.queue_name(*queue),
                    tag,
                    false,
                    &setup.consume_arguments,
                )?;
            }
            watch(&poll, &mut link, layout.producers + nth)?;
            consumers.push(Consumer {
                link,
                witness: Witness::new(&queues, Order::of(layout)),
                unacked: 0,
                last_tag: 0,
            });
        }
        for nth in 0..layout.producers {
            let mut link = Link::open(&setup.broker.target)?;
            link.select_confirms()?;
            watch(&poll, &mut link, nth)?;
            producers.push(Producer {
                ring: MessageRing::small(layout, nth, setup.shape, link.frame_max),
                window: Window::new(plan.confirm_window),
                link,
            });
        }
        Ok(Swarm {
            setup,
            plan,
            rate: Rate::share(plan.rate, 1),
            stage: Stage::new(0),
            poll,
            producers,
            consumers,
            sent: 0,
            acks: BytesMut::new(),
            totals: Totals::default(),
            refused: 0,
            rss_peak: None,
            is_measuring: false,
            confirms: Latencies::default(),
            latencies: Latencies::default(),
        })
    }

    /// Sends the messages that are due since `start` and receives, until the time `until`.
    fn work(&mut self, start: u64, until: u64) -> Result<(), BenchError> {
        let mut rss_at = 0;
        loop {
            let now = self.stage.now_ns();
            if now >= until {
                return Ok(());
            }
            if now >= rss_at {
                self.rss_peak = self.rss_peak.max(self.setup.broker.processes.rss());
                rss_at = now + nanoseconds(RSS_EVERY);
            }
            self.send_due(start, now)?;
            let next = start + self.rate.due_ns(self.sent);
            self.receive(Duration::from_nanos(next.saturating_sub(now)).min(SLEEP_MAX))?;
        }
    }

    /// Producers send in turn. A producer with a full window blocks the others, so that the offered rate is
    /// not reached.
    fn send_due(&mut self, start: u64, now: u64) -> Result<(), BenchError> {
        loop {
            let due = start + self.rate.due_ns(self.sent);
            let nth = usize::try_from(self.sent % self.producers.len().max(1) as u64).unwrap_or(0);
            let Some(producer) = self.producers.get_mut(nth) else {
                return Ok(());
            };
            if due > now || producer.window.room() == 0 {
                return Ok(());
            }
            let (count, frames) = producer.ring.take(1, |_| due);
            producer.window.send(count as u64, now);
            producer
                .link
                .stream
                .write_all(frames)
                .map_err(BenchError::io("writing to the broker"))?;
            self.sent += count as u64;
        }
    }

    /// Waits for readable connections, and reads each once.
    fn receive(&mut self, wait: Duration) -> Result<(), BenchError> {
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut events = Vec::with_capacity(EVENTS_MAX);
        match epoll::wait(
            &self.poll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&timeout),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(polling(error)),
        }
        for event in events {
            let nth = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            match nth.checked_sub(self.producers.len()) {
                None => self.take_confirms(nth)?,
                Some(consumer) => self.take_messages(consumer)?,
            }
        }
        Ok(())
    }

    fn take_confirms(&mut self, nth: usize) -> Result<(), BenchError> {
        let Some(producer) = self.producers.get_mut(nth) else {
            return Ok(());
        };
        producer.link.incoming.fill(&mut producer.link.stream)?;
        let now = self.stage.now_ns();
        while let Some(event) = producer.link.incoming.next()? {
            match event {
                Event::Confirm {
                    tag,
                    multiple,
                    taken,
                } => {
                    let latencies = self.is_measuring.then_some(&mut self.confirms);
                    let count = producer.window.confirm(tag, multiple, now, latencies);
                    if taken {
                        self.totals.published += count;
                    } else {
                        self.refused += count;
                    }
                }
                Event::Method(method) => refuse_close(&method)?,
                Event::Delivery(_) => {
                    return Err(BenchError::unexpected("a delivery to a producer"));
                }
            }
        }
        Ok(())
    }

    fn take_messages(&mut self, nth: usize) -> Result<(), BenchError> {
        let Some(consumer) = self.consumers.get_mut(nth) else {
            return Ok(());
        };
        consumer.link.incoming.fill(&mut consumer.link.stream)?;
        let now = self.stage.now_ns();
        while let Some(event) = consumer.link.incoming.next()? {
            match event {
                Event::Delivery(delivery) => {
                    consumer
                        .witness
                        .see(delivery.consumer, delivery.stamp, delivery.redelivered);
                    consumer.unacked += 1;
                    consumer.last_tag = delivery.delivery_tag;
                    self.totals.received += 1;
                    if self.is_measuring {
                        let latency_ns = now.saturating_sub(delivery.stamp.due_ns);
                        self.latencies.record_ns(latency_ns);
                    }
                }
                Event::Method(method) => refuse_close(&method)?,
                Event::Confirm { .. } => {
                    return Err(BenchError::unexpected("a confirm to a consumer"));
                }
            }
        }
        if consumer.unacked >= self.plan.ack_batch {
            self.acks.clear();
            put_ack(&mut self.acks, CHANNEL, consumer.last_tag, true);
            consumer.unacked = 0;
            consumer
                .link
                .stream
                .write_all(&self.acks)
                .map_err(BenchError::io("writing to the broker"))?;
        }
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let thread_cpu = thread_cpu_seconds(thread_id()).unwrap_or(0.0);
        Snapshot::take(
            self.stage.now_ns(),
            self.totals,
            vec![(thread_cpu, 0.0)],
            &self.setup.broker.processes,
        )
    }

    /// Waits until everything is confirmed and received, or nothing moves for long. Then compares sent and
    /// received messages.
    fn finish(mut self, mut outcome: Outcome) -> Result<Outcome, BenchError> {
        let state = |swarm: &Swarm<'_>| {
            let out = swarm
                .producers
                .iter()
                .map(|producer| producer.window.unconfirmed());
            (out.sum::<u64>(), swarm.totals.received)
        };
        let (mut last, mut moved) = (state(&self), self.stage.now_ns());
        while last.0 > 0 || last.1 < self.sent {
            self.receive(SLEEP_MAX)?;
            let now = state(&self);
            if now != last {
                (last, moved) = (now, self.stage.now_ns());
            } else if self.stage.now_ns() > moved + nanoseconds(DRAIN_STALL) {
                break;
            }
        }
        let mut sent = vec![0; self.setup.layout.streams()];
        for (stream, count) in self
            .producers
            .iter()
            .flat_map(|producer| producer.ring.sent())
        {
            if let Some(total) = sent.get_mut(stream) {
                *total += count;
            }
        }
        let consumers = self.consumers.into_iter();
        let witnesses = consumers.map(|consumer| consumer.witness).collect();
        outcome.findings = Some(Witness::conclude(witnesses, &self.setup.layout, &sent));
        outcome.sent = sent;
        outcome.refused = self.refused;
        outcome.confirms = self.confirms;
        outcome.latencies = self.latencies;
        Ok(outcome)
    }
}

/// Adds the connection to epoll under a number.
fn watch(poll: &OwnedFd, link: &mut Link, number: usize) -> Result<(), BenchError> {
    // A read without data must not block the other connections for long.
    link.poll_reads()?;
    let data = epoll::EventData::new_u64(number as u64);
    epoll::add(poll, &link.stream, data, epoll::EventFlags::IN).map_err(polling)
}

fn polling(error: rustix::io::Errno) -> BenchError {
    BenchError::io("waiting for sockets")(error.into())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
