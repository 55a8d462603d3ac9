//! `connection.blocked`: tells clients whose publishes the broker does not take, and tells them when it takes them again.
//!
//! Two things stop a publisher. An alarm stops each connection that publishes, and is announced immediately. A disk that
//! has fallen behind stops the connections that have much on their way to it; that is usual for milliseconds, so it is
//! announced when it has lasted for [`HELD_BACK_UNTOLD_MAX`].

use tokio::time::Instant;

use super::connection::{Connection, Phase};
use super::limits::HELD_BACK_UNTOLD_MAX;
use crate::wire::protocol::connection;
use crate::wire::{AMQPClass, FrameKind};

/// The reason that `connection.blocked` gives to a connection that waits for the disk.
const DISK_IS_SLOW: &str = "disk is slow";

/// What stops a connection's publishes, and what its client knows.
#[derive(Debug, Default)]
pub(super) struct Blocking {
    /// The client has published during an alarm. It is not read until the alarm is over.
    pub(super) by_alarm: bool,
    /// Since when the connection waits for the disk.
    held_back_since: Option<Instant>,
    /// The client was sent `connection.blocked`, and no `connection.unblocked` since.
    told: bool,
}

impl Connection {
    /// Blocks a client whose frame belongs to a publish, while an alarm is on. That is from the content
    /// header on, before there is a body.
    pub(super) fn block_publisher(&mut self, kind: FrameKind) {
        let publishes = match kind {
            FrameKind::Header | FrameKind::Body => true,
            FrameKind::Method | FrameKind::Heartbeat => false,
        };
        if !publishes || self.blocking.by_alarm {
            return;
        }
        let Some(reason) = self.alarms.borrow().reason() else {
            return;
        };
        self.blocking.by_alarm = true;
        self.tell_blocked(reason);
    }

    /// Whether the connection is blocked and the alarm is over.
    pub(super) fn may_unblock(&mut self) -> bool {
        self.blocking.by_alarm && !self.alarms.borrow_and_update().any()
    }

    /// The alarm is over.
    pub(super) fn unblock(&mut self) {
        self.status_changed = true;
        self.blocking.by_alarm = false;
        self.tell_unblocked();
    }

    /// Notes whether the connection waits for the disk.
    pub(super) fn note_held_back(&mut self) {
        if self.waits_for_committer() {
            let since = &mut self.blocking.held_back_since;
            since.get_or_insert_with(Instant::now);
        } else if self.blocking.held_back_since.take().is_some() {
            self.tell_unblocked();
        }
    }

    /// When the client learns that it is held back.
    pub(super) fn blocked_due(&self) -> Option<Instant> {
        let capable = self.state.shared.client.connection_blocked;
        let since = self.blocking.held_back_since;
        since
            .filter(|_| capable && !self.blocking.told)
            .map(|since| since + HELD_BACK_UNTOLD_MAX)
    }

    /// Tells the client that the disk holds it back, if that has lasted.
    pub(super) fn check_held_back(&mut self, now: Instant) {
        if self.blocked_due().is_some_and(|due| now >= due) {
            self.tell_blocked(DISK_IS_SLOW);
        }
    }

    fn tell_blocked(&mut self, reason: &str) {
        if self.blocking.told || !self.state.shared.client.connection_blocked {
            return;
        }
        self.blocking.told = true;
        let blocked = connection::AMQPMethod::Blocked(connection::Blocked {
            reason: reason.into(),
        });
        self.state.send(0, AMQPClass::Connection(blocked));
    }

    /// Tells the client that it may publish, unless something else still stops it.
    fn tell_unblocked(&mut self) {
        let stopped = self.blocking.by_alarm || self.blocking.held_back_since.is_some();
        if stopped || !std::mem::take(&mut self.blocking.told) || self.phase != Phase::Running {
            return;
        }
        let unblocked = connection::AMQPMethod::Unblocked(connection::Unblocked {});
        self.state.send(0, AMQPClass::Connection(unblocked));
    }
}
