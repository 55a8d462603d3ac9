//! The right to restore messages: to bring messages of another broker into a queue, with the exchange, routing key
//! and user id that they had there.

use super::checks::Session;
use crate::broker::permissions::{AccessRefused, Permission, ResourceKind};
use crate::broker::users::{Answer, TAG_ADMINISTRATOR};
use crate::model::RESTORE_EXCHANGE;

impl Session {
    /// Whether the user may restore messages. Refused for users who may not write to the restore exchange and to the
    /// default exchange, or are no administrators: a restored message claims that other users published it.
    pub(super) fn ask_restore(&self) -> Answer {
        if !self.logged_in().has_tag(TAG_ADMINISTRATOR) {
            return Answer::Known(Err(AccessRefused::Resource {
                permission: Permission::Write,
                kind: ResourceKind::Exchange,
                name: RESTORE_EXCHANGE.into(),
                vhost: self.vhost.name().clone(),
                user: self.user.clone(),
            }));
        }
        let write = |exchange| self.ask(Permission::Write, ResourceKind::Exchange, exchange);
        write(RESTORE_EXCHANGE).and(write(""))
    }
}
