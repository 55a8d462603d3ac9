//! A producer: sends as fast as its confirm window allows, or at a fixed rate. At full speed one thread sends and takes
//! confirms in turn. At a fixed rate a second thread takes the confirms, for the first one sleeps until messages are due.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::BenchError;
use super::histogram::Histogram;
use super::link::{Link, refuse_close};
use super::publish::Block;
use super::scan::{Event, Incoming};
use super::stage::{Meter, Phase, Side, Stage};
use super::window::Window;

/// How long nothing may move before a run is given up. A broker that compacts or recovers can be silent for long.
pub(super) const STALL: Duration = Duration::from_secs(60);
/// Messages sent between two looks at the phase when nothing is confirmed.
const UNCONFIRMED_RUN: u64 = 1000;
/// A producer at full speed sends again when this part of its window is free: a message at a time would cost both sides
/// a system call each.
const REFILL: u32 = 10;
/// How long a producer at a fixed rate waits when its window is full, before it looks again.
const FULL_WINDOW_WAIT: Duration = Duration::from_micros(100);
/// The longest sleep between two looks at the phase.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// What a producer is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProducerPlan {
    /// Messages that may be unconfirmed; `None`: no confirms.
    pub(super) confirm_window: Option<u32>,
    /// When messages are due; `None`: as fast as it goes.
    pub(super) rate: Option<Rate>,
    /// After how many messages it ends by itself.
    pub(super) quota: Option<u64>,
}

/// So many messages in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) messages: u64,
    pub(super) seconds: u64,
}

impl Rate {
    /// When the message after `count` others is due, in ns after the first.
    fn due_ns(self, count: u64) -> u64 {
        let ns = u128::from(count) * u128::from(self.seconds) * 1_000_000_000
            / u128::from(self.messages.max(1));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// How many messages are due `ns` after the first.
    fn due_by(self, ns: u64) -> u64 {
        let count = u128::from(ns) * u128::from(self.messages)
            / (u128::from(self.seconds.max(1)) * 1_000_000_000);
        u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// What a producer brings back.
#[derive(Debug, Default)]
pub(super) struct Produced {
    /// Messages sent, by stream.
    pub(super) sent: Vec<(usize, u64)>,
    /// Messages that the broker refused.
    pub(super) refused: u64,
    /// How long confirms took while measuring, in ns.
    pub(super) confirm_ns: Histogram,
}

/// Runs until the quota is sent or the stage drains, and then until everything is confirmed.
pub(super) fn run(
    mut link: Link,
    block: Block,
    plan: ProducerPlan,
    stage: &Arc<Stage>,
    meter: &Arc<Meter>,
) -> Result<Produced, BenchError> {
    let _measured = meter.sign_in(Side::Sending);
    stage.await_start();
    link.poll_reads()?;
    let mut sender = Sender {
        block,
        left: plan.quota.unwrap_or(u64::MAX),
        stage,
        meter,
    };
    let mut produced = match (plan.confirm_window, plan.rate) {
        (Some(window), None) => sender.full_speed(&mut link, window)?,
        (Some(window), Some(rate)) => {
            let window = Arc::new(Window::new(window));
            let socket = link
                .stream
                .try_clone()
                .map_err(BenchError::io("sharing a socket"))?;
            let confirms = confirm_thread(socket, link.incoming, &window, stage, meter)?;
            let sent = sender.at_rate(&mut link.stream, Some(&window), rate);
            window.finish();
            let (incoming, produced) = confirms.join().map_err(|_| BenchError::Panicked)??;
            sent?;
            link.incoming = incoming;
            produced
        }
        (None, rate) => {
            match rate {
                Some(rate) => sender.at_rate(&mut link.stream, None, rate)?,
                None => sender.unconfirmed(&mut link.stream)?,
            }
            Produced::default()
        }
    };
    produced.sent = sender.block.sent().collect();
    link.close()?;
    Ok(produced)
}

/// The sending side.
struct Sender<'a> {
    block: Block,
    /// How many messages the quota leaves.
    left: u64,
    stage: &'a Stage,
    meter: &'a Meter,
}

impl Sender<'_> {
    fn is_on(&self) -> bool {
        self.left > 0 && self.stage.phase() < Phase::Drain
    }

    fn full_speed(&mut self, link: &mut Link, size: u32) -> Result<Produced, BenchError> {
        let window = Window::new(size);
        let mut confirms = Confirms::new(&window, self.stage, self.meter);
        let refill = u64::from((size / REFILL).max(1));
        loop {
            if self.is_on() {
                let room = window.room();
                if room >= refill {
                    let now = self.stage.now_ns();
                    self.send(&mut link.stream, room, Some(&window), now, |_| now)?;
                }
            } else if window.out() == 0 {
                return Ok(confirms.produced);
            }
            confirms.read(&mut link.incoming, &mut link.stream)?;
        }
    }

    fn unconfirmed(&mut self, socket: &mut TcpStream) -> Result<(), BenchError> {
        while self.is_on() {
            let now = self.stage.now_ns();
            self.send(socket, UNCONFIRMED_RUN, None, now, |_| now)?;
        }
        Ok(())
    }

    /// Sends what is due, and sleeps. A message that had to wait for the window keeps the time at which it was due.
    fn at_rate(
        &mut self,
        socket: &mut TcpStream,
        window: Option<&Window>,
        rate: Rate,
    ) -> Result<(), BenchError> {
        let start = self.stage.now_ns();
        let mut sent = 0;
        while self.is_on() {
            let now = self.stage.now_ns();
            let due = rate.due_by(now - start).saturating_sub(sent);
            let room = window.map_or(UNCONFIRMED_RUN, Window::room);
            if due == 0 {
                let next = Duration::from_nanos((start + rate.due_ns(sent)).saturating_sub(now));
                thread::sleep(next.min(SLEEP_MAX));
            } else if room == 0 {
                thread::sleep(FULL_WINDOW_WAIT);
            } else {
                let due_ns = |nth| start + rate.due_ns(sent + nth);
                sent += self.send(socket, due.min(room), window, now, due_ns)?;
            }
        }
        Ok(())
    }

    /// Sends `count` messages, fewer if the quota says so; returns how many.
    fn send(
        &mut self,
        socket: &mut TcpStream,
        count: u64,
        window: Option<&Window>,
        now_ns: u64,
        due_ns: impl Fn(u64) -> u64,
    ) -> Result<u64, BenchError> {
        let total = count.min(self.left);
        let mut sent = 0;
        while sent < total {
            let most = usize::try_from(total - sent).unwrap_or(usize::MAX);
            let (taken, frames) = self.block.take(most, |nth| due_ns(sent + nth as u64));
            if let Some(window) = window {
                window.send(taken as u64, now_ns);
            }
            socket
                .write_all(frames)
                .map_err(BenchError::io("writing to the broker"))?;
            sent += taken as u64;
        }
        self.left -= sent;
        if window.is_none() {
            self.meter.published.add(sent);
            self.meter.last_ns.set(now_ns);
        }
        Ok(sent)
    }
}

/// The side that takes confirms.
struct Confirms<'a> {
    window: &'a Window,
    stage: &'a Stage,
    meter: &'a Meter,
    produced: Produced,
    moved: Instant,
}

