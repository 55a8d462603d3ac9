//! Moves messages from one link to another, and acks them at the source when the ack mode says that the destination has
//! them. One task polls both links; it stops reading the source when the destination falls behind.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::in_flight::{Answer, InFlight};
use super::link::{CHANNEL, Link, LinkError, Reading};
use super::progress::{Numbers, Progress};
use super::relay::Relay;
pub use super::relay::{Delivery, Forward, Publication};
pub use crate::model::shovel::AckMode;
use crate::wire::protocol::{basic, channel};
use crate::wire::{AMQPClass, Frame, FrameKind, FromBroker, decode_from_broker, put_ack, put_nack};

/// Maximum number of messages between publish and confirm. Lower prefetch counts leave less.
pub const IN_FLIGHT_MAX: usize = 20_000;
/// Pause after the destination refused messages, doubled while it accepts none.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Why a pump has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has moved as many messages as it was told to.
    Complete,
    Stopped,
}

#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    #[error("source: {0}")]
    Source(LinkError),
    #[error("destination: {0}")]
    Destination(LinkError),
    #[error(
        "destination: message to exchange '{exchange}' with routing key '{routing_key}' came back: {text}"
    )]
    Returned {
        exchange: String,
        routing_key: String,
        text: String,
    },
}

/// Two open links. The source's has a consumer on [`CHANNEL`], with acks unless the mode is [`AckMode::NoAck`]; the
/// destination's has selected confirms on [`CHANNEL`] if the mode is [`AckMode::OnConfirm`].
pub struct Pump<F> {
    source: Link,
    destination: Link,
    ack_mode: AckMode,
    /// Messages to move until the pump is complete; `None` is no end.
    remaining: Option<u64>,
    forward: F,
    relay: Relay,
    in_flight: InFlight,
    /// Ends of written messages in the destination's output, for modes without confirms.
    unwritten: VecDeque<u64>,
    answers: Vec<Answer>,
    progress: Arc<Progress>,
    /// The numbers of earlier pumps of the same progress.
    before: Numbers,
    forwarded: u64,
    redelivered: u64,
    pause: Option<Pin<Box<Sleep>>>,
    next_pause: Duration,
}

impl<F: Forward> Pump<F> {
    pub fn new(
        source: Link,
        destination: Link,
        ack_mode: AckMode,
        remaining: Option<u64>,
        forward: F,
        progress: Arc<Progress>,
    ) -> Pump<F> {
        Pump {
            relay: Relay::new(destination.frame_max()),
            source,
            destination,
            ack_mode,
            remaining,
            forward,
            in_flight: InFlight::default(),
            unwritten: VecDeque::new(),
            answers: Vec::new(),
            before: progress.numbers(),
            progress,
            forwarded: 0,
            redelivered: 0,
            pause: None,
            next_pause: REFUSED_PAUSE,
        }
    }

    /// Messages that are left until the pump is complete.
    pub fn remaining(&self) -> Option<u64> {
        let left = |remaining: u64| remaining.saturating_sub(self.in_flight.confirmed());
        self.remaining.map(left)
    }

    /// See [`InFlight::settled_mark`].
    pub fn settled_mark(&self) -> Option<u64> {
        self.in_flight.settled_mark()
    }

    pub fn forward(&self) -> &F {
        &self.forward
    }

