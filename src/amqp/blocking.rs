//! `connection.blocked`: tells clients whose publishes the broker does not take, and tells them when it takes them again.
//!
//! Three things stop a publisher. An alarm stops each connection that publishes, and is announced immediately. A disk that
//! has fallen behind stops the connections that have much on their way to it, and a full queue with `block-publish` stops
//! those that publish to it. Both are usual for milliseconds, so they are announced when they have lasted for
//! [`HELD_BACK_UNTOLD_MAX`].

use tokio::time::Instant;

use super::connection::{Connection, Phase};
use super::limits::HELD_BACK_UNTOLD_MAX;
use crate::wire::protocol::connection;
use crate::wire::{AMQPClass, FrameKind, reply_text};

/// The reason that `connection.blocked` gives to a connection that waits for the disk.
const DISK_IS_SLOW: &str = "disk is slow";

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

    /// Whether nothing stops the connection amid the frames that it has sent.
    pub(super) fn may_handle_frames(&self) -> bool {
        !self.blocking.by_alarm && self.state.full_queue.is_none()
    }

    /// Goes on if the queue that held the connection back has room.
    pub(super) fn leave_full_queue(&mut self) {
        let queue = &mut self.state.full_queue;
        if queue.as_ref().is_some_and(|queue| !queue.is_full()) {
            *queue = None;
        }
    }

    /// Notes whether the connection waits for the disk or for a full queue.
    pub(super) fn note_held_back(&mut self) {
        if self.waits_for_committer() || self.state.full_queue.is_some() {
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

    /// Tells the client what holds it back, if that has lasted.
    pub(super) fn check_held_back(&mut self, now: Instant) {
        if self.blocked_due().is_none_or(|due| now < due) {
            return;
        }
        match &self.state.full_queue {
            Some(queue) => {
                let vhost = self.state.shared.session.vhost.name();
                let reason = format!("queue '{}' in vhost '{vhost}' is full", queue.name());
                self.tell_blocked(&reason);
            }
            None => self.tell_blocked(DISK_IS_SLOW),
        }
    }

    fn tell_blocked(&mut self, reason: &str) {
        if self.blocking.told || !self.state.shared.client.connection_blocked {
            return;
        }
        self.blocking.told = true;
        let blocked = connection::AMQPMethod::Blocked(connection::Blocked {
            reason: reply_text(reason),
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
