//! Many slow pairs: thousands of connections that each send or receive a message now and then. One thread serves them
//! all, for a thread per connection would cost more than the broker that is measured.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use super::BenchError;
use super::link::{CHANNEL, Link, refuse_close};
use super::load::{DRAIN_STALL, Outcome, RSS_EVERY, Usage};
use super::order::Witness;
use super::process;
use super::publish::Block;
use super::scan::Event;
use super::setup::Setup;
use super::stage::Stage;
use super::window::Window;
use leveret::wire::put_ack;

/// The longest sleep between two looks at the clock.
const SLEEP_MAX: Duration = Duration::from_millis(1);
/// Ready connections that are taken at once.
const EVENTS_MAX: usize = 1024;

/// What the swarm does.
#[derive(Clone, Copy, Debug)]
pub(super) struct SwarmPlan {
    /// Messages per second, all pairs together.
    pub(super) rate: u64,
    /// Messages that each producer may have unconfirmed.
    pub(super) confirm_window: u32,
    pub(super) prefetch: u16,
    /// Messages per acknowledgement.
    pub(super) ack_batch: u32,
    pub(super) warm_up: Duration,
    pub(super) time: Duration,
}

struct Producer {
    link: Link,
    block: Block,
    window: Window,
}

struct Consumer {
    link: Link,
    witness: Witness,
    unacked: u32,
    last_tag: u64,
}

/// All pairs. Producers are known to epoll by their numbers, consumers by theirs after those of the producers.
struct Swarm<'a> {
    setup: &'a Setup,
    plan: SwarmPlan,
    stage: Stage,
    poll: OwnedFd,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    /// Messages sent so far.
    sent: u64,
    acks: BytesMut,
    recording: bool,
    /// All in all; `outcome` counts what falls into the measured time.
    received: u64,
    outcome: Outcome,
}

/// Connects the pairs, lets them work for a time, and waits for what is under way.
pub(super) fn measure(setup: &Setup, plan: SwarmPlan) -> Result<Outcome, BenchError> {
    process::sleep_precisely();
    let mut swarm = Swarm::connect(setup, plan)?;
    let start = swarm.stage.now_ns();
    let begin = start + nanoseconds(plan.warm_up);
    let end = begin + nanoseconds(plan.time);
    swarm.work(start, begin)?;
    let before = swarm.usage();
    swarm.recording = true;
    swarm.work(start, end)?;
    swarm.recording = false;
    let after = swarm.usage();
    let usage = &mut swarm.outcome.usage;
    usage.broker_cpu = before
        .broker_cpu
        .zip(after.broker_cpu)
        .map(|(from, to)| to - from);
    usage.client_cpu = after.client_cpu - before.client_cpu;
    usage.busiest_thread_cpu = usage.client_cpu;
    usage.machine_cpu = after.machine_cpu - before.machine_cpu;
    swarm.outcome.seconds = plan.time.as_secs_f64();
    swarm.outcome.backlog = swarm.sent.saturating_sub(swarm.received);
    swarm.finish()
}

