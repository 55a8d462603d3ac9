//! From frames to channels and back: which channel a frame is for, what channel 0 says, what errors end, what is done
//! at the end of a batch of frames, and how deliveries find their channel. No I/O.

use tokio::time::Instant;

use super::assembly::Assembling;
use super::channel::{
    Channel, Cx, Done, Phase as ChannelPhase, undecodable, undecodable_on_zero, unexpected,
};
use super::connection::{Connection, Phase};
use super::consumers::parts;
use super::error::{Code, Failure, MethodId, Refusal, Scope};
use super::limits::CHANNEL_ERRORS_LOGGED_MAX;
use super::outbox::Event;
use super::unsynced::Unsynced;
use crate::broker::connections::ChannelStatus;
use crate::model::Ticket;
use crate::wire::protocol::{channel, connection};
use crate::wire::{self, AMQPClass, FrameKind, FrameRef, Frames};

/// The channels of a connection, and lists of those that something is due on.
#[derive(Default)]
pub(super) struct Channels {
    /// Ordered by number.
    #[expect(
        clippy::vec_box,
        reason = "a channel is large, and opening one moves those behind it"
    )]
    open: Vec<Box<Channel>>,
    /// Index of the one found last.
    last: usize,
    /// Those with work left for the end of the batch.
    dirty: Vec<u16>,
    /// Those with confirms to come.
    confirming: Vec<u16>,
    /// Those with deliveries among the output.
    delivering: Vec<u16>,
    /// Counts consumers.
    serial: u32,
    /// How many consumers there are.
    consumers: usize,
    /// What has arrived in part.
    assembling: Assembling,
    /// Keys of consumers that have lost their queue while a method waited: told once it is answered. No consumer
    /// can be added meanwhile, and each is in here at most once.
    cancelled: Vec<u64>,
    /// The client publishes.
    pub(super) has_published: bool,
    /// What of that may not be on disk.
    pub(super) unsynced: Unsynced,
    /// Channel errors that have been logged.
    errors_logged: u32,
    /// Something has changed that operators may want to see.
    pub(super) changed: bool,
}

impl Channels {
    fn index(&mut self, number: u16) -> Option<usize> {
        if self
            .open
            .get(self.last)
            .is_some_and(|channel| channel.number == number)
        {
            return Some(self.last);
        }
        self.last = self
            .open
            .binary_search_by_key(&number, |channel| channel.number)
            .ok()?;
        Some(self.last)
    }

    fn get_mut(&mut self, number: u16) -> Option<&mut Channel> {
        let index = self.index(number)?;
        self.open.get_mut(index).map(|channel| &mut **channel)
    }

    fn insert(&mut self, number: u16) {
        if let Err(index) = self
            .open
            .binary_search_by_key(&number, |channel| channel.number)
        {
            self.open.insert(index, Box::new(Channel::new(number)));
        }
    }

    fn remove(&mut self, number: u16) {
        if let Some(index) = self.index(number) {
            self.open.remove(index);
        }
    }

    fn numbers(&self) -> Vec<u16> {
        self.open.iter().map(|channel| channel.number).collect()
    }

    /// For operators.
    pub(super) fn status(&self) -> Vec<ChannelStatus> {
        self.open.iter().map(|channel| channel.status()).collect()
    }
}

