//! An open connection without its socket: channels, phase, and the work of each round. `frames` handles
//! frames, `deliveries` the outbox, `batch_end` confirms, `blocking` what stops publishers, and `closing` the end. No I/O:
//! `task` has the socket.

use tokio::sync::watch;
use tokio::time::Instant;

use super::assembly_budget::AssemblyShare;
use super::channel::Channel;
use super::channels::Channels;
use super::connection_state::{ConnectionState, Context};
use super::handshake::close_ok_delay;
use super::limits::OUTPUT_PENDING_MAX;
use crate::broker::alarms::Raised;
use crate::broker::connections;
use crate::broker::limits::ConnectionPermit;
use crate::broker::queue::Delivery;
use crate::model::{ConsumerId, Ticket};
use crate::wire::Frames;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// `connection.close` was sent: the peer has to answer it.
    Closing {
        until: Instant,
    },
    /// The peer closed the connection, got `close-ok`, and has to close the socket: a client that sees the
    /// end of the stream before it has read `close-ok` may take the connection for lost.
    Closed {
        until: Instant,
    },
    /// Input cannot be decoded any more and is dropped.
    Deaf {
        until: Instant,
    },
    /// The socket is to close.
    Over,
}

impl Phase {
    /// When the socket closes, whatever the peer does.
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Phase::Closing { until } | Phase::Closed { until } | Phase::Deaf { until } => {
                Some(until)
            }
            Phase::Running | Phase::Over => None,
        }
    }
}

/// What stops a connection's publishes, and what its client knows.
#[derive(Debug, Default)]
pub(super) struct Blocking {
    /// The client has published during an alarm. It is not read until the alarm is over.
    pub(super) by_alarm: bool,
    /// Since when the connection waits for the disk or for a full queue.
    pub(super) held_back_since: Option<Instant>,
    /// The client was sent `connection.blocked`, and no `connection.unblocked` since.
    pub(super) told: bool,
}

pub(super) struct Connection {
    pub(super) state: ConnectionState,
    pub(super) channels: Channels,
    pub(super) phase: Phase,
    /// Frames that have been read and not handled.
    pub(super) frames: Option<Frames>,
    pub(super) permit: ConnectionPermit,
    pub(super) alarms: watch::Receiver<Raised>,
    pub(super) blocking: Blocking,
    /// Its part of the memory for incomplete contents.
    pub(super) assembly_share: AssemblyShare,
    /// Consumers whose queue was deleted while a method waited. They end after the reply to that method. No
    /// consumer is added meanwhile, and each is in here at most once.
    pub(super) cancelled: Vec<ConsumerId>,
    /// Buffer for deliveries from the outbox; empty between rounds.
    pub(super) deliveries: Vec<Delivery>,
    /// Deliveries stay in the outbox while the disk falls behind the firehose.
    pub(super) delivers_later: bool,
    /// Bytes of deliveries in the output. Credit bounds them, so they do not stop reading.
    pub(super) delivering_bytes: usize,
    /// The ticket for which the committer wakes this connection.
    pub(super) wake_at: Option<Ticket>,
    /// Number of logged channel errors.
    pub(super) errors_logged: u32,
    /// The status that operators see is out of date.
    pub(super) status_changed: bool,
    /// When the credential of the user expires, and the connection closes.
    pub(super) expires: Option<Instant>,
    heartbeat_secs: u16,
}

impl Connection {
    pub(super) fn new(
        shared: Context,
        permit: ConnectionPermit,
        alarms: watch::Receiver<Raised>,
        heartbeat_secs: u16,
        read_buffer: usize,
    ) -> Connection {
        let assembly_share = AssemblyShare::new(&shared.front.assembling);
        let expires = shared.expiry();
        Connection {
            state: ConnectionState::new(shared, read_buffer),
            channels: Channels::default(),
            phase: Phase::Running,
            frames: None,
            permit,
            alarms,
            blocking: Blocking::default(),
            assembly_share,
            cancelled: Vec::new(),
            deliveries: Vec::new(),
            delivers_later: false,
            delivering_bytes: 0,
            wake_at: None,
            errors_logged: 0,
            status_changed: false,
            expires,
            heartbeat_secs,
        }
    }

    /// An open channel, and the state that its methods work with.
    pub(super) fn channel(&mut self, number: u16) -> Option<(&mut Channel, &mut ConnectionState)> {
        let channel = self.channels.get_mut(number)?;
        Some((channel, &mut self.state))
    }

    /// Takes deliveries, handles frames, and does the work that they left for the end of the batch.
    pub(super) fn work(&mut self) {
        self.take_outbox_with_room();
        self.leave_full_queue();
        self.handle_frames();
        self.end_batch();
        // Deliveries that the batch has caused leave in one write with its replies.
        self.take_outbox_with_room();
        self.state.count_published();
        self.note_held_back();
    }

    /// Whether the connection wants more input now.
    pub(super) fn wants_to_read(&self) -> bool {
        let output_max = OUTPUT_PENDING_MAX + self.delivering_bytes;
        match self.phase {
            Phase::Running => {
                self.frames.is_none()
                    && self.state.pending.is_none()
                    && self.assembly_share.may_read()
                    && self.may_handle_frames()
                    && self.state.out.pending() < output_max
                    && !self.waits_for_committer()
            }
            Phase::Closing { .. } | Phase::Closed { .. } | Phase::Deaf { .. } => {
                self.state.out.pending() < output_max
            }
            Phase::Over => false,
        }
    }

    /// Whether the connection stops reading until the disk has caught up with its publishes.
    pub(super) fn waits_for_committer(&self) -> bool {
        let state = &self.state;
        self.phase == Phase::Running
            && state.has_published
            && !state.unsynced.has_room(&state.shared.committer)
    }

    /// Publishes the status that operators see.
    pub(super) fn publish_status(&mut self) {
        use connections::ConnectionState as Activity;
        self.status_changed = false;
        let activity = match self.phase {
            Phase::Running if self.blocking.by_alarm || self.state.full_queue.is_some() => {
                Activity::Blocked
            }
            Phase::Running if self.alarms.borrow().any() => Activity::Blocking,
            Phase::Running if self.waits_for_committer() => Activity::Flow,
            Phase::Running => Activity::Running,
            Phase::Closing { .. } | Phase::Closed { .. } | Phase::Deaf { .. } | Phase::Over => {
                Activity::Closing
            }
        };
        let gauges = self.state.shared.outbox.gauges();
        let now_ms = self.state.clock().now_ms();
        gauges.set_state(activity, self.channels.status(), now_ms);
    }

    /// When the socket closes if the peer does not do its part of closing.
    pub(super) fn close_deadline(&self) -> Instant {
        Instant::now() + close_ok_delay(self.heartbeat_secs)
    }
}
