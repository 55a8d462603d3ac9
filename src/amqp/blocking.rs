//! `connection.blocked`: clients that publish while an alarm is on.

use super::connection::{Connection, Phase};
use crate::wire::AMQPClass;
use crate::wire::protocol::connection;

impl Connection {
    /// A client that publishes while an alarm is on is told, and not read until the alarm is over.
    pub(super) fn look_at_publish(&mut self) {
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
}
