//! How channels and connections end, from either side, and what goes back to the broker then.

use tokio::time::Instant;

use super::channel::{Channel, Phase as ChannelPhase};
use super::connection::{Connection, Phase};
use super::connection_state::ConnectionState;
use super::consumers::Consumers;
use super::error::{Failure, Refusal, Scope};
use super::handshake::SILENT_CLOSE_DELAY;
use super::leaving::Leaving;
use super::limits::CHANNEL_ERRORS_LOGGED_MAX;
use super::method_id::MethodId;
use super::protocol_errors::unexpected;
use super::publishing::Publishing;
use super::queue_handles::QueueHandles;
use crate::wire::protocol::{channel, connection};
use crate::wire::{AMQPClass, FrameKind, FrameRef, MethodError, decode_method};

impl Channel {
    /// Publishes and acks that were sent before the end take effect. Later frames do not.
    fn stop(&mut self, connection: &mut ConnectionState) {
        self.flush_run(connection);
        self.flush_acks(connection);
        self.phase = ChannelPhase::Closing;
    }

    /// Drops the channel's state, but for what its closing handshake needs. Unacked deliveries go to
    /// `leaving`.
    fn clear(&mut self, connection: &mut ConnectionState, leaving: &mut Leaving) {
        self.leave_deliveries(leaving);
        for (id, _) in self.consumers.iter() {
            connection.consumers.remove(id);
        }
        self.consumers = Consumers::default();
        self.queues = QueueHandles::default();
        self.publishing = Publishing::default();
        self.reply_consumer = None;
        self.limiter = None;
        self.touched = Vec::new();
        self.under_way = Vec::new();
        connection.assembling.change(self.assembly.held(), 0);
        self.assembly.forget();
    }
}

impl Connection {
    /// `channel.close` from the client.
    pub(super) fn client_closes_channel(&mut self, number: u16) -> Result<(), Failure> {
        let Some(channel) = self.channels.get_mut(number) else {
            return Ok(());
        };
        channel.assembly.method().map_err(unexpected)?;
        let was_open = channel.phase == ChannelPhase::Open;
        if was_open {
            self.end_channel(number);
        }
        let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
        self.state.send(number, AMQPClass::Channel(ok));
        if was_open {
            self.remove_channel(number);
        } else if let Some(channel) = self.channels.get_mut(number) {
            // Both sides have sent `channel.close`: the client's close-ok may still come.
            channel.phase = ChannelPhase::Crossed;
        }
        Ok(())
    }

    pub(super) fn remove_channel(&mut self, number: u16) {
        self.channels.remove(number);
        self.permit.close_channel();
        let vhost = &self.state.shared.session.vhost;
        vhost.broker_stats().churn.channel_closed.add(1);
    }

