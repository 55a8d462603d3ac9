//! The task of one connection. It alone reads and writes the socket, and owns the connection's state. This
//! file waits and moves bytes; `connection` decides.
//!
//! Each round takes deliveries from the broker, handles the client's frames, and writes the output of both.
//! Reading goes on while a write is blocked, since a single-threaded client may not read before it has
//! written, but not while too much output waits or the disk has fallen behind this connection's publishes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::time::{Instant, Sleep};

use super::assembly_budget::Verdict;
use super::connection::{Connection, Phase};
use super::connection_state::Rest;
use super::error::{Code, Refusal};
use super::heartbeat::Heart;
use super::limits::{
    BYTES_BEFORE_YIELD, OUTPUT_LOW_WATER, READ_MAX, READ_MIN, ROUNDS_BEFORE_YIELD, SEND_TIMEOUT,
    STATUS_EVERY, TICK_WITHOUT_HEARTBEAT,
};
use crate::broker::connections::Registration;
use crate::clock::{Holds, Mandate, Until};
use crate::net::Transport;
use crate::wire::{Frames, HEARTBEAT};

/// A connection and its socket.
pub(super) struct Task {
    stream: Transport,
    connection: Connection,
    mandate: Arc<Mandate>,
    /// Whether the mandate held when the round began. While that is unclear the connection stands still.
    holds: Holds,
    /// There is output from a round in which the mandate has passed.
    has_unsure_output: bool,
    /// What a method has waited for came when the mandate did not hold.
    resumed: Option<Rest>,
    input: BytesMut,
    /// Bytes read in the connection's life.
    bytes_read: usize,
    /// Bytes offered to the next read.
    read_size: usize,
    heart: Heart,
    /// The socket has taken output since the last tick.
    has_written: bool,
    /// When the connection closes unless the socket takes some of its output.
    send_deadline: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    next_tick: Instant,
    /// When the operators' figures are updated, if they have changed.
    status_due: Option<Instant>,
    registration: Option<Registration>,
}

/// The event that ended a wait.
enum Woken {
    /// The next round finds out what there is to do.
    Ready,
    Resumed(Rest),
    Timer,
    Reset,
}

impl Task {
    /// `input` holds bytes that the client has sent ahead of its open connection.
    pub(super) fn new(
        stream: Transport,
        input: BytesMut,
        connection: Connection,
        heart: Heart,
        registration: Registration,
    ) -> Task {
        let next_tick = Instant::now() + heart.tick_every().unwrap_or(TICK_WITHOUT_HEARTBEAT);
        let mut task = Task {
            stream,
            mandate: Arc::clone(connection.state.shared.front.broker.mandate()),
            holds: Holds::Yes(Until::NEVER),
            has_unsure_output: false,
            resumed: None,
            connection,
            input,
            bytes_read: 0,
            read_size: READ_MIN,
            heart,
            has_written: false,
            send_deadline: None,
            timer: Box::pin(tokio::time::sleep_until(next_tick)),
            next_tick,
            status_due: None,
            registration: Some(registration),
        };
        task.take_frames();
        task
    }

