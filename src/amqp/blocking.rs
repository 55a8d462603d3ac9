//! `connection.blocked`: clients that publish while an alarm is on are not read until it is over.

use super::connection::{Blocked, Connection, Phase};
use crate::wire::protocol::connection;
use crate::wire::{AMQPClass, FrameKind};

impl Connection {
    /// Blocks a client whose frame belongs to a publish, while an alarm is on. That is from the content
    /// header on, before there is a body.
    pub(super) fn block_publisher(&mut self, kind: FrameKind) {
        let publishes = match kind {
            FrameKind::Header | FrameKind::Body => true,
            FrameKind::Method | FrameKind::Heartbeat => false,
        };
        if !publishes || self.blocked != Blocked::No {
            return;
        }
        let Some(reason) = self.alarms.borrow().reason() else {
            return;
        };
        let notified = self.state.shared.client.connection_blocked;
        self.blocked = Blocked::Yes { notified };
        if notified {
            let blocked = connection::AMQPMethod::Blocked(connection::Blocked {
                reason: reason.into(),
            });
            self.state.send(0, AMQPClass::Connection(blocked));
        }
    }

    /// Whether the connection is blocked and the alarm is over.
    pub(super) fn may_unblock(&mut self) -> bool {
        self.blocked != Blocked::No && !self.alarms.borrow_and_update().any()
    }

    /// The alarm is over.
    pub(super) fn unblock(&mut self) {
        self.status_changed = true;
        let was = std::mem::replace(&mut self.blocked, Blocked::No);
        if was == (Blocked::Yes { notified: true }) && self.phase == Phase::Running {
            let unblocked = connection::AMQPMethod::Unblocked(connection::Unblocked {});
            self.state.send(0, AMQPClass::Connection(unblocked));
        }
    }
}
