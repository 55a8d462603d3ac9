//! How channels and connections end, from either side, and what goes back to the broker then.

use tokio::time::Instant;

use super::channel::{Channel, Phase as ChannelPhase};
use super::channels::Channels;
use super::connection::{Connection, Phase};
use super::error::{Failure, MethodId, Refusal, Scope};
use super::handshake::SILENT_CLOSE_DELAY;
use super::leaving::Leaving;
use super::limits::CHANNEL_ERRORS_LOGGED_MAX;
use super::misread::unexpected;
use crate::wire::protocol::{channel, connection};
use crate::wire::{AMQPClass, FrameKind, FrameRef, MethodError, decode_method};

impl Connection {
    pub(super) fn client_closes_channel(
        &mut self,
        number: u16,
        method: MethodId,
    ) -> Result<(), Failure> {
        let assembled = self
            .channels
            .get_mut(number)
            .map(|channel| channel.assembly.method());
        if let Some(Err(out_of_turn)) = assembled {
            return Err(unexpected(out_of_turn));
        }
        let was_open = self
            .channels
            .get_mut(number)
            .is_some_and(|channel| channel.phase == ChannelPhase::Open);
        if was_open {
            self.wind_up_channel(number, method);
        }
        self.send(
            number,
            &AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
        );
        if was_open {
            self.remove_channel(number);
        } else if let Some(channel) = self.channels.get_mut(number) {
            // Both sides have closed it at once: the client's close-ok may still come.
            channel.phase = ChannelPhase::Crossed;
        }
        Ok(())
    }

    pub(super) fn remove_channel(&mut self, number: u16) {
        self.channels.remove(number);
        self.permit.close_channel();
    }

    /// After the connection was closed, from either side: what is closed once more is answered, and `close-ok` is the
    /// last word. All else is ignored, as long as it is known.
    pub(super) fn frame_while_closing(&mut self, frame: &FrameRef<'_>) {
        if frame.channel != 0 || frame.kind != FrameKind::Method {
            return;
        }
        match decode_method(frame.payload()) {
            Ok(AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))) => {
                self.phase = Phase::Over;
            }
            Ok(AMQPClass::Connection(connection::AMQPMethod::Close(_))) => self.send(
                0,
                &AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
            ),
            Ok(_) | Err(MethodError::Malformed { .. } | MethodError::Table { .. }) => {}
            Err(MethodError::Unknown { .. } | MethodError::NoIds) => self.phase = Phase::Over,
        }
    }

    /// The client has closed the connection.
    pub(super) fn client_closes(&mut self) {
        // Exclusive queues are gone before close-ok.
        self.release();
        self.send(
            0,
            &AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
        );
        self.phase = Phase::Closed {
            until: self.close_deadline(),
        };
    }

    /// What arrives from here on cannot be read.
    pub(super) fn stop_listening(&mut self) {
        self.frames = None;
        if let Phase::Closing { .. } | Phase::Closed { .. } = self.phase {
            let until = Instant::now() + SILENT_CLOSE_DELAY;
            self.phase = Phase::Deaf { until };
        }
    }

    /// Ends what an error ends.
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
        let about = refusal.about.unwrap_or_default();
        self.wind_up_channel(number, about);
        let close = channel::Close {
            reply_code: refusal.code.number(),
            reply_text: refusal.reply_text(),
            class_id: about.class,
            method_id: about.method,
        };
        self.send(
            number,
            &AMQPClass::Channel(channel::AMQPMethod::Close(close)),
        );
    }

    /// What a client did wrong is between it and its channel: of one that does so again and again, the log says no
    /// more.
    fn log_channel_error(&mut self, number: u16, refusal: &Refusal) {
        let (connection, user) = (&self.shared.name, &self.shared.session.user.name);
        let (code, text) = (refusal.code.number(), refusal.reply_text());
        if self.channels.errors_logged < CHANNEL_ERRORS_LOGGED_MAX {
            self.channels.errors_logged += 1;
            tracing::info!(%connection, %user, channel = number, code, text = ?text.as_str(), "channel error");
        } else {
            tracing::debug!(%connection, %user, channel = number, code, text = ?text.as_str(), "channel error");
        }
    }

    /// Closes the connection from this side.
    pub(super) fn close_connection(&mut self, refusal: &Refusal) {
        match self.phase {
            Phase::Running => {}
            // All has been said: the broker need not wait for the socket any longer.
            Phase::Closed { .. } => return self.phase = Phase::Over,
            Phase::Closing { .. } | Phase::Deaf { .. } | Phase::Over => return,
        }
        let text = refusal.reply_text();
        let (connection, user) = (&self.shared.name, &self.shared.session.user.name);
        tracing::info!(%connection, %user, code = refusal.code.number(), text = ?text.as_str(), "closing connection");
        self.later = None;
        self.blocked = false;
        self.release();
        let about = refusal.about.unwrap_or_default();
        let close = connection::Close {
            reply_code: refusal.code.number(),
            reply_text: text,
            class_id: about.class,
            method_id: about.method,
        };
        self.send(
            0,
            &AMQPClass::Connection(connection::AMQPMethod::Close(close)),
        );
        self.phase = Phase::Closing {
            until: self.close_deadline(),
        };
    }

    /// Gives back everything that a channel has from the broker. Nothing more is sent on it but the close.
    fn wind_up_channel(&mut self, number: u16, method: MethodId) {
        self.give_back(&[number], method, |connection| connection.take_outbox());
    }

    /// Gives back what these channels have, in one step for each queue: until then what they had is with nobody else.
    fn give_back(
        &mut self,
        numbers: &[u16],
        method: MethodId,
        take_deliveries: impl FnOnce(&mut Connection),
    ) {
        let mut leaving = Leaving::default();
        for number in numbers {
            self.on_channel(*number, method, |channel, _| channel.leave(&mut leaving));
        }
        leaving.halt();
        for number in numbers {
            self.on_channel(*number, method, Channel::stop);
        }
        take_deliveries(self);
        for number in numbers {
            self.on_channel(*number, method, |channel, cx| {
                channel.wind_up(cx, &mut leaving);
            });
        }
        leaving.leave();
    }

    /// Gives back everything that the connection has from the broker: messages, consumers, exclusive queues.
    pub(super) fn release(&mut self) {
        let numbers = self.channels.numbers();
        self.give_back(&numbers, MethodId::default(), |connection| {
            connection.take_deliveries();
        });
        for number in numbers {
            self.remove_channel(number);
        }
        self.channels = Channels {
            changed: true,
            ..Channels::default()
        };
        self.shared.session.close();
    }
}