    /// Runs until the pump is complete, or `stop` is ready and the destination has confirmed what it was sent. Once it has
    /// returned, only [`Pump::close`] has a meaning.
    pub async fn run(&mut self, stop: impl Future<Output = ()>) -> Result<End, PumpError> {
        let mut stop = pin!(stop);
        let mut stopping = false;
        poll_fn(|cx| {
            loop {
                stopping = stopping || stop.as_mut().poll(cx).is_ready();
                let moved = self.round(cx, stopping);
                self.report();
                let moved = match moved {
                    Ok(moved) => moved,
                    Err(error) => return Poll::Ready(Err(error)),
                };
                let settled = self.in_flight.unconfirmed() == 0 && !self.relay.is_publishing();
                match (self.remaining(), stopping) {
                    (Some(0), _) if settled => return Poll::Ready(Ok(End::Complete)),
                    (_, true) if settled => return Poll::Ready(Ok(End::Stopped)),
                    _ if moved => {}
                    _ => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Tells the source what the destination has, and closes both links.
    pub async fn close(mut self, patience: Duration) {
        self.answer();
        // The rest of a half-published message will not come, so that link just ends.
        let destination = (!self.relay.is_publishing()).then_some(self.destination);
        tokio::join!(self.source.close(patience), async {
            if let Some(destination) = destination {
                destination.close(patience).await;
            }
        });
    }

    /// Moves what can be moved now. False if nothing can: the task is woken when that changes.
    fn round(&mut self, cx: &mut Context<'_>, stopping: bool) -> Result<bool, PumpError> {
        if let Some(pause) = &mut self.pause
            && pause.as_mut().poll(cx).is_ready()
        {
            self.pause = None;
        }
        let mut moved = self.take_deliveries(stopping)?;
        moved |= self
            .destination
            .poll(cx, Reading::Yes)
            .map_err(PumpError::Destination)?;
        self.take_confirms()?;
        self.note_written()?;
        self.answer();
        let reading = match self.may_take(stopping) {
            true => Reading::Yes,
            false => Reading::No,
        };
        moved |= self.source.poll(cx, reading).map_err(PumpError::Source)?;
        Ok(moved)
    }

    /// Whether the next frame of the source may be taken.
    fn may_take(&self, stopping: bool) -> bool {
        let may_begin = || {
            !stopping
                && self.pause.is_none()
                && !self.destination.is_blocked()
                && self.in_flight.window() < IN_FLIGHT_MAX
                && !self.has_published_last()
        };
        !self.destination.is_congested() && (!self.relay.is_idle() || may_begin())
    }

    /// Whether those in flight may be the last. Further deliveries wait, since the destination may refuse some of these.
    fn has_published_last(&self) -> bool {
        self.remaining()
            .is_some_and(|left| left <= self.in_flight.unconfirmed() as u64)
    }

    fn take_deliveries(&mut self, stopping: bool) -> Result<bool, PumpError> {
        let mut any = false;
        while self.may_take(stopping) {
            let Some(frame) = self.source.next_frame().map_err(PumpError::Source)? else {
                break;
            };
            any = true;
            let out = &mut self.destination.out;
            let published = self
                .relay
                .take(frame, &mut self.forward, out)
                .map_err(PumpError::Source)?;
            if let Some(published) = published {
                self.in_flight.publish(published.tag, published.mark);
                self.forwarded += 1;
                self.redelivered += u64::from(published.redelivered);
            }
            let ended = self.relay.is_idle() && self.unwritten_from() < self.forwarded;
            if ended && self.ack_mode != AckMode::OnConfirm {
                self.unwritten.push_back(self.destination.position());
            }
        }
        Ok(any)
    }

    /// Number of messages whose end has been noted or passed.
    fn unwritten_from(&self) -> u64 {
        self.in_flight.confirmed() + self.unwritten.len() as u64
    }

    /// Modes without confirms count a message as confirmed when the socket has its last byte.
    fn note_written(&mut self) -> Result<(), PumpError> {
        let written = self.destination.written();
        while self.unwritten.pop_front_if(|end| *end <= written).is_some() {
            let seq = self.in_flight.confirmed() + 1;
            self.confirmed(seq, false)?;
        }
        Ok(())
    }

    fn take_confirms(&mut self) -> Result<(), PumpError> {
        let refused_before = self.in_flight.refused();
        let confirmed_before = self.in_flight.confirmed();
        while let Some(frame) = self
            .destination
            .next_frame()
            .map_err(PumpError::Destination)?
        {
            self.take_confirm(&frame)?;
        }
        if self.in_flight.confirmed() > confirmed_before {
            self.next_pause = REFUSED_PAUSE;
        }
        if self.in_flight.refused() > refused_before {
            self.pause = Some(Box::pin(sleep(self.next_pause)));
            self.next_pause = (self.next_pause * 2).min(REFUSED_PAUSE_MAX);
        }
        Ok(())
    }

    fn take_confirm(&mut self, frame: &Frame) -> Result<(), PumpError> {
        if frame.kind != FrameKind::Method || frame.channel != CHANNEL {
            let text = "the destination sends a content".to_owned();
            return Err(PumpError::Destination(LinkError::Protocol(text)));
        }
        let method = decode_from_broker(&frame.payload);
        match method.map_err(|error| PumpError::Destination(error.into()))? {
            FromBroker::Ack {
                delivery_tag,
                multiple,
            } => self.confirmed(delivery_tag, multiple),
            FromBroker::Nack {
                delivery_tag,
                multiple,
            } => {
                let refused = self.in_flight.refuse(delivery_tag, multiple);
                refused.map_err(|error| protocol(&error))
            }
            FromBroker::Other(method) => Err(ended(&method)),
            FromBroker::Deliver(_) => Err(protocol(&"the destination delivers")),
        }
    }

    fn confirmed(&mut self, seq: u64, multiple: bool) -> Result<(), PumpError> {
        let confirmed = self.in_flight.confirm(seq, multiple);
        confirmed.map_err(|error| protocol(&error))
    }

    /// Writes acks and requeues for the source.
    fn answer(&mut self) {
        self.in_flight.answers(&mut self.answers);
        for answer in self.answers.drain(..) {
            let out = &mut self.source.out;
            match (self.ack_mode, answer) {
                (AckMode::NoAck, _) => {}
                (_, Answer::Ack { tag, multiple }) => put_ack(out, CHANNEL, tag, multiple),
                (_, Answer::Requeue { tag }) => put_nack(out, CHANNEL, tag, false, true),
            }
        }
    }

    fn report(&self) {
        let before = &self.before;
        self.progress.set(Numbers {
            forwarded: before.forwarded + self.forwarded,
            confirmed: before.confirmed + self.in_flight.confirmed(),
            redelivered: before.redelivered + self.redelivered,
            refused: before.refused + self.in_flight.refused(),
            unconfirmed: self.in_flight.unconfirmed() as u64,
            settled_mark: self.settled_mark().or(before.settled_mark),
            remaining: self.remaining(),
            is_blocked: self.destination.is_blocked(),
        });
    }
}

fn protocol(what: &dyn std::fmt::Display) -> PumpError {
    PumpError::Destination(LinkError::Protocol(what.to_string()))
}

/// The destination ends the channel, or returns a message. The return comes before its confirm, so the message is
/// unacked at the source.
fn ended(method: &AMQPClass) -> PumpError {
    match method {
        AMQPClass::Basic(basic::AMQPMethod::Return(returned)) => PumpError::Returned {
            exchange: returned.exchange.to_string(),
            routing_key: returned.routing_key.to_string(),
            text: returned.reply_text.to_string(),
        },
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
            PumpError::Destination(LinkError::Closed {
                code: close.reply_code,
                text: close.reply_text.to_string(),
            })
        }
        other => protocol(&format_args!("unexpected method {other:?}")),
    }
}
