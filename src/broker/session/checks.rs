//! One connection's view of its virtual host, and the checks that its methods share: permissions, the owner of exclusive
//! queues, names.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::auth::AuthUser;
use crate::broker::broker::Broker;
use crate::broker::error::{BrokerError, Resource};
use crate::broker::exchange::{Exchange, ExchangeKind};
use crate::broker::permissions::{DEFAULT_EXCHANGE, Permission, ResourceKind};
use crate::broker::queue::Queue;
use crate::broker::users::{Answer, Validity};
use crate::broker::vhost::Vhost;
use crate::clock::Clock;
use crate::model::arguments::{Inequivalence, exchange_name_fault, text_value};
use crate::model::{ConnectionId, Name, RESTORE_EXCHANGE, Ticket};
use crate::wire::FieldTable;

/// Prefix of the broker's own names.
pub(super) const RESERVED_PREFIX: &str = "amq.";

/// One connection's view of its virtual host.
pub struct Session {
    pub broker: Arc<Broker>,
    pub vhost: Arc<Vhost>,
    /// The name of the user.
    pub user: Name,
    pub connection: ConnectionId,
    pub(super) owned: Mutex<Owned>,
    /// The user, as of its login or its last new secret.
    logged_in: RwLock<Arc<AuthUser>>,
    /// How many new secrets there were.
    renewals: AtomicU64,
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

    /// A session of an operator at the machine, who may do everything.
    pub fn of_operator(broker: Arc<Broker>, vhost: Arc<Vhost>) -> Session {
        let connection = broker.next_connection();
        Session::new(broker, vhost, Arc::new(AuthUser::broker([])), connection)
    }

    /// A session of `user` in `vhost`. The caller has checked that the user may open the virtual host.
    pub fn new(
        broker: Arc<Broker>,
        vhost: Arc<Vhost>,
        user: Arc<AuthUser>,
        connection: ConnectionId,
    ) -> Session {
        Session {
            broker,
            vhost,
            user: user.name.clone(),
            connection,
            owned: Mutex::default(),
            logged_in: RwLock::new(user),
            renewals: AtomicU64::new(0),
        }
    }

    /// The user, as of its login or its last new secret.
    pub fn logged_in(&self) -> Arc<AuthUser> {
        Arc::clone(&self.logged_in.read())
    }

    /// The user has a new secret and with it perhaps other rights. Its name stays.
    pub fn renew(&self, user: Arc<AuthUser>) {
        *self.logged_in.write() = user;
        self.renewals.fetch_add(1, Ordering::AcqRel);
    }

    /// Changes with every change of a permission and every new secret: earlier answers are stale then.
    pub fn permission_epoch(&self) -> u64 {
        // Both only grow, so each change of one changes the sum.
        let renewals = self.renewals.load(Ordering::Acquire);
        self.broker.users().permission_epoch() + renewals
    }

    /// Whether the user may publish to an exchange of this name.
    pub fn ask_publish(&self, exchange: &str) -> Answer {
        match exchange {
            RESTORE_EXCHANGE => self.ask_restore(),
            exchange => self.ask(Permission::Write, ResourceKind::Exchange, exchange),
        }
    }

    /// The exchange to publish to. Valid until the virtual host's generation changes.
    pub fn exchange_to_publish(&self, exchange: &str) -> Result<Arc<Exchange>, BrokerError> {
        let exchange = match exchange {
            // It routes as the default exchange, where every queue is bound by its name.
            RESTORE_EXCHANGE => "",
            exchange => exchange,
        };
        let exchange = self.find_exchange(exchange)?;
        if exchange.internal {
            let resource = self.vhost.resource(ResourceKind::Exchange, &exchange.name);
            return Err(BrokerError::InternalExchange(resource));
        }
        Ok(exchange)
    }

    /// Whether the user may publish to an exchange with each of these routing keys.
    pub fn ask_keys<'a>(
        &self,
        exchange: &Exchange,
        routing_keys: impl IntoIterator<Item = &'a str>,
    ) -> Answer {
        self.ask_topics(exchange, Permission::Write, routing_keys)
    }

    /// The exchange to publish to, if the user may.
    pub(super) async fn check_publish(&self, exchange: &str) -> Result<Arc<Exchange>, BrokerError> {
        self.ask_publish(exchange).get().await?;
        self.exchange_to_publish(exchange)
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
    pub(super) async fn check_target(
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
        self.check(Permission::Read, declared.kind, &declared.name)
            .await?;
        let target = text_value(value).unwrap_or_default();
        self.check(Permission::Write, ResourceKind::Exchange, &target)
            .await
    }

    /// Whether the user has `permission` on a queue or exchange.
    pub(super) fn ask(&self, permission: Permission, kind: ResourceKind, name: &str) -> Answer {
        let name = match (kind, name) {
            (ResourceKind::Exchange, "") => DEFAULT_EXCHANGE,
            (_, name) => name,
        };
        let (users, vhost) = (self.broker.users(), self.vhost.name());
        users.ask(&self.logged_in.read(), vhost, permission, kind, name)
    }

    pub(super) async fn check(
        &self,
        permission: Permission,
        kind: ResourceKind,
        name: &str,
    ) -> Result<(), BrokerError> {
        self.ask(permission, kind, name).get().await?;
        Ok(())
    }

    /// A passive declaration takes any permission. The refusal names configure.
    pub(super) async fn check_any(
        &self,
        kind: ResourceKind,
        name: &str,
    ) -> Result<(), BrokerError> {
        for permission in [Permission::Read, Permission::Write] {
            if self.ask(permission, kind, name).get().await.is_ok() {
                return Ok(());
            }
        }
        self.check(Permission::Configure, kind, name).await
    }

    pub(super) fn ask_topics<'a>(
        &self,
        exchange: &Exchange,
        permission: Permission,
        routing_keys: impl IntoIterator<Item = &'a str>,
    ) -> Answer {
        if exchange.kind != ExchangeKind::Topic {
            return Answer::Known(Ok(Validity::Epoch));
        }
        let (users, vhost) = (self.broker.users(), self.vhost.name());
        let user = self.logged_in.read();
        users.ask_topics(&user, vhost, &exchange.name, permission, routing_keys)
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
