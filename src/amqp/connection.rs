//! The task of one connection: it alone reads and writes the socket, and all state of the connection is its own. This
//! file waits and moves bytes; what the frames do is in `dispatch`.
//!
//! Each turn takes what the broker has for the client, handles what the client has sent, and writes what came of both.
//! Reading goes on while a write is blocked, since a peer with one thread may not read before it has written; but not
//! when too many answers wait, or the disk has fallen behind what this connection publishes.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::channels::Channels;
use super::cx::{Done, Later};
use super::error::{Code, Refusal};
use super::handshake::{Capabilities, Open, close_ok_delay};
use super::heartbeat::Heart;
use super::limits::{
    BYTES_BEFORE_YIELD, OUTPUT_LOW_WATER, OUTPUT_PENDING_MAX, READ_MAX, READ_MIN,
    ROUNDS_BEFORE_YIELD, SEND_TIMEOUT, STATUS_EVERY, TICK_WITHOUT_HEARTBEAT,
};
use super::listener::Front;
use super::outbox::Outbox;
use super::room::{Over, Share};
use super::writer::Writer;
use crate::broker::alarms::Raised;
use crate::broker::connections::{ConnectionState, Registration};
use crate::broker::limits::ConnectionPermit;
use crate::broker::queue::Delivery;
use crate::broker::session::Session;
use crate::model::{Name, Ticket};
use crate::store::commit::Committer;
use crate::wire::{Frames, HEARTBEAT};

/// What all channels of a connection share.
pub(crate) struct Context {
    /// What the log calls the connection.
    pub(crate) name: Name,
    /// What the user may do in the virtual host.
    pub(crate) session: Arc<Session>,
    /// What the broker has for the connection.
    pub(crate) outbox: Arc<Outbox>,
    /// What all connections share.
    pub(crate) front: Arc<Front>,
    /// The way to the disk.
    pub(crate) committer: Arc<Committer>,
    /// The largest frame.
    pub(crate) frame_max: u32,
    /// How many channels there may be.
    pub(crate) channel_max: u16,
    /// What the client can do.
    pub(crate) client: Capabilities,
}

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Open.
    Running,
    /// `connection.close` was sent: the peer is to answer.
    Closing { until: Instant },
    /// The peer has closed the connection and was answered. It closes its socket, too: one that sees the end of the
    /// stream before that may take the connection for lost.
    Closed { until: Instant },
    /// What comes cannot be read. The socket is closed in a while.
    Deaf { until: Instant },
    /// The socket is to be closed.
    Over,
}

impl Phase {
    /// When the socket is closed whatever the peer does.
    fn until(self) -> Option<Instant> {
        match self {
            Phase::Closing { until } | Phase::Closed { until } | Phase::Deaf { until } => {
                Some(until)
            }
            Phase::Running | Phase::Over => None,
        }
    }
}

/// A connection and its socket.
pub(crate) struct Connection {
    stream: TcpStream,
    input: BytesMut,
    /// Frames that have been read and not handled.
    pub(super) frames: Option<Frames>,
    /// Bytes read in the connection's life.
    bytes_read: usize,
    /// Bytes offered to the next read.
    read_size: usize,
    /// Size of the buffer that is read into: what its last message keeps alive.
    pub(super) read_buffer: usize,
    pub(super) out: Writer,
    pub(super) shared: Context,
    pub(super) channels: Channels,
    pub(super) later: Option<Later>,
    pub(super) phase: Phase,
    pub(super) permit: ConnectionPermit,
    /// Room for what the outbox gives; empty between turns.
    pub(super) deliveries: Vec<Delivery>,
    /// Bytes of deliveries among the output; they are bounded by credit, and do not stop reading.
    pub(super) delivering_bytes: usize,
    /// The ticket that the committer knows this connection to wait for.
    pub(super) registered: Option<Ticket>,
    pub(super) alarms: watch::Receiver<Raised>,
    /// What it may hold of contents that are not whole.
    pub(super) share: Share,
    /// An alarm is on and the client has published: nothing is read.
    pub(super) blocked: bool,
    /// The client was told so.
    pub(super) told_blocked: bool,
    pub(super) heart: Heart,
    /// The socket has taken something since the last tick.
    has_written: bool,
    /// When the connection is given up unless the socket takes something of what waits for it.
    send_deadline: Option<Instant>,
    pub(super) opened: Instant,
    timer: Pin<Box<Sleep>>,
    next_tick: Instant,
    status_due: Option<Instant>,
    registration: Option<Registration>,
}