impl Connection {
    /// Calls `act` with an open channel and what it may use.
    fn on_channel<R>(
        &mut self,
        number: u16,
        method: MethodId,
        act: impl FnOnce(&mut Channel, &mut Cx<'_>) -> R,
    ) -> Option<R> {
        let now_secs = self.now_secs();
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
            serial,
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
            serial,
            consumers,
            now_secs,
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
        while self.later.is_none() && !self.blocked {
            let failure = match frames.next_ref() {
                None => return,
                Some(Ok(frame)) => match self.phase {
                    Phase::Running => self
                        .frame(&frame)
                        .err()
                        .map(|failure| (frame.channel, failure)),
                    Phase::AwaitCloseOk { .. } => {
                        self.frame_while_closing(&frame);
                        None
                    }
                    Phase::AwaitEof { .. } | Phase::Over => return,
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
                self.look_at_publish();
                handled.unwrap_or_else(not_open)
            }
            (number, FrameKind::Body) => {
                let handled = self.on_channel(number, MethodId::default(), |channel, cx| {
                    channel.body(cx, frame.bytes())
                });
                self.look_at_publish();
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

    fn client_closes_channel(&mut self, number: u16, method: MethodId) -> Result<(), Failure> {
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

    fn remove_channel(&mut self, number: u16) {
        self.channels.remove(number);
        self.permit.close_channel();
    }

    /// Channel 0.
    fn connection_method(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let method = method_id(payload);
        let decoded = wire::decode_method(payload).map_err(undecodable_on_zero)?;
        match decoded {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
                tracing::debug!(connection = %self.shared.name, code = close.reply_code, text = ?close.reply_text.as_str(), "connection closed by client");
                // Exclusive queues are gone before close-ok.
                self.release();
                self.send(
                    0,
                    &AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
                );
                self.phase = Phase::AwaitEof {
                    until: Connection::close_deadline(),
                    half_closed: false,
                };
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

    /// After `connection.close` was sent: only the answer, or the client's own close, is looked at.
    fn frame_while_closing(&mut self, frame: &FrameRef<'_>) {
        if frame.channel != 0 || frame.kind != FrameKind::Method {
            return;
        }
        match method_id(frame.payload()) {
            MethodId {
                class: 10,
                method: 51,
            } => self.phase = Phase::Over,
            MethodId {
                class: 10,
                method: 50,
            } => {
                self.send(
                    0,
                    &AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
                );
                self.phase = Phase::AwaitEof {
                    until: Connection::close_deadline(),
                    half_closed: false,
                };
            }
            MethodId { .. } => {}
        }
    }

    /// What arrives from here on cannot be read.
    fn stop_listening(&mut self) {
        self.frames = None;
        if let Phase::AwaitCloseOk { .. } = self.phase {
            let until = Instant::now() + super::handshake::SILENT_CLOSE_DELAY;
            self.phase = Phase::AwaitEof {
                until,
                half_closed: true,
            };
        }
    }

    /// Ends what an error ends.
    fn fail(&mut self, number: u16, failure: Failure) {
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
        if self.phase != Phase::Running {
            return;
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
        self.phase = Phase::AwaitCloseOk {
            until: Connection::close_deadline(),
        };
    }

    /// Gives back everything that a channel has from the broker. Nothing more is sent on it but the close.
    fn wind_up_channel(&mut self, number: u16, method: MethodId) {
        self.on_channel(number, method, Channel::stop);
        self.take_outbox();
        self.on_channel(number, method, Channel::wind_up);
    }

    /// Gives back everything that the connection has from the broker: messages, consumers, exclusive queues.
    pub(super) fn release(&mut self) {
        let numbers = self.channels.numbers();
        for number in &numbers {
            self.on_channel(*number, MethodId::default(), Channel::stop);
        }
        self.take_deliveries();
        for number in numbers {
            self.on_channel(number, MethodId::default(), Channel::wind_up);
            self.remove_channel(number);
        }
        self.channels = Channels {
            changed: true,
            ..Channels::default()
        };
        self.shared.session.close();
    }

    /// Takes what the broker has for the client.
    pub(super) fn take_outbox(&mut self) {
        if !self.shared.outbox.is_signalled() {
            return;
        }
        for event in self.take_deliveries() {
            match event {
                Event::Cancelled(key) => self.channels.cancelled.push(key),
                Event::Close(reason) => {
                    self.close_connection(
                        &Refusal::new(Code::ConnectionForced, reason).about_nothing(),
                    );
                }
            }
        }
        self.tell_cancelled();
        self.channels.changed = true;
        self.send_confirms();
    }

    /// Ends the consumers that have lost their queue. What took it may be the method that waits, and a client
    /// expects the answer to `queue.delete` before what follows from it.
    fn tell_cancelled(&mut self) {
        if self.later.is_some() {
            return;
        }
        for key in std::mem::take(&mut self.channels.cancelled) {
            let (number, reference) = parts(key);
            self.on_channel(number, MethodId::default(), |channel, cx| {
                channel.consumer_cancelled(cx, reference);
            });
        }
    }

    fn take_deliveries(&mut self) -> Vec<Event> {
        let mut deliveries = std::mem::take(&mut self.deliveries);
        let events = self.shared.outbox.take(&mut deliveries);
        let before = self.out.pending();
        for delivery in deliveries.drain(..) {
            let (number, _) = parts(delivery.key);
            self.on_channel(number, MethodId::default(), |channel, cx| {
                channel.deliver(cx, &delivery)
            });
        }
        self.delivering_bytes += self.out.pending() - before;
        self.deliveries = deliveries;
        events
    }

    /// The socket has taken most of what there was: consumers may be given more.
    pub(super) fn deliveries_written(&mut self) {
        self.delivering_bytes = 0;
        for number in std::mem::take(&mut self.channels.delivering) {
            self.on_channel(number, MethodId::default(), Channel::deliveries_written);
        }
    }

    /// Gives the runs of this batch to their queues, and sends the confirms that are due.
    pub(super) fn end_batch(&mut self) {
        while let Some(number) = self.channels.dirty.pop() {
            self.on_channel(number, MethodId::default(), |channel, cx| {
                channel.is_dirty = false;
                channel.flush(cx);
            });
        }
        self.send_confirms();
    }

    /// Sends the confirms that are due, and has the committer wake this task for the next ones.
    fn send_confirms(&mut self) {
        if self.channels.confirming.is_empty() {
            return;
        }
        let durable = self.shared.committer.durable();
        let mut next: Option<Ticket> = None;
        let mut numbers = std::mem::take(&mut self.channels.confirming);
        numbers.retain(|number| {
            let Some(channel) = self.channels.get_mut(*number) else {
                return false;
            };
            channel.send_confirms(&mut self.out, durable);
            let waits_for = channel.waits_for();
            channel.waits_for_confirms = waits_for.is_some();
            next = match (next, waits_for) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            waits_for.is_some()
        });
        self.channels.confirming = numbers;
        // Registered once per ticket, not per message: the committer calls when it is durable.
        if let Some(next) = next
            && self
                .registered
                .is_none_or(|known| known <= durable || next < known)
        {
            self.registered = Some(next);
            self.shared
                .committer
                .when_durable(next, self.shared.outbox.clone());
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

    /// A client that publishes while an alarm is on is told, and not read until the alarm is over.
    fn look_at_publish(&mut self) {
        if !self.channels.has_published || self.blocked {
            return;
        }
        let Some(reason) = self.alarms.borrow().reason() else {
            return;
        };
        self.blocked = true;
        if self.shared.client.connection_blocked {
            self.told_blocked = true;
            let blocked = connection::Blocked {
                reason: reason.into(),
            };
            self.send(
                0,
                &AMQPClass::Connection(connection::AMQPMethod::Blocked(blocked)),
            );
        }
    }

    /// The alarm may be over.
    pub(super) fn look_at_alarms(&mut self) {
        if !self.blocked || self.alarms.borrow_and_update().any() {
            return;
        }
        self.blocked = false;
        self.channels.changed = true;
        if std::mem::take(&mut self.told_blocked) && self.phase == Phase::Running {
            self.send(
                0,
                &AMQPClass::Connection(connection::AMQPMethod::Unblocked(connection::Unblocked {})),
            );
        }
    }

    /// Closes channels whose client keeps a delivery unanswered for too long.
    pub(super) fn check_consumer_timeouts(&mut self) {
        let default_ms = self.shared.front.settings.consumer_timeout_ms;
        let now_secs = self.now_secs();
        let late: Vec<(u16, u64)> = self
            .channels
            .open
            .iter()
            .filter_map(|channel| Some((channel.number, channel.timed_out(now_secs, default_ms)?)))
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

    fn send(&mut self, number: u16, method: &AMQPClass) {
        wire::encode_method(self.out.buffer(), number, method);
    }
}

/// Class and method of a method payload.
fn method_id(payload: &[u8]) -> MethodId {
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