    /// A frame after `connection.close` from either side. Answers another close; close-ok is the last frame.
    /// Ignores all other known methods.
    pub(super) fn frame_while_closing(&mut self, frame: &FrameRef<'_>) {
        if frame.channel != 0 || frame.kind != FrameKind::Method {
            return;
        }
        match decode_method(frame.payload()) {
            Ok(AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))) => {
                self.phase = Phase::Over;
            }
            Ok(AMQPClass::Connection(connection::AMQPMethod::Close(_))) => self.send_close_ok(),
            Ok(_) | Err(MethodError::Malformed { .. } | MethodError::Table { .. }) => {}
            Err(MethodError::Unknown { .. } | MethodError::NoIds) => self.phase = Phase::Over,
        }
    }

    /// `connection.close` from the client.
    pub(super) fn client_closes(&mut self) {
        // Exclusive queues are deleted before close-ok.
        self.release();
        self.send_close_ok();
        self.phase = Phase::Closed {
            until: self.close_deadline(),
        };
    }

    fn send_close_ok(&mut self) {
        let ok = connection::AMQPMethod::CloseOk(connection::CloseOk {});
        self.state.send(0, AMQPClass::Connection(ok));
    }

    /// Drops all further input, which cannot be decoded.
    pub(super) fn stop_listening(&mut self) {
        self.frames = None;
        if let Phase::Closing { .. } | Phase::Closed { .. } = self.phase {
            let until = Instant::now() + SILENT_CLOSE_DELAY;
            self.phase = Phase::Deaf { until };
        }
    }

    /// Closes the channel or the connection, as the failure requires.
    pub(super) fn fail(&mut self, number: u16, failure: Failure) {
        match failure {
            Failure::Drop => self.phase = Phase::Over,
            Failure::Refused(refusal) => match refusal.code.scope() {
                Scope::Channel => self.close_channel(number, &refusal),
                Scope::Connection => self.close_connection(&refusal),
            },
        }
    }

    fn close_channel(&mut self, number: u16, refusal: &Refusal) {
        self.log_channel_error(number, refusal);
        self.end_channel(number);
        let about = refusal.about.unwrap_or(MethodId::NONE);
        let close = channel::AMQPMethod::Close(channel::Close {
            reply_code: refusal.code.number(),
            reply_text: refusal.reply_text(),
            class_id: about.class,
            method_id: about.method,
        });
        self.state.send(number, AMQPClass::Channel(close));
    }

    /// Logs the first channel errors at level info, so that a client that repeats an error does not fill the
    /// log.
    fn log_channel_error(&mut self, number: u16, refusal: &Refusal) {
        let shared = &self.state.shared;
        let (connection, user) = (&shared.name, &shared.session.user);
        let (code, text) = (refusal.code.number(), refusal.reply_text());
        if self.errors_logged < CHANNEL_ERRORS_LOGGED_MAX {
            self.errors_logged += 1;
            tracing::info!(%connection, %user, channel = number, code, text = ?text.as_str(), "channel error");
        } else {
            tracing::debug!(%connection, %user, channel = number, code, text = ?text.as_str(), "channel error");
        }
    }

    /// Closes the connection from this side.
    pub(super) fn close_connection(&mut self, refusal: &Refusal) {
        match self.phase {
            Phase::Running => {}
            // The client has its close-ok, so the broker need not wait for the socket.
            Phase::Closed { .. } => return self.phase = Phase::Over,
            Phase::Closing { .. } | Phase::Deaf { .. } | Phase::Over => return,
        }
        let text = refusal.reply_text();
        let shared = &self.state.shared;
        let (connection, user) = (&shared.name, &shared.session.user);
        tracing::info!(%connection, %user, code = refusal.code.number(), text = ?text.as_str(), "closing connection");
        self.state.pending = None;
        self.blocking.by_alarm = false;
        self.release();
        let about = refusal.about.unwrap_or(MethodId::NONE);
        let close = connection::AMQPMethod::Close(connection::Close {
            reply_code: refusal.code.number(),
            reply_text: text,
            class_id: about.class,
            method_id: about.method,
        });
        self.state.send(0, AMQPClass::Connection(close));
        self.phase = Phase::Closing {
            until: self.close_deadline(),
        };
    }

    /// Returns everything that a channel has from the broker. Only `channel.close` or close-ok is sent on it
    /// afterwards.
    fn end_channel(&mut self, number: u16) {
        self.end_channels(&[number], Connection::take_outbox);
    }

    /// Returns everything that these channels have, in one step per queue, so that no message goes from one
    /// of them to another: halts their consumers, lets earlier publishes and acks take effect, takes the
    /// deliveries that are under way, and requeues all unacked ones in order.
    fn end_channels(&mut self, numbers: &[u16], take_deliveries: impl FnOnce(&mut Connection)) {
        let mut leaving = Leaving::default();
        for number in numbers {
            if let Some((channel, _)) = self.channel(*number) {
                channel.leave_consumers(&mut leaving);
            }
        }
        leaving.halt();
        for number in numbers {
            if let Some((channel, state)) = self.channel(*number) {
                channel.stop(state);
            }
        }
        take_deliveries(self);
        for number in numbers {
            if let Some((channel, state)) = self.channel(*number) {
                channel.clear(state, &mut leaving);
            }
        }
        leaving.leave();
    }

    /// Returns everything that the connection has from the broker: messages, consumers, exclusive queues.
    pub(super) fn release(&mut self) {
        let numbers = self.channels.numbers();
        self.end_channels(&numbers, |connection| {
            connection.take_deliveries();
        });
        for number in numbers {
            self.remove_channel(number);
        }
        self.cancelled = Vec::new();
        self.state.count_published();
        self.state.forget_channels();
        self.status_changed = true;
        self.state.shared.session.close();
    }
}