    /// Serves the connection to its end.
    pub(super) async fn run(mut self) {
        let mut rounds = 0;
        let mut read_before = self.bytes_read;
        while self.connection.phase != Phase::Over {
            match self.round() {
                // A connection that is over may never be woken.
                Ok(_) if self.connection.phase == Phase::Over => {}
                Ok(true) => {
                    rounds += 1;
                    let read = self.bytes_read - read_before;
                    if rounds >= ROUNDS_BEFORE_YIELD || read >= BYTES_BEFORE_YIELD {
                        (rounds, read_before) = (0, self.bytes_read);
                        tokio::task::yield_now().await;
                    }
                }
                Ok(false) => {
                    (rounds, read_before) = (0, self.bytes_read);
                    self.wait().await;
                    if !matches!(self.holds, Holds::Yes(_)) {
                        // The task that extends or ends the mandate runs on these threads too.
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) => {
                    let connection = &self.connection.state.shared.name;
                    tracing::debug!(%connection, %error, "connection lost");
                    self.connection.phase = Phase::Over;
                }
            }
        }
        self.release();
    }

    /// One round. True if there is more to do now.
    fn round(&mut self) -> io::Result<bool> {
        let Some(until) = self.may_serve() else {
            return Ok(false);
        };
        self.connection.work();
        let mut more = false;
        if self.connection.frames.is_none() && self.connection.wants_to_read() {
            more = self.read()?;
        }
        if self.mandate.has_passed(until) {
            match self.connection.phase {
                Phase::Running => self.has_unsure_output = true,
                // The end of the connection would carry the answers of this round along.
                Phase::Closing { .. } | Phase::Closed { .. } | Phase::Deaf { .. } | Phase::Over => {
                    self.connection.phase = Phase::Over;
                }
            }
            return Ok(true);
        }
        self.write()?;
        let connection = &self.connection;
        let is_signalled = connection.state.shared.outbox.is_signalled();
        Ok(more || (connection.phase == Phase::Running && is_signalled))
    }

    /// Until when the connection may do its work. `None` if it must stand still, since another node may lead. Once
    /// another one does, it only hears how it ends.
    fn may_serve(&mut self) -> Option<Until> {
        if self.connection.phase != Phase::Running {
            if self.has_unsure_output {
                self.connection.phase = Phase::Over;
            }
            return (!self.has_unsure_output).then_some(Until::NEVER);
        }
        self.holds = self.mandate.holds();
        match self.holds {
            Holds::Yes(until) => {
                self.has_unsure_output = false;
                if let Some(rest) = self.resumed.take() {
                    self.connection.resume(rest);
                }
                Some(until)
            }
            Holds::Unclear => None,
            Holds::No if self.has_unsure_output => {
                self.connection.phase = Phase::Over;
                None
            }
            Holds::No => {
                self.connection.take_end();
                (self.connection.phase != Phase::Running).then_some(Until::NEVER)
            }
        }
    }

    /// Reads up to the size of the buffer. True if there may be more.
    fn read(&mut self) -> io::Result<bool> {
        if self.input.capacity() - self.input.len() < self.read_size / 2 {
            self.input.reserve(self.read_size);
            self.connection.state.read_buffer = self.input.capacity();
        }
        // A large frame may have made the buffer grow.
        let read_buffer = &mut self.connection.state.read_buffer;
        *read_buffer = (*read_buffer).max(self.input.capacity());
        let room = self.input.capacity() - self.input.len();
        match self.stream.try_read(&mut self.input) {
            Ok(0) => {
                self.connection.phase = Phase::Over;
                Ok(false)
            }
            Ok(n) => {
                self.has_read(n, room);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// A read has brought `n` bytes of at most `room`.
    fn has_read(&mut self, n: usize, room: usize) {
        let connection = &mut self.connection;
        self.heart.received();
        connection.assembly_share.progress();
        self.bytes_read += n;
        let shared = &connection.state.shared;
        shared.outbox.gauges().add_received(n);
        shared.session.vhost.stats().received_bytes.add(n as u64);
        if n >= room {
            self.read_size = (self.read_size * 2).min(READ_MAX);
        } else if n < self.read_size / 8 {
            self.read_size = (self.read_size / 2).max(READ_MIN);
        }
        match connection.phase {
            Phase::Deaf { .. } => self.input.clear(),
            Phase::Running | Phase::Closing { .. } | Phase::Closed { .. } | Phase::Over => {
                self.take_frames();
            }
        }
    }

    /// Moves all complete frames from the input to the connection.
    fn take_frames(&mut self) {
        let frame_max = self.connection.state.shared.frame_max;
        let frames = Frames::take(&mut self.input, frame_max);
        self.connection.set_frames(frames);
    }

    /// Writes as much as the socket takes. Consumers get their credit back when little is left.
    fn write(&mut self) -> io::Result<()> {
        let state = &mut self.connection.state;
        if state.out.is_empty() {
            return Ok(());
        }
        let stream = &mut self.stream;
        let mut writes = 0;
        let (written, result) = state.out.flush(|slices| {
            let taken = stream.try_write_vectored(slices)?;
            writes += 1;
            Ok(taken)
        });
        if written > 0 {
            self.heart.sent(written);
            self.has_written = true;
            self.send_deadline = None;
            let gauges = state.shared.outbox.gauges();
            gauges.add_sent(written, writes, state.out.pending());
            let vhost = &state.shared.session.vhost;
            vhost.stats().sent_bytes.add(written as u64);
        }
        if state.out.pending() < OUTPUT_LOW_WATER {
            self.connection.deliveries_written();
        }
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.send_deadline
                    .get_or_insert_with(|| Instant::now() + SEND_TIMEOUT);
                Ok(())
            }
            result => result,
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) {
        self.update_status();
        self.set_timer();
        self.shrink_input();
        match self.woken().await {
            Woken::Ready => {}
            Woken::Resumed(rest) => match self.mandate.holds() {
                Holds::Yes(_) => self.connection.resume(rest),
                Holds::Unclear | Holds::No => self.resumed = Some(rest),
            },
            Woken::Timer => self.timer_elapsed(),
            Woken::Reset => {
                let connection = &self.connection.state.shared.name;
                tracing::debug!(%connection, "connection reset by the client");
                self.connection.phase = Phase::Over;
            }
        }
        if self.connection.may_unblock() {
            self.unblock();
        }
    }

    async fn woken(&mut self) -> Woken {
        let is_running = self.connection.phase == Phase::Running;
        let stands_still = is_running && !matches!(self.holds, Holds::Yes(_));
        let is_unclear = is_running && self.holds == Holds::Unclear;
        let wants_to_write = !self.connection.state.out.is_empty() && !stands_still;
        let wants_to_read = self.connection.wants_to_read() && !stands_still;
        let interest = match (wants_to_read, wants_to_write) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        let waits_for_committer = self.connection.waits_for_committer() && !stands_still;
        let Connection {
            state,
            alarms,
            assembly_share,
            ..
        } = &mut self.connection;
        let shared = &state.shared;
        let pending = &mut state.pending;
        let full_queue = &state.full_queue;
        let waits_for_share = !assembly_share.may_read() && !stands_still;
        let waits_for_room = full_queue.is_some() && !stands_still;
        let waits_for_method = pending.is_some() && self.resumed.is_none();
        tokio::select! {
            // Errors show when the socket is used. While it is not used, this notices a reset by the peer.
            _ = self.stream.ready(interest.unwrap_or(Interest::ERROR)) => match interest {
                Some(_) => Woken::Ready,
                None => Woken::Reset,
            },
            () = shared.outbox.ready() => Woken::Ready,
            _ = self.mandate.decided(), if is_unclear => Woken::Ready,
            rest = async { pending.as_mut().map(|pending| pending.future.as_mut()).unwrap_or_else(|| unreachable!("guarded")).await }, if waits_for_method => Woken::Resumed(rest),
            () = shared.committer.room(), if waits_for_committer => Woken::Ready,
            () = async { full_queue.as_ref().unwrap_or_else(|| unreachable!("guarded")).room().await }, if waits_for_room => Woken::Ready,
            () = assembly_share.changed(), if waits_for_share => Woken::Ready,
            Ok(()) = alarms.changed() => Woken::Ready,
            () = self.timer.as_mut() => Woken::Timer,
        }
    }

    /// Unblocks the connection. A client that was not read meanwhile may have reset it; its input is dropped
    /// then, as in RabbitMQ.
    fn unblock(&mut self) {
        if matches!(self.stream.take_error(), Ok(Some(_)) | Err(_)) {
            self.connection.phase = Phase::Over;
        } else {
            self.connection.unblock();
        }
    }

    /// Sets the timer to the earliest deadline, unless it elapses earlier anyway.
    fn set_timer(&mut self) {
        let deadlines = [
            self.status_due,
            self.send_deadline,
            self.connection.phase.until(),
            self.connection.assembly_share.until(),
            self.connection.blocked_due(),
            self.connection.ack_deadline(),
            self.connection.expires,
        ];
        let deadline = deadlines
            .into_iter()
            .flatten()
            .fold(self.next_tick, Instant::min);
        if self.timer.is_elapsed() || deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Handles all deadlines that have passed.
    fn timer_elapsed(&mut self) {
        let now = Instant::now();
        let shared = &self.connection.state.shared;
        let (connection, user) = (&shared.name, &shared.session.user);
        if self
            .connection
            .phase
            .until()
            .is_some_and(|until| now >= until)
        {
            self.connection.phase = Phase::Over;
            return;
        }
        if self.send_deadline.is_some_and(|deadline| now >= deadline) {
            let pending = self.connection.state.out.pending();
            tracing::warn!(%connection, %user, pending, "client has taken nothing for {} s", SEND_TIMEOUT.as_secs());
            self.connection.phase = Phase::Over;
            return;
        }
        let listens = self.connection.wants_to_read();
        if self.connection.assembly_share.check(now, listens) == Verdict::Ends {
            let refusal = Refusal::new(Code::ResourceError, "too many messages half sent");
            self.connection.close_connection(&refusal.about_nothing());
            return;
        }
        self.connection.check_held_back(now);
        self.connection.end_overdue();
        self.connection.check_expiry(now);
        if now >= self.next_tick {
            self.tick(now);
        }
    }

    /// The periodic checks: heartbeats, consumer timeouts, idle memory.
    fn tick(&mut self, now: Instant) {
        self.next_tick = now + self.heart.tick_every().unwrap_or(TICK_WITHOUT_HEARTBEAT);
        let connection = &mut self.connection;
        // A connection that is not read cannot tell whether its peer is silent, unless the peer takes no
        // output either.
        let takes_output = connection.state.out.is_empty() || std::mem::take(&mut self.has_written);
        if connection.phase == Phase::Running && !connection.wants_to_read() && takes_output {
            self.heart.received();
        }
        let beat = self.heart.tick();
        let state = &mut connection.state;
        if beat.dead {
            let (connection, user) = (&state.shared.name, &state.shared.session.user);
            tracing::warn!(%connection, %user, "missed heartbeats from client");
            self.connection.phase = Phase::Over;
            return;
        }
        if beat.send && state.out.is_empty() {
            state.out.buffer().extend_from_slice(&HEARTBEAT);
            self.heart.beats(HEARTBEAT.len());
        }
        connection.check_consumer_timeouts();
        self.shrink();
    }

    /// A connection that reads little waits without a buffer, since there may be very many of them.
    fn shrink_input(&mut self) {
        if self.read_size == READ_MIN && self.is_input_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Frees memory that an idle connection does not need.
    fn shrink(&mut self) {
        if self.is_input_empty() {
            self.input = BytesMut::new();
            self.read_size = READ_MIN;
        }
        if self.connection.deliveries.is_empty() {
            self.connection.deliveries = Vec::new();
        }
    }

    fn is_input_empty(&self) -> bool {
        self.input.is_empty() && self.connection.frames.is_none()
    }

    /// Updates the operators' figures when they are due.
    fn update_status(&mut self) {
        if !self.connection.status_changed {
            return;
        }
        let now = Instant::now();
        match self.status_due {
            Some(due) if now < due => {}
            Some(_) => {
                self.status_due = None;
                self.connection.publish_status();
            }
            None => self.status_due = Some(now + STATUS_EVERY),
        }
    }

    /// Returns everything to the broker.
    fn release(&mut self) {
        self.connection.state.pending = None;
        self.connection.release();
        self.registration = None;
    }
}

impl Drop for Task {
    /// However the task ends, no message stays leased to this connection.
    fn drop(&mut self) {
        self.release();
    }
}