impl<'a> Swarm<'a> {
    fn connect(setup: &'a Setup, plan: SwarmPlan) -> Result<Swarm<'a>, BenchError> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(polling)?;
        let layout = &setup.layout;
        let (mut producers, mut consumers) = (Vec::new(), Vec::new());
        for nth in 0..layout.consumers {
            let mut link = Link::open(&setup.target)?;
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
                witness: Witness::new(&queues, layout.order()),
                unacked: 0,
                last_tag: 0,
            });
        }
        for nth in 0..layout.producers {
            let mut link = Link::open(&setup.target)?;
            link.select_confirms()?;
            watch(&poll, &mut link, nth)?;
            producers.push(Producer {
                block: Block::small(layout, nth, setup.shape, link.frame_max),
                window: Window::new(plan.confirm_window),
                link,
            });
        }
        Ok(Swarm {
            setup,
            plan,
            stage: Stage::new(0),
            poll,
            producers,
            consumers,
            sent: 0,
            acks: BytesMut::new(),
            recording: false,
            received: 0,
            outcome: Outcome::default(),
        })
    }

    /// Sends what is due since `start` and takes what comes, until the clock says `until`.
    fn work(&mut self, start: u64, until: u64) -> Result<(), BenchError> {
        let mut rss_at = 0;
        loop {
            let now = self.stage.now_ns();
            if now >= until {
                return Ok(());
            }
            if now >= rss_at {
                let usage = &mut self.outcome.usage;
                usage.broker_rss_peak = usage.broker_rss_peak.max(self.setup.broker_rss());
                rss_at = now + nanoseconds(RSS_EVERY);
            }
            self.send_due(start, now)?;
            let next = start + self.due_ns(self.sent);
            self.receive(Duration::from_nanos(next.saturating_sub(now)).min(SLEEP_MAX))?;
        }
    }

    /// When the message after `count` others is due, in ns after the first.
    fn due_ns(&self, count: u64) -> u64 {
        let ns = u128::from(count) * 1_000_000_000 / u128::from(self.plan.rate.max(1));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Producers send in turn. One whose window is full holds up the others: the offered rate is not sustained then.
    fn send_due(&mut self, start: u64, now: u64) -> Result<(), BenchError> {
        loop {
            let due = start + self.due_ns(self.sent);
            let nth = usize::try_from(self.sent % self.producers.len().max(1) as u64).unwrap_or(0);
            let Some(producer) = self.producers.get_mut(nth) else {
                return Ok(());
            };
            if due > now || producer.window.room() == 0 {
                return Ok(());
            }
            let (count, frames) = producer.block.take(1, |_| due);
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
                    let took = self.recording.then_some(&mut self.outcome.confirm_ns);
                    let count = producer.window.settle(tag, multiple, now, took);
                    match taken {
                        false => self.outcome.refused += count,
                        true if self.recording => self.outcome.published += count,
                        true => {}
                    }
                }
                Event::Method(method) => refuse_close(&method)?,
                Event::Message(_) => return Err(unexpected("a delivery to a producer")),
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
                Event::Message(message) => {
                    let stream = usize::try_from(message.stamp.stream).unwrap_or(usize::MAX);
                    consumer.witness.see(
                        message.consumer,
                        stream,
                        message.stamp.sequence,
                        message.redelivered,
                    );
                    consumer.unacked += 1;
                    consumer.last_tag = message.delivery_tag;
                    self.received += 1;
                    if self.recording {
                        self.outcome.received += 1;
                        let latency = now.saturating_sub(message.stamp.due_ns);
                        self.outcome.latency_ns.record(latency);
                    }
                }
                Event::Method(method) => refuse_close(&method)?,
                Event::Confirm { .. } => return Err(unexpected("a confirm to a consumer")),
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

    /// What was used until now.
    fn usage(&self) -> Usage {
        let thread = process::thread_id().and_then(process::thread_cpu_seconds);
        Usage {
            broker_cpu: self.setup.broker_cpu(),
            client_cpu: thread.unwrap_or(0.0),
            machine_cpu: process::machine_cpu_seconds().unwrap_or(0.0),
            ..Usage::default()
        }
    }

    /// Waits until everything is confirmed and received or nothing moves any more, and holds one against the other.
    fn finish(mut self) -> Result<Outcome, BenchError> {
        let state = |swarm: &Swarm<'_>| {
            let out = swarm.producers.iter().map(|producer| producer.window.out());
            (out.sum::<u64>(), swarm.received)
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
        for (stream, count) in self.producers.iter().flat_map(|one| one.block.sent()) {
            if let Some(total) = sent.get_mut(stream) {
                *total += count;
            }
        }
        let witnesses = self.consumers.into_iter().map(|one| one.witness).collect();
        self.outcome.findings = Some(Witness::conclude(witnesses, &self.setup.layout, &sent));
        self.outcome.sent = sent;
        Ok(self.outcome)
    }
}

/// Has epoll tell when there is something to read.
fn watch(poll: &OwnedFd, link: &mut Link, number: usize) -> Result<(), BenchError> {
    // A read that finds nothing all the same must not hold up the others for long.
    link.poll_reads()?;
    let stream: &TcpStream = &link.stream;
    let data = epoll::EventData::new_u64(number as u64);
    epoll::add(poll, stream, data, epoll::EventFlags::IN).map_err(polling)
}

fn polling(error: rustix::io::Errno) -> BenchError {
    BenchError::io("waiting for sockets")(error.into())
}

fn unexpected(what: &str) -> BenchError {
    BenchError::Unexpected(what.to_owned())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
