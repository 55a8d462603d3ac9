//! From frames to channels: which channel a frame is for, what channel 0 says, and what is waited for. What errors end is
//! in `closing`, what is done at the end of a batch of frames in `batch`. No I/O.

use super::channel::{Channel, Phase as ChannelPhase};
use super::channels::Channels;
use super::connection::{Connection, Phase};
use super::cx::{Cx, Done};
use super::error::{Code, Failure, MethodId, Refusal};
use super::misread::{undecodable, undecodable_on_zero, unexpected};
use crate::wire::protocol::{channel, connection};
use crate::wire::{self, AMQPClass, FrameKind, FrameRef, Frames};

impl Connection {
    /// Calls `act` with an open channel and what it may use.
    pub(super) fn on_channel<R>(
        &mut self,
        number: u16,
        method: MethodId,
        act: impl FnOnce(&mut Channel, &mut Cx<'_>) -> R,
    ) -> Option<R> {
        let now_ms = self.now_ms();
        let Connection {
            channels,
            shared,
            out,
            later,
            read_buffer,
            ..
        } = self;
        let index = channels.index(number)?;
        let Channels {
            open,
            dirty,
            confirming,
            delivering,
            consumers,
            assembling,
            has_published,
            unsynced,
            ..
        } = channels;
        let channel = open.get_mut(index)?;
        let mut cx = Cx {
            shared,
            out,
            later,
            method,
            consumers,
            now_ms,
            dirty,
            confirming,
            delivering,
            has_published,
            unsynced,
            assembling,
            read_buffer: *read_buffer,
        };
        Some(act(channel, &mut cx))
    }

    /// Handles the frames that have been read, until one has to wait for something.
    pub(super) fn handle_frames(&mut self) {
        let Some(mut frames) = self.frames.take() else {
            return;
        };
        self.channels.changed = true;
        let alarm = self.alarms.borrow().any();
        while self.later.is_none() && !self.blocked {
            let failure = match frames.next_ref() {
                None => return,
                Some(Ok(frame)) => match self.phase {
                    Phase::Running => {
                        let handled = self.frame(&frame);
                        if alarm {
                            self.look_at_publish(frame.kind);
                        }
                        handled.err().map(|failure| (frame.channel, failure))
                    }
                    Phase::Closing { .. } | Phase::Closed { .. } => {
                        self.frame_while_closing(&frame);
                        None
                    }
                    Phase::Deaf { .. } | Phase::Over => return,
                },
                Some(Err(error)) => {
                    if self.phase == Phase::Running {
                        let refusal =
                            Refusal::new(Code::FrameError, error.to_string()).about_nothing();
                        self.fail(0, Failure::Refused(refusal));
                    }
                    if !error.in_step() {
                        self.stop_listening();
                        return;
                    }
                    None
                }
            };
            if let Some((number, failure)) = failure {
                self.fail(number, failure);
            }
        }
        self.keep(frames);
    }

    fn keep(&mut self, frames: Frames) {
        self.frames = (!frames.is_empty()).then_some(frames);
    }

    fn frame(&mut self, frame: &FrameRef<'_>) -> Result<(), Failure> {
        match (frame.channel, frame.kind) {
            (0, FrameKind::Heartbeat) => Ok(()),
            (0, FrameKind::Method) => self.connection_method(frame.payload()),
            (0, FrameKind::Header | FrameKind::Body) | (_, FrameKind::Heartbeat) => {
                let text = wire::frame_text(frame.kind.octet(), frame.payload());
                Err(Refusal::new(Code::UnexpectedFrame, text)
                    .about_nothing()
                    .into())
            }
            (number, FrameKind::Method) => self.channel_frame(number, frame),
            (number, FrameKind::Header) => {
                let handled = self.on_channel(number, MethodId::default(), |channel, cx| {
                    channel.header(cx, frame.bytes())
                });
                handled.unwrap_or_else(not_open)
            }
            (number, FrameKind::Body) => {
                let handled = self.on_channel(number, MethodId::default(), |channel, cx| {
                    channel.body(cx, frame.bytes())
                });
                handled.unwrap_or_else(not_open)
            }
        }
    }

    /// A method on a channel other than 0. Opening and closing are the connection's work.
    fn channel_frame(&mut self, number: u16, frame: &FrameRef<'_>) -> Result<(), Failure> {
        let payload = frame.payload();
        let method = method_id(payload);
        let phase = self.channels.get_mut(number).map(|channel| channel.phase);
        match (phase, method.class, method.method) {
            (None | Some(ChannelPhase::Crossed), 20, 10) => {
                wire::decode_method(payload).map_err(undecodable)?;
                self.channels.remove(number);
                self.open_channel(number)
            }
            (Some(_), 20, 40) => {
                let close = wire::decode_method(payload).map_err(undecodable)?;
                tracing::debug!(connection = %self.shared.name, channel = number, ?close, "channel closed by client");
                self.client_closes_channel(number, method)
            }
            (Some(ChannelPhase::Closing | ChannelPhase::Crossed), 20, 41) => {
                self.remove_channel(number);
                Ok(())
            }
            (None, ..) => {
                wire::decode_method(payload).map_err(undecodable)?;
                Err(Refusal::new(Code::ChannelError, "expected 'channel.open'")
                    .about(method.class, method.method)
                    .into())
            }
            (Some(_), ..) => {
                let handled =
                    self.on_channel(number, method, |channel, cx| channel.method(cx, payload));
                handled
                    .unwrap_or_else(not_open)
                    .map_err(|failure| blame(failure, method))
            }
        }
    }

    fn open_channel(&mut self, number: u16) -> Result<(), Failure> {
        let (open, most) = (self.channels.open.len(), self.shared.channel_max);
        if open >= usize::from(most) {
            let text = format!(
                "number of channels opened ({open}) has reached the negotiated channel_max ({most})"
            );
            return Err(Refusal::new(Code::NotAllowed, text).about_nothing().into());
        }
        let limits = self
            .shared
            .front
            .broker
            .users()
            .limits(&self.shared.session.user.name);
        if let Err(limit) = self.permit.open_channel(&limits) {
            return Err(Refusal::new(Code::NotAllowed, limit.to_string())
                .about_nothing()
                .into());
        }
        self.channels.insert(number);
        self.send(
            number,
            &AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})),
        );
        Ok(())
    }

    /// Channel 0.
    fn connection_method(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let method = method_id(payload);
        let decoded = wire::decode_method(payload).map_err(undecodable_on_zero)?;
        match decoded {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
                tracing::debug!(connection = %self.shared.name, code = close.reply_code, text = ?close.reply_text.as_str(), "connection closed by client");
                self.client_closes();
                Ok(())
            }
            AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(m)) => {
                let (connection, user) = (&self.shared.name, &self.shared.session.user.name);
                tracing::debug!(%connection, %user, reason = ?m.reason.as_str(), "secret updated");
                self.refresh_permissions();
                let ok = connection::UpdateSecretOk {};
                self.send(
                    0,
                    &AMQPClass::Connection(connection::AMQPMethod::UpdateSecretOk(ok)),
                );
                Ok(())
            }
            _ => {
                let text = "unexpected method in connection state running";
                Err(Refusal::new(Code::ChannelError, text)
                    .about(method.class, method.method)
                    .into())
            }
        }
    }

    /// The client has a new secret. Passwords do not expire, so that any will do (as in RabbitMQ), and permissions are
    /// looked up whenever they have changed; but those that were given to a consumer may be gone.
    fn refresh_permissions(&mut self) {
        for number in self.channels.numbers() {
            self.on_channel(number, MethodId::default(), Channel::cancel_unreadable);
        }
    }

    /// Something that a method waited for is there.
    pub(super) fn complete(&mut self, done: Done) {
        let Some(later) = self.later.take() else {
            return;
        };
        self.channels.changed = true;
        let handled = self.on_channel(later.channel, later.method, done);
        if let Some(Err(refusal)) = handled {
            self.fail(later.channel, blame(refusal.into(), later.method));
        }
        self.tell_cancelled();
    }

    /// Closes channels whose client keeps a delivery unanswered for too long.
    pub(super) fn check_consumer_timeouts(&mut self) {
        let default_ms = self.shared.front.settings.consumer_timeout_ms;
        let now_ms = self.now_ms();
        let late: Vec<(u16, u64)> = self
            .channels
            .open
            .iter()
            .filter_map(|channel| Some((channel.number, channel.timed_out(now_ms, default_ms)?)))
            .collect();
        for (number, timeout_ms) in late {
            let text = format!(
                "delivery acknowledgement on channel {number} timed out. Timeout value used: {timeout_ms} ms. \
                 This timeout value can be configured, see consumers doc guide to learn more"
            );
            self.fail(
                number,
                Refusal::new(Code::PreconditionFailed, text)
                    .about_nothing()
                    .into(),
            );
        }
    }

    pub(super) fn send(&mut self, number: u16, method: &AMQPClass) {
        wire::encode_method(self.out.buffer(), number, method);
    }
}

/// Class and method of a method payload.
pub(super) fn method_id(payload: &[u8]) -> MethodId {
    match payload {
        [c0, c1, m0, m1, ..] => MethodId {
            class: u16::from_be_bytes([*c0, *c1]),
            method: u16::from_be_bytes([*m0, *m1]),
        },
        _ => MethodId::default(),
    }
}

/// Names the method being handled where the refusal names none.
fn blame(failure: Failure, method: MethodId) -> Failure {
    match failure {
        Failure::Refused(mut refusal) => {
            refusal.about.get_or_insert(method);
            Failure::Refused(refusal)
        }
        Failure::Drop => Failure::Drop,
    }
}

/// A content frame for a channel that is not open.
fn not_open() -> Result<(), Failure> {
    Err(unexpected(super::assembly::Unexpected::NotMethod))
}
