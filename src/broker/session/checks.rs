//! One connection's view of its virtual host, and the checks that its methods share: permissions, the owner of exclusive
//! queues, names.

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::broker::broker::Broker;
use crate::broker::error::{BrokerError, Resource};
use crate::broker::exchange::{Exchange, ExchangeKind};
use crate::broker::permissions::{DEFAULT_EXCHANGE, Permission, ResourceKind};
use crate::broker::queue::Queue;
use crate::broker::users::User;
use crate::broker::vhost::Vhost;
use crate::clock::Clock;
use crate::model::arguments::{Inequivalence, exchange_name_fault, text_value};
use crate::model::{ConnectionId, RESTORE_EXCHANGE, Ticket};
use crate::wire::FieldTable;

/// Prefix of the broker's own names.
pub(super) const RESERVED_PREFIX: &str = "amq.";

/// One connection's view of its virtual host.
pub struct Session {
    pub broker: Arc<Broker>,
    pub vhost: Arc<Vhost>,
    pub user: Arc<User>,
    pub connection: ConnectionId,
    pub(super) owned: Mutex<Owned>,
}

/// The exclusive queues of the connection.
#[derive(Default)]
pub(super) struct Owned {
    pub(super) queues: Vec<Arc<Queue>>,
    pub(super) closed: bool,
}

impl Session {
    pub fn clock(&self) -> &Clock {
        self.broker.clock()
    }

    /// A session of `user` in `vhost`. The caller has checked that the user may open the virtual host.
    pub fn new(
        broker: Arc<Broker>,
        vhost: Arc<Vhost>,
        user: Arc<User>,
        connection: ConnectionId,
    ) -> Session {
        Session {
            broker,
            vhost,
            user,
            connection,
            owned: Mutex::default(),
        }
    }

    /// Changes with every change of a permission: earlier results of [`Session::check_publish`] are stale then.
    pub fn permission_epoch(&self) -> u64 {
        self.broker.users().permission_epoch()
    }

    /// The exchange to publish to, if the user may. Valid until the virtual host's generation or the permission epoch
    /// changes.
    pub fn check_publish(&self, exchange: &str) -> Result<Arc<Exchange>, BrokerError> {
        if exchange == RESTORE_EXCHANGE {
            return self.check_restore();
        }
        self.check(Permission::Write, ResourceKind::Exchange, exchange)?;
        let exchange = self.find_exchange(exchange)?;
        if exchange.internal {
            let resource = self.vhost.resource(ResourceKind::Exchange, &exchange.name);
            return Err(BrokerError::InternalExchange(resource));
        }
        Ok(exchange)
    }

    /// Checks that the user may publish to an exchange with each of these routing keys. Valid as long as
    /// [`Session::check_publish`] is.
    pub fn check_keys<'a>(
        &self,
        exchange: &Exchange,
        routing_keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), BrokerError> {
        self.check_topics(exchange, Permission::Write, routing_keys)
    }

    /// Deletes the exclusive queues of the connection, which has ended.
    pub fn close(&self) {
        let queues = {
            let mut owned = self.owned();
            owned.closed = true;
            std::mem::take(&mut owned.queues)
        };
        for queue in queues {
            self.vhost.delete_soon(&queue, |_| true);
        }
    }

    /// An argument that names another exchange takes read permission on the declared queue or exchange, and write
    /// permission on the named one.
    pub(super) fn check_target(
        &self,
        argument: &'static str,
        arguments: &FieldTable,
        resource: impl Fn() -> Resource,
    ) -> Result<(), BrokerError> {
        let Some(value) = arguments.inner().get(argument) else {
            return Ok(());
        };
        if let Some(found) = exchange_name_fault(arguments, argument) {
            return Err(BrokerError::InvalidArgumentType {
                resource: resource(),
                argument,
                found,
            });
        }
        let declared = resource();
        self.check(Permission::Read, declared.kind, &declared.name)?;
        let target = text_value(value).unwrap_or_default();
        self.check(Permission::Write, ResourceKind::Exchange, &target)
    }

    pub(super) fn check(
        &self,
        permission: Permission,
        kind: ResourceKind,
        name: &str,
    ) -> Result<(), BrokerError> {
        let name = match (kind, name) {
            (ResourceKind::Exchange, "") => DEFAULT_EXCHANGE,
            (_, name) => name,
        };
        let users = self.broker.users();
        Ok(users.check(&self.user.name, self.vhost.name(), permission, kind, name)?)
    }

    /// A passive declaration takes any permission. The refusal names configure.
    pub(super) fn check_any(&self, kind: ResourceKind, name: &str) -> Result<(), BrokerError> {
        let check = |permission| self.check(permission, kind, name);
        check(Permission::Read)
            .or_else(|_| check(Permission::Write))
            .or_else(|_| check(Permission::Configure))
    }

    pub(super) fn check_topics<'a>(
        &self,
        exchange: &Exchange,
        permission: Permission,
        routing_keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), BrokerError> {
        if exchange.kind != ExchangeKind::Topic {
            return Ok(());
        }
        let (user, vhost) = (&self.user.name, self.vhost.name());
        let users = self.broker.users();
        Ok(users.check_topics(user, vhost, &exchange.name, permission, routing_keys)?)
    }

    pub(super) fn find_exchange(&self, name: &str) -> Result<Arc<Exchange>, BrokerError> {
        self.vhost
            .exchange(name)
            .ok_or_else(|| BrokerError::NotFound(self.vhost.resource(ResourceKind::Exchange, name)))
    }

    pub(super) fn find_queue(&self, name: &str) -> Result<Arc<Queue>, BrokerError> {
        self.vhost
            .queue(name)
            .ok_or_else(|| BrokerError::NotFound(self.vhost.resource(ResourceKind::Queue, name)))
    }

    pub(super) fn resource_of(&self, queue: &Queue) -> Resource {
        self.vhost.resource(ResourceKind::Queue, queue.name())
    }

    /// Refuses another connection's exclusive queue.
    pub(super) fn check_owner(&self, queue: &Arc<Queue>) -> Result<(), BrokerError> {
        match queue.spec().exclusive_owner {
            Some(owner) if owner != self.connection => {
                Err(BrokerError::ResourceLocked(self.resource_of(queue)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock()
    }

    /// Waits until a change is durable.
    pub(super) async fn wait(&self, ticket: Option<Ticket>) -> Result<(), BrokerError> {
        match ticket {
            None => Ok(()),
            Some(ticket) => Ok(self.broker.committer().wait(ticket).await?),
        }
    }
}

/// A name without line ends, which RabbitMQ removes.
pub(super) fn clean(name: &str) -> Cow<'_, str> {
    match name.contains(['\r', '\n']) {
        true => Cow::Owned(name.replace(['\r', '\n'], "")),
        false => Cow::Borrowed(name),
    }
}

pub(super) fn check_not_default(exchange: &str) -> Result<(), BrokerError> {
    match exchange {
        "" => Err(BrokerError::DefaultExchange),
        _ => Ok(()),
    }
}

pub(super) fn check_not_reserved(kind: ResourceKind, name: &str) -> Result<(), BrokerError> {
    match name.starts_with(RESERVED_PREFIX) {
        true => Err(BrokerError::ReservedName {
            kind,
            name: name.into(),
        }),
        false => Ok(()),
    }
}

pub(super) fn property_difference(
    key: &'static str,
    current: bool,
    received: bool,
) -> Option<Inequivalence> {
    (current != received).then(|| Inequivalence::of_property(key, current, received))
}