impl<'a> Confirms<'a> {
    fn new(window: &'a Window, stage: &'a Stage, meter: &'a Meter) -> Confirms<'a> {
        Confirms {
            window,
            stage,
            meter,
            produced: Produced::default(),
            moved: Instant::now(),
        }
    }

    /// Reads once from the socket, and takes what came.
    fn read(&mut self, incoming: &mut Incoming, socket: &mut TcpStream) -> Result<(), BenchError> {
        if !incoming.fill(socket)? {
            if self.window.out() == 0 {
                self.moved = Instant::now();
            } else if self.moved.elapsed() > STALL {
                let what = format!("{} messages are not confirmed", self.window.out());
                return Err(BenchError::Stalled {
                    seconds: STALL.as_secs(),
                    what,
                });
            }
            return Ok(());
        }
        let now = self.stage.now_ns();
        let recording = self.stage.phase() == Phase::Measure;
        let mut taken_now = 0;
        while let Some(event) = incoming.next()? {
            match event {
                Event::Confirm {
                    tag,
                    multiple,
                    taken,
                } => {
                    let took = recording.then_some(&mut self.produced.confirm_ns);
                    let count = self.window.settle(tag, multiple, now, took);
                    *(if taken {
                        &mut taken_now
                    } else {
                        &mut self.produced.refused
                    }) += count;
                }
                Event::Method(method) => refuse_close(&method)?,
                Event::Message(_) => {
                    return Err(BenchError::Unexpected(
                        "a delivery to a producer".to_owned(),
                    ));
                }
            }
        }
        self.moved = Instant::now();
        self.meter.published.add(taken_now);
        self.meter.last_ns.set(now);
        Ok(())
    }
}

type ConfirmThread = thread::JoinHandle<Result<(Incoming, Produced), BenchError>>;

fn confirm_thread(
    mut socket: TcpStream,
    mut incoming: Incoming,
    window: &Arc<Window>,
    stage: &Arc<Stage>,
    meter: &Arc<Meter>,
) -> Result<ConfirmThread, BenchError> {
    let (window, stage, meter) = (window.clone(), stage.clone(), meter.clone());
    thread::Builder::new()
        .stack_size(super::load::STACK_BYTES)
        .spawn(move || {
            let _measured = meter.sign_in(Side::Receiving);
            let mut confirms = Confirms::new(&window, &stage, &meter);
            while !window.is_done() {
                confirms.read(&mut incoming, &mut socket)?;
            }
            Ok((incoming, confirms.produced))
        })
        .map_err(BenchError::io("starting a thread"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_when_the_rate_says() {
        for rate in [
            Rate {
                messages: 1000,
                seconds: 1,
            },
            Rate {
                messages: 10_000,
                seconds: 3,
            },
            Rate {
                messages: 1,
                seconds: 2,
            },
        ] {
            assert_eq!((rate.due_ns(0), rate.due_by(0)), (0, 1));
            for count in [1, 2, 3, 1000, 123_457] {
                let due = rate.due_ns(count);
                // Rounding down makes a message due up to a nanosecond early, never late.
                assert!(
                    (count..=count + 1).contains(&rate.due_by(due + 1)),
                    "{rate:?} {count}"
                );
                assert!(
                    rate.due_by(due.saturating_sub(2)) <= count,
                    "{rate:?} {count}"
                );
            }
        }
        assert_eq!(
            Rate {
                messages: 10_000,
                seconds: 1
            }
            .due_ns(10_000),
            1_000_000_000
        );
    }
}
