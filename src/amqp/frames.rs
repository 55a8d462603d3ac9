//! The frames of a connection: each goes to its channel, those of channel 0 are handled here. Also the rest
//! of a method that has waited.

use super::channel::Phase as ChannelPhase;
use super::connection::{Connection, Phase};
use super::connection_state::Rest;
use super::error::{Code, Failure, Refusal};
use super::method_id::MethodId;
use super::protocol_errors::{channel_not_open, undecodable, undecodable_on_zero};
use crate::wire::protocol::{channel, connection};
use crate::wire::{self, AMQPClass, FrameKind, FrameRef, Frames};

impl Connection {
    /// Handles the frames that have been read, until a method has to wait.
    pub(super) fn handle_frames(&mut self) {
        let Some(mut frames) = self.frames.take() else {
            return;
        };
        self.status_changed = true;
        let alarm = self.alarms.borrow().any();
        while self.state.pending.is_none() && self.may_handle_frames() {
            let failure = match frames.next_ref() {
                None => return,
                Some(Ok(frame)) => match self.phase {
                    Phase::Running => {
                        let handled = self.frame(&frame);
                        if alarm {
                            self.block_publisher(frame.kind);
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
                        self.fail(0, refusal.into());
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
        self.set_frames(frames);
    }

    pub(super) fn set_frames(&mut self, frames: Frames) {
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
            (number, FrameKind::Method) => self.channel_method(number, frame.payload()),
            (number, FrameKind::Header) => match self.channel(number) {
                Some((channel, state)) => channel.header(state, frame.bytes()),
                None => Err(channel_not_open()),
            },
            (number, FrameKind::Body) => match self.channel(number) {
                Some((channel, state)) => channel.body(state, frame.bytes()),
                None => Err(channel_not_open()),
            },
        }
    }

    /// A method on a channel other than 0. The connection itself opens and closes channels.
    fn channel_method(&mut self, number: u16, payload: &[u8]) -> Result<(), Failure> {
        let method = MethodId::of(payload);
        let phase = self.channels.get_mut(number).map(|channel| channel.phase);
        match (phase, method) {
            (None | Some(ChannelPhase::Crossed), MethodId::CHANNEL_OPEN) => {
                wire::decode_method(payload).map_err(undecodable)?;
                self.channels.remove(number);
                self.open_channel(number)
            }
            (Some(_), MethodId::CHANNEL_CLOSE) => {
                let close = wire::decode_method(payload).map_err(undecodable)?;
                tracing::debug!(connection = %self.state.shared.name, channel = number, ?close, "channel closed by client");
                self.client_closes_channel(number)
            }
            (Some(ChannelPhase::Closing | ChannelPhase::Crossed), MethodId::CHANNEL_CLOSE_OK) => {
                self.remove_channel(number);
                Ok(())
            }
            (None, _) => {
                wire::decode_method(payload).map_err(undecodable)?;
                Err(Refusal::new(Code::ChannelError, "expected 'channel.open'")
                    .about(method)
                    .into())
            }
            (Some(_), _) => {
                self.state.method = method;
                let handled = match self.channel(number) {
                    Some((channel, state)) => channel.method(state, payload),
                    None => Err(channel_not_open()),
                };
                handled.map_err(|failure| failure.or_about(method))
            }
        }
    }

    fn open_channel(&mut self, number: u16) -> Result<(), Failure> {
        let shared = &self.state.shared;
        let (open, channel_max) = (self.channels.len(), shared.channel_max);
        if open >= usize::from(channel_max) {
            let text = format!(
                "number of channels opened ({open}) has reached the negotiated channel_max ({channel_max})"
            );
            return Err(Refusal::new(Code::NotAllowed, text).about_nothing().into());
        }
        let users = shared.front.broker.users();
        let limits = users.limits(&shared.session.user);
        if let Err(limit) = self.permit.open_channel(&limits) {
            let refusal = Refusal::new(Code::NotAllowed, limit.to_string());
            return Err(refusal.about_nothing().into());
        }
        let vhost = &self.state.shared.session.vhost;
        vhost.broker_stats().churn.channel_created.add(1);
        self.channels.insert(number);
        let ok = channel::AMQPMethod::OpenOk(channel::OpenOk {});
        self.state.send(number, AMQPClass::Channel(ok));
        Ok(())
    }

    /// A method on channel 0.
    fn connection_method(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let decoded = wire::decode_method(payload).map_err(undecodable_on_zero)?;
        match decoded {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
                tracing::debug!(connection = %self.state.shared.name, code = close.reply_code, text = ?close.reply_text.as_str(), "connection closed by client");
                self.client_closes();
                Ok(())
            }
            AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(m)) => {
                self.update_secret(&m);
                Ok(())
            }
            _ => {
                let text = "unexpected method in connection state running";
                Err(Refusal::new(Code::ChannelError, text)
                    .about(MethodId::of(payload))
                    .into())
            }
        }
    }

    /// Runs the rest of the method that has waited.
    pub(super) fn resume(&mut self, rest: Rest) {
        let Some(pending) = self.state.pending.take() else {
            return;
        };
        self.status_changed = true;
        self.state.method = pending.method;
        let handled = match rest {
            Rest::NewSecret(renewed) => self.secret_updated(renewed),
            Rest::OfChannel(rest) => match self.channel(pending.channel) {
                Some((channel, state)) => rest(channel, state),
                None => Ok(()),
            },
        };
        if let Err(refusal) = handled {
            self.fail(pending.channel, refusal.or_about(pending.method).into());
        }
        self.end_cancelled_consumers();
    }
}
