//! A producer: sends as fast as its confirm window allows, or at a fixed rate. At full speed one thread sends
//! and takes confirms in turn. At a fixed rate a second thread takes the confirms, since the first one sleeps
//! until the next message is due.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::confirms::{self, Confirms, Taken};
use super::meter::{Meter, Side};
use super::rate::Rate;
use super::stage::{Phase, Stage};
use super::window::Window;
use crate::client::Link;
use crate::error::BenchError;
use crate::latencies::Latencies;
use crate::message::MessageRing;

/// Without confirms: messages between two looks at the phase.
const UNCONFIRMED_RUN: u64 = 1000;
/// A producer at full speed sends again when this fraction of its window is free. Single messages would cost
/// both sides a system call each.
const REFILL: u32 = 10;
/// How long a producer at a fixed rate waits before it looks at a full window again.
const FULL_WINDOW_WAIT: Duration = Duration::from_micros(100);
/// The longest sleep between two looks at the phase.
const SLEEP_MAX: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
pub(crate) struct ProducerPlan {
    /// Messages that may be unconfirmed; `None`: no confirms.
    pub(crate) confirm_window: Option<u32>,
    /// `None`: as fast as possible.
    pub(crate) rate: Option<Rate>,
    /// Number of messages after which the producer ends.
    pub(crate) quota: Option<u64>,
}

/// The result of a producer.
#[derive(Debug)]
pub(crate) struct Produced {
    /// Messages sent, by stream.
    pub(super) sent: Vec<(usize, u64)>,
    /// Messages that the broker refused.
    pub(super) refused: u64,
    /// Latencies of confirms in the measured time.
    pub(super) confirms: Latencies,
}

/// Sends until the quota is reached or the stage drains, and then waits until everything is confirmed.
pub(crate) fn produce(
    mut link: Link,
    ring: MessageRing,
    plan: ProducerPlan,
    stage: &Arc<Stage>,
    meter: &Arc<Meter>,
) -> Result<Produced, BenchError> {
    let _measured = meter.sign_in(Side::Sending);
    stage.await_start();
    link.poll_reads()?;
    let mut sender = Sender {
        ring,
        left: plan.quota.unwrap_or(u64::MAX),
        stage,
        meter,
    };
    let taken = match (plan.confirm_window, plan.rate) {
        (Some(window), None) => sender.full_speed(&mut link, window)?,
        (Some(window), Some(rate)) => {
            let window = Arc::new(Window::new(window));
            let socket = link
                .stream
                .try_clone()
                .map_err(BenchError::io("sharing a socket"))?;
            let confirms = confirms::spawn(socket, link.incoming, &window, stage, meter)?;
            let sent = sender.at_rate(&mut link.stream, Some(&window), rate);
            window.finish();
            let (incoming, taken) = confirms.join().map_err(|_| BenchError::Panicked)??;
            sent?;
            link.incoming = incoming;
            taken
        }
        (None, rate) => {
            match rate {
                Some(rate) => sender.at_rate(&mut link.stream, None, rate)?,
                None => sender.unconfirmed(&mut link.stream)?,
            }
            Taken::default()
        }
    };
    link.close()?;
    Ok(Produced {
        sent: sender.ring.sent().collect(),
        refused: taken.refused,
        confirms: taken.latencies,
    })
}

/// The sending side.
struct Sender<'a> {
    ring: MessageRing,
    /// Messages that the quota leaves.
    left: u64,
    stage: &'a Stage,
    meter: &'a Meter,
}

impl Sender<'_> {
    fn has_more(&self) -> bool {
        self.left > 0 && self.stage.phase() < Phase::Drain
    }

    fn full_speed(&mut self, link: &mut Link, size: u32) -> Result<Taken, BenchError> {
        let window = Window::new(size);
        let mut confirms = Confirms::new(&window, self.stage, self.meter);
        let refill = u64::from((size / REFILL).max(1));
        loop {
            if self.has_more() {
                let room = window.room();
                if room >= refill {
                    let now = self.stage.now_ns();
                    self.send(&mut link.stream, room, Some(&window), now, |_| now)?;
                }
            } else if window.unconfirmed() == 0 {
                return Ok(confirms.taken);
            }
            confirms.read(&mut link.incoming, &mut link.stream)?;
        }
    }

    fn unconfirmed(&mut self, socket: &mut TcpStream) -> Result<(), BenchError> {
        while self.has_more() {
            let now = self.stage.now_ns();
            self.send(socket, UNCONFIRMED_RUN, None, now, |_| now)?;
        }
        Ok(())
    }

    /// Sends the messages that are due, and sleeps. A message that waits for the window keeps its due time.
    fn at_rate(
        &mut self,
        socket: &mut TcpStream,
        window: Option<&Window>,
        rate: Rate,
    ) -> Result<(), BenchError> {
        let start = self.stage.now_ns();
        let mut sent = 0;
        while self.has_more() {
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

    /// Sends `count` messages, or fewer if the quota ends. Returns their number.
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
            let (taken, frames) = self.ring.take(most, |nth| due_ns(sent + nth as u64));
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