/// Reads what is there. A read that does not fill the buffer has emptied the socket, and this way of reading takes note
/// of that: the next one is told so without asking the system, which would be every second call where messages come
/// one by one.
fn read_once(stream: &mut TcpStream, input: &mut BytesMut) -> io::Result<usize> {
    let reading = pin!(stream.read_buf(input));
    // Whoever has to wait for more waits in `Connection::wait`.
    match reading.poll(&mut task::Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// What ended a wait.
enum Woken {
    Looked,
    Done(Done),
    Timer,
    Lost,
}

impl Connection {
    /// A connection that has just been opened. `input` is what the client has sent ahead.
    pub(crate) fn new(
        stream: TcpStream,
        input: BytesMut,
        open: &Open,
        shared: Context,
        permit: ConnectionPermit,
        registration: Registration,
        alarms: watch::Receiver<Raised>,
    ) -> Connection {
        let heart = Heart::new(open.heartbeat);
        let share = Share::new(&shared.front.assembling);
        let opened = Instant::now();
        let next_tick = opened + heart.tick_every().unwrap_or(TICK_WITHOUT_HEARTBEAT);
        let mut connection = Connection {
            stream,
            input,
            frames: None,
            bytes_read: 0,
            read_size: READ_MIN,
            read_buffer: READ_MIN,
            out: Writer::default(),
            shared,
            channels: Channels::default(),
            later: None,
            phase: Phase::Running,
            permit,
            deliveries: Vec::new(),
            delivering_bytes: 0,
            registered: None,
            share,
            alarms,
            blocked: false,
            told_blocked: false,
            heart,
            has_written: false,
            send_deadline: None,
            opened,
            timer: Box::pin(tokio::time::sleep_until(next_tick)),
            next_tick,
            status_due: None,
            registration: Some(registration),
        };
        connection.take_frames();
        connection
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) {
        let mut rounds = 0;
        let mut read_before = self.bytes_read;
        while self.phase != Phase::Over {
            match self.turn() {
                // Nothing may ever wake a connection that is over.
                Ok(_) if self.phase == Phase::Over => {}
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
                }
                Err(error) => {
                    tracing::debug!(connection = %self.shared.name, %error, "connection lost");
                    self.phase = Phase::Over;
                }
            }
        }
        self.give_up();
    }

    /// One turn. True if there is more to do at once.
    fn turn(&mut self) -> io::Result<bool> {
        self.take_outbox();
        self.handle_frames();
        self.end_batch();
        // What the batch has brought for this connection leaves in one write with its answers.
        self.take_outbox();
        let mut more = false;
        if self.frames.is_none() && self.wants_to_read() {
            more = self.read()?;
        }
        self.write()?;
        Ok(more || (self.phase == Phase::Running && self.shared.outbox.is_signalled()))
    }

    /// Whether more is read from the peer now.
    fn wants_to_read(&self) -> bool {
        match self.phase {
            Phase::Running => {
                self.frames.is_none()
                    && self.later.is_none()
                    && self.share.may_read()
                    && !self.blocked
                    && self.out.pending() < OUTPUT_PENDING_MAX + self.delivering_bytes
                    && !self.waits_for_room()
            }
            Phase::Closing { .. } | Phase::Closed { .. } | Phase::Deaf { .. } => {
                self.out.pending() < OUTPUT_PENDING_MAX + self.delivering_bytes
            }
            Phase::Over => false,
        }
    }

    /// Whether the disk has to catch up before this connection goes on.
    fn waits_for_room(&self) -> bool {
        self.phase == Phase::Running
            && self.channels.has_published
            && !self.channels.unsynced.has_room(&self.shared.committer)
    }

    /// Reads what there is, up to the size of the buffer. True if there may be more.
    fn read(&mut self) -> io::Result<bool> {
        if self.input.capacity() - self.input.len() < self.read_size / 2 {
            self.input.reserve(self.read_size);
            self.read_buffer = self.input.capacity();
        }
        // A large frame may have made the buffer grow.
        self.read_buffer = self.read_buffer.max(self.input.capacity());
        let room = self.input.capacity() - self.input.len();
        match read_once(&mut self.stream, &mut self.input) {
            Ok(0) => {
                self.phase = Phase::Over;
                Ok(false)
            }
            Ok(n) => {
                self.heart.received();
                self.share.progress();
                self.bytes_read += n;
                self.shared.outbox.gauges().add_received(n);
                if n >= room {
                    self.read_size = (self.read_size * 2).min(READ_MAX);
                } else if n < self.read_size / 8 {
                    self.read_size = (self.read_size / 2).max(READ_MIN);
                }
                match self.phase {
                    Phase::Deaf { .. } => self.input.clear(),
                    Phase::Running | Phase::Closing { .. } | Phase::Closed { .. } | Phase::Over => {
                        self.take_frames()
                    }
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether the client has reset the connection: what was read of it before is dropped, as RabbitMQ drops it.
    pub(super) fn is_reset(&self) -> bool {
        matches!(self.stream.take_error(), Ok(Some(_)) | Err(_))
    }

    /// Takes the whole frames off what was read.
    fn take_frames(&mut self) {
        let frames = Frames::take(&mut self.input, self.shared.frame_max);
        self.frames = (!frames.is_empty()).then_some(frames);
    }

    /// Writes what the socket takes. Consumers get their credit back once most of it is gone.
    fn write(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let stream = &self.stream;
        let mut writes = 0;
        let (written, result) = self.out.flush(|slices| {
            let taken = stream.try_write_vectored(slices)?;
            writes += 1;
            Ok(taken)
        });
        if written > 0 {
            self.heart.sent(written);
            self.has_written = true;
            self.send_deadline = None;
            let gauges = self.shared.outbox.gauges();
            gauges.add_sent(written, writes, self.out.pending());
        }
        if self.out.pending() < OUTPUT_LOW_WATER {
            self.deliveries_written();
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
        self.tell_status();
        self.set_timer();
        self.let_go_of_input();
        let interest = match (self.wants_to_read(), !self.out.is_empty()) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        let waits_for_room = self.waits_for_room();
        let share_is_free = self.share.may_read();
        let Connection {
            stream,
            later,
            shared,
            alarms,
            share,
            timer,
            ..
        } = self;
        let woken = tokio::select! {
            // Errors show when the socket is used. While it is not, a peer that has reset it is noticed all the same.
            _ = stream.ready(interest.unwrap_or(Interest::ERROR)) => match interest {
                Some(_) => Woken::Looked,
                None => Woken::Lost,
            },
            () = shared.outbox.ready() => Woken::Looked,
            done = async { later.as_mut().map(|later| later.future.as_mut()).unwrap_or_else(|| unreachable!("guarded")).await }, if later.is_some() => Woken::Done(done),
            () = shared.committer.room(), if waits_for_room => Woken::Looked,
            () = share.changed(), if !share_is_free => Woken::Looked,
            Ok(()) = alarms.changed() => Woken::Looked,
            () = timer.as_mut() => Woken::Timer,
        };
        match woken {
            Woken::Looked => {}
            Woken::Done(done) => self.complete(done),
            Woken::Timer => self.tick(),
            Woken::Lost => {
                tracing::debug!(connection = %self.shared.name, "connection reset by the client");
                self.phase = Phase::Over;
            }
        }
        self.look_at_alarms();
    }

    /// The earliest of the deadlines. The timer is set anew only if it would ring too late.
    fn set_timer(&mut self) {
        let deadlines = [
            self.status_due,
            self.send_deadline,
            self.phase.until(),
            self.share.until(),
        ];
        let deadline = deadlines
            .into_iter()
            .flatten()
            .fold(self.next_tick, Instant::min);
        if self.timer.is_elapsed() || deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// The timer has rung: whatever is due.
    fn tick(&mut self) {
        let now = Instant::now();
        if self.phase.until().is_some_and(|until| now >= until) {
            self.phase = Phase::Over;
            return;
        }
        if self.send_deadline.is_some_and(|deadline| now >= deadline) {
            tracing::warn!(connection = %self.shared.name, user = %self.shared.session.user.name, pending = self.out.pending(), "client has taken nothing for {} s", SEND_TIMEOUT.as_secs());
            self.phase = Phase::Over;
            return;
        }
        if self.share.look(now, self.wants_to_read()) == Over::Ends {
            let refusal = Refusal::new(Code::ResourceError, "too many messages half sent");
            return self.close_connection(&refusal.about_nothing());
        }
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + self.heart.tick_every().unwrap_or(TICK_WITHOUT_HEARTBEAT);
        // What is not read cannot be counted as silence, unless it is the peer that takes nothing either.
        let takes_output = self.out.is_empty() || std::mem::take(&mut self.has_written);
        if self.phase == Phase::Running && !self.wants_to_read() && takes_output {
            self.heart.received();
        }
        let beat = self.heart.tick();
        if beat.dead {
            tracing::warn!(connection = %self.shared.name, user = %self.shared.session.user.name, "missed heartbeats from client");
            self.phase = Phase::Over;
            return;
        }
        if beat.send && self.out.is_empty() {
            self.out.buffer().extend_from_slice(&HEARTBEAT);
            self.heart.beats(HEARTBEAT.len());
        }
        self.check_consumer_timeouts();
        self.shrink();
    }

    /// A connection that reads little waits without a buffer: there may be very many of them.
    fn let_go_of_input(&mut self) {
        if self.read_size == READ_MIN && self.input.is_empty() && self.frames.is_none() {
            self.input = BytesMut::new();
        }
    }

    /// Gives up memory that an idle connection does not need.
    fn shrink(&mut self) {
        if self.input.is_empty() && self.frames.is_none() {
            self.input = BytesMut::new();
            self.read_size = READ_MIN;
        }
        if self.deliveries.is_empty() {
            self.deliveries = Vec::new();
        }
    }

    /// Tells operators how things stand, not too often.
    fn tell_status(&mut self) {
        if !self.channels.changed {
            return;
        }
        let now = Instant::now();
        match self.status_due {
            Some(due) if now < due => {}
            Some(_) => {
                self.status_due = None;
                self.channels.changed = false;
                let state = match self.phase {
                    Phase::Running if self.blocked => ConnectionState::Blocked,
                    Phase::Running if self.alarms.borrow().any() => ConnectionState::Blocking,
                    Phase::Running if self.waits_for_room() => ConnectionState::Flow,
                    Phase::Running => ConnectionState::Running,
                    Phase::Closing { .. }
                    | Phase::Closed { .. }
                    | Phase::Deaf { .. }
                    | Phase::Over => ConnectionState::Closing,
                };
                self.shared
                    .outbox
                    .gauges()
                    .set(state, self.channels.status());
            }
            None => self.status_due = Some(now + STATUS_EVERY),
        }
    }

    /// A deadline for the peer's part of closing.
    pub(super) fn close_deadline(&self) -> Instant {
        Instant::now() + close_ok_delay(self.heart.interval_secs())
    }

    /// Milliseconds since the connection was opened.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Gives everything back to the broker.
    fn give_up(&mut self) {
        self.later = None;
        self.release();
        self.registration = None;
    }
}

impl Drop for Connection {
    /// However the task ends, nothing stays leased and nobody waits for this connection.
    fn drop(&mut self) {
        self.give_up();
    }
}
