//! The right to restore messages: to bring messages of another broker into a queue, with the exchange, routing key
//! and user id that they had there.

use std::sync::Arc;

use super::checks::Session;
use crate::broker::error::BrokerError;
use crate::broker::exchange::Exchange;
use crate::broker::permissions::{AccessRefused, Permission, ResourceKind};
use crate::broker::users::TAG_ADMINISTRATOR;
use crate::model::RESTORE_EXCHANGE;

impl Session {
    /// The exchange that routes restored messages: the default exchange, where every queue is bound by its name.
    ///
    /// # Errors
    /// For users who may not write to both exchanges, or are no administrators: a restored message claims that
    /// other users published it.
    pub(super) fn check_restore(&self) -> Result<Arc<Exchange>, BrokerError> {
        self.check(Permission::Write, ResourceKind::Exchange, RESTORE_EXCHANGE)?;
        self.check(Permission::Write, ResourceKind::Exchange, "")?;
        if !self.user.has_tag(TAG_ADMINISTRATOR) {
            return Err(BrokerError::AccessRefused(AccessRefused::Resource {
                permission: Permission::Write,
                kind: ResourceKind::Exchange,
                name: RESTORE_EXCHANGE.into(),
                vhost: self.vhost.name().clone(),
                user: self.user.name.clone(),
            }));
        }
        self.find_exchange("")
    }
}
