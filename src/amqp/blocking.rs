//! `connection.blocked`: clients that publish while an alarm is on.

use super::connection::{Connection, Phase};
use crate::wire::protocol::connection;
use crate::wire::{AMQPClass, FrameKind};

impl Connection {
    /// A frame has come while an alarm is on. A client that publishes is told, and not read until the alarm is over: from
    /// the header on, before there is a body.
    pub(super) fn look_at_publish(&mut self, kind: FrameKind) {
        let publishes = match kind {
            FrameKind::Header | FrameKind::Body => true,
            FrameKind::Method | FrameKind::Heartbeat => false,
        };
        if !publishes || self.blocked {
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
        if self.is_reset() {
            self.phase = Phase::Over;
            return;
        }
        self.channels.changed = true;
        if std::mem::take(&mut self.told_blocked) && self.phase == Phase::Running {
            self.send(
                0,
                &AMQPClass::Connection(connection::AMQPMethod::Unblocked(connection::Unblocked {})),
            );
        }
    }
}
