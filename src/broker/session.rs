//! What one authenticated connection may do with exchanges, queues and bindings: the rights of its user and the
//! owner of exclusive queues are checked as RabbitMQ checks them and in its order, then the virtual host acts.
//! What is durable is on disk when a method returns. Knows no channel.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::broker::Broker;
use super::error::{BrokerError, Resource};
use super::exchange::{ALTERNATE_EXCHANGE, Binding, Destination, Exchange, ExchangeKind};
use super::permissions::{DEFAULT_EXCHANGE, Permission, ResourceKind};
use super::queue::{Queue, RewindError, RewindTo, Rewound};
use super::users::User;
use super::vhost::{Created, NewQueue, REWIND_EXCHANGE, Vhost};
use crate::model::arguments::{
    DEAD_LETTER_EXCHANGE, Inequivalence, QUEUE_TYPE, QueueKind, exchange_name_fault, inequivalence,
    queue_kind, text_value,
};
use crate::model::{ConnectionId, Name, Ticket};
use crate::wire::{AMQPValue, FieldTable};

/// What names of the broker's own start with.
const RESERVED_PREFIX: &str = "amq.";
/// What names that the broker gives to queues start with.
const GENERATED_QUEUE_PREFIX: &str = "amq.gen";

/// `exchange.declare`.
#[derive(Debug)]
pub struct DeclareExchange<'a> {
    /// Its name.
    pub name: &'a str,
    /// The name of its type.
    pub kind: &'a str,
    /// Only ask whether it is there.
    pub passive: bool,
    /// It is there after a restart.
    pub durable: bool,
    /// It is deleted when its last binding as a source goes.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// Its arguments.
    pub arguments: FieldTable,
}

/// `queue.declare`.
#[derive(Debug)]
pub struct DeclareQueue<'a> {
    /// Its name; empty for one that the broker makes up.
    pub name: &'a str,
    /// Only ask whether it is there.
    pub passive: bool,
    /// It is there after a restart; an exclusive queue is not, whatever this says.
    pub durable: bool,
    /// It belongs to the connection, and goes with it.
    pub exclusive: bool,
    /// It is deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// Its arguments.
    pub arguments: FieldTable,
}

/// A queue as a declaration found or made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDeclared {
    /// Its name.
    pub name: Name,
    /// Messages that wait.
    pub messages: u64,
    /// Consumers.
    pub consumers: u64,
}

/// One connection's view of its virtual host.
pub struct Session {
    /// The broker.
    pub broker: Arc<Broker>,
    /// The virtual host that was opened.
    pub vhost: Arc<Vhost>,
    /// Who logged in.
    pub user: Arc<User>,
    /// The connection.
    pub connection: ConnectionId,
    owned: Mutex<Owned>,
}

/// The exclusive queues of the connection.
#[derive(Default)]
struct Owned {
    queues: Vec<Arc<Queue>>,
    closed: bool,
}

impl Session {
    pub(super) fn new(
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

    /// Changes with every change of a permission: what [`Session::check_publish`] said before is stale then.
    pub fn permission_epoch(&self) -> u64 {
        self.broker.users().permission_epoch()
    }

    /// Declares an exchange, or checks that there is one like it.
    pub async fn declare_exchange(&self, declare: DeclareExchange<'_>) -> Result<(), BrokerError> {
        let name = clean(declare.name);
        if declare.passive {
            check_not_default(&name)?;
            self.find_exchange(&name)?;
            return self.settle().await;
        }
        let kind = ExchangeKind::parse(declare.kind)?;
        check_not_default(&name)?;
        self.check(Permission::Configure, ResourceKind::Exchange, &name)?;
        let exchange = Exchange {
            name: name.as_ref().into(),
            kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments,
        };
        if let Some(existing) = self.vhost.exchange(&name) {
            self.check_same_exchange(&existing, &exchange)?;
            return self.settle().await;
        }
        check_not_reserved(ResourceKind::Exchange, &name)?;
        let resource = || self.vhost.resource(ResourceKind::Exchange, &name);
        self.check_target(ALTERNATE_EXCHANGE, &exchange.arguments, resource)?;
        match self.vhost.create_exchange(exchange.clone())? {
            Created::New(_, ticket) => self.wait(ticket).await,
            Created::Existing(existing) => {
                self.check_same_exchange(&existing, &exchange)?;
                self.settle().await
            }
        }
    }

    /// Deletes an exchange; no error if there is none.
    pub async fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<(), BrokerError> {
        let name = clean(name);
        check_not_default(&name)?;
        if name.starts_with(RESERVED_PREFIX) {
            let resource = self.vhost.resource(ResourceKind::Exchange, &name);
            return Err(BrokerError::SystemExchange(resource));
        }
        self.check(Permission::Configure, ResourceKind::Exchange, &name)?;
        let ticket = self.vhost.delete_exchange(&name, if_unused)?;
        self.wait(ticket).await
    }

    /// Declares a queue, or checks that there is one like it.
    pub async fn declare_queue(
        &self,
        declare: DeclareQueue<'_>,
    ) -> Result<QueueDeclared, BrokerError> {
        if declare.passive {
            let queue = self.find_queue(&clean(declare.name))?;
            self.check_owner(&queue)?;
            self.settle().await?;
            return Ok(declared(&queue));
        }
        let durable = declare.durable && !declare.exclusive;
        let mut arguments = declare.arguments;
        self.fill_in_kind(
            &mut arguments,
            durable,
            declare.exclusive,
            declare.auto_delete,
        );
        let name: Name = match clean(declare.name) {
            name if name.is_empty() => {
                check_server_named(&arguments)?;
                generated_name(GENERATED_QUEUE_PREFIX)
            }
            name => {
                check_not_reserved(ResourceKind::Queue, &name)?;
                name.as_ref().into()
            }
        };
        self.check(Permission::Configure, ResourceKind::Queue, &name)?;
        let new = NewQueue {
            name,
            durable,
            exclusive_owner: declare.exclusive.then_some(self.connection),
            auto_delete: declare.auto_delete,
            arguments,
        };
        if let Some(existing) = self.vhost.queue(&new.name) {
            return self.declare_again(&existing, &new).await;
        }
        let resource = || self.vhost.resource(ResourceKind::Queue, &new.name);
        self.check_target(DEAD_LETTER_EXCHANGE, &new.arguments, resource)?;
        let again = NewQueue {
            name: new.name.clone(),
            arguments: new.arguments.clone(),
            ..new
        };
        match self.vhost.create_queue(new)? {
            Created::New(queue, ticket) => {
                self.own(&queue)?;
                self.wait(ticket).await?;
                Ok(declared(&queue))
            }
            Created::Existing(existing) => self.declare_again(&existing, &again).await,
        }
    }

    /// Binds a queue to an exchange; no error if it is bound so already.
    pub async fn bind_queue(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        let destination = Destination::Queue(clean(queue).as_ref().into());
        self.bind(destination, exchange, routing_key, arguments)
            .await
    }

    /// Removes a binding of a queue; no error if there is none.
    pub async fn unbind_queue(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        let destination = Destination::Queue(clean(queue).as_ref().into());
        self.unbind(destination, exchange, routing_key, arguments)
            .await
    }

    /// Binds an exchange to another; no error if it is bound so already.
    pub async fn bind_exchange(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        let destination = Destination::Exchange(clean(destination).as_ref().into());
        self.bind(destination, source, routing_key, arguments).await
    }

    /// Removes a binding between exchanges; no error if there is none.
    pub async fn unbind_exchange(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        let destination = Destination::Exchange(clean(destination).as_ref().into());
        self.unbind(destination, source, routing_key, arguments)
            .await
    }

    /// Drops all messages that wait in a queue; how many they were.
    pub async fn purge_queue(&self, name: &str) -> Result<u64, BrokerError> {
        self.check(Permission::Read, ResourceKind::Queue, name)?;
        let queue = self.find_queue(name)?;
        self.check_owner(&queue)?;
        if queue.spec().arguments.kind == QueueKind::Stream {
            return Err(BrokerError::NotImplemented(format!(
                "queue.purge not supported by stream queues {}",
                self.resource_of(&queue)
            )));
        }
        let (purged, ticket) = queue.purge();
        self.wait(ticket).await?;
        Ok(purged)
    }

    /// Makes acked messages that the queue keeps ready again, from a place on; see [`Queue::rewind`]. Takes the right to
    /// read from the queue, as purging it does.
    pub async fn rewind_queue(&self, name: &str, to: RewindTo) -> Result<Rewound, BrokerError> {
        let queue = self.queue_for_consume(name)?;
        let rewound = queue.rewind(to).await.map_err(|error| match error {
            RewindError::Gone => BrokerError::NotFound(self.resource_of(&queue)),
            RewindError::Store(_) => BrokerError::StoreFailed,
            RewindError::NotEnabled
            | RewindError::InFuture
            | RewindError::NoSuchOffset { .. }
            | RewindError::SeveralLanes => BrokerError::Refused(format!(
                "cannot rewind {}: {error}",
                self.resource_of(&queue)
            )),
        })?;
        self.wait(rewound.ticket).await?;
        Ok(rewound)
    }

    /// Deletes a queue; how many messages waited in it. None, and no error, if there is no such queue.
    pub async fn delete_queue(
        &self,
        name: &str,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<u64, BrokerError> {
        let name = clean(name);
        self.check(Permission::Configure, ResourceKind::Queue, &name)?;
        let Some(queue) = self.vhost.queue(&name) else {
            return Ok(0);
        };
        self.check_owner(&queue)?;
        let resource = self.resource_of(&queue);
        if queue.spec().arguments.kind == QueueKind::Quorum && (if_unused || if_empty) {
            let flag = if if_unused { "if-unused" } else { "if-empty" };
            return Err(BrokerError::NotImplemented(format!(
                "cannot delete {resource}. queue.delete operations with {flag} flag set are not supported by \
                 quorum queues"
            )));
        }
        // Streams take no notice of either flag, and do not count.
        let is_stream = queue.spec().arguments.kind == QueueKind::Stream;
        let mut refused = None;
        let deleted = self.vhost.delete_queue(&queue, |counts| {
            if is_stream {
                return true;
            }
            if if_empty && counts.ready > 0 {
                refused = Some(BrokerError::NotEmpty(resource.clone()));
            } else if if_unused && counts.consumers > 0 {
                refused = Some(BrokerError::InUse(resource.clone()));
            }
            refused.is_none()
        });
        if let Some(refused) = refused {
            return Err(refused);
        }
        let Some((counts, ticket)) = deleted else {
            return Ok(0);
        };
        self.disown(&queue);
        if queue.spec().durable {
            self.wait(Some(ticket)).await?;
        }
        Ok(if is_stream { 0 } else { counts.ready })
    }

    /// The queue for a consumer to read from.
    pub fn queue_for_consume(&self, name: &str) -> Result<Arc<Queue>, BrokerError> {
        self.check(Permission::Read, ResourceKind::Queue, name)?;
        let queue = self.find_queue(name)?;
        self.check_owner(&queue)?;
        Ok(queue)
    }

    /// Whether the user may, as things are now, read from a queue of this name.
    pub fn may_read(&self, queue: &str) -> bool {
        self.check(Permission::Read, ResourceKind::Queue, queue)
            .is_ok()
    }

    /// The queue to take single messages from.
    pub fn queue_for_get(&self, name: &str) -> Result<Arc<Queue>, BrokerError> {
        self.queue_for_consume(name)
    }

    /// The exchange to publish to, if that is allowed with this routing key. Holds until the virtual host's
    /// generation or the permission epoch changes.
    pub fn check_publish(
        &self,
        exchange: &str,
        routing_key: &str,
    ) -> Result<Arc<Exchange>, BrokerError> {
        self.check(Permission::Write, ResourceKind::Exchange, exchange)?;
        let exchange = self.find_exchange(exchange)?;
        if exchange.internal {
            let resource = self.vhost.resource(ResourceKind::Exchange, &exchange.name);
            return Err(BrokerError::InternalExchange(resource));
        }
        self.check_topic(&exchange, Permission::Write, routing_key)?;
        Ok(exchange)
    }

    /// The connection has ended: its exclusive queues are deleted.
    pub fn close(&self) {
        let queues = {
            let mut owned = self.owned();
            owned.closed = true;
            std::mem::take(&mut owned.queues)
        };
        for queue in queues {
            // None: it was deleted before.
            self.vhost.delete_queue(&queue, |_| true);
        }
    }

    async fn bind(
        &self,
        destination: Destination,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        let source = clean(source);
        self.check_binding(&destination, &source, routing_key)?;
        let binding = Binding::new(
            source.as_ref().into(),
            destination,
            routing_key.into(),
            arguments,
        );
        let ticket = self.vhost.bind(binding, |queue| self.check_owner(queue))?;
        self.wait(ticket).await
    }

    async fn unbind(
        &self,
        destination: Destination,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        let source = clean(source);
        self.check_binding(&destination, &source, routing_key)?;
        let binding = Binding::new(
            source.as_ref().into(),
            destination,
            routing_key.into(),
            arguments,
        );
        let ticket = self.vhost.unbind(&binding)?;
        self.wait(ticket).await
    }

    /// The rights that making or removing a binding takes: to write to where it leads, and to read from its source.
    fn check_binding(
        &self,
        destination: &Destination,
        source: &str,
        routing_key: &str,
    ) -> Result<(), BrokerError> {
        let kind = match destination {
            Destination::Queue(_) => ResourceKind::Queue,
            Destination::Exchange(_) => ResourceKind::Exchange,
        };
        self.check(Permission::Write, kind, destination.name())?;
        if !destination.is_queue() {
            check_not_default(destination.name())?;
        }
        check_not_default(source)?;
        self.check(Permission::Read, ResourceKind::Exchange, source)?;
        let is_rewind = |name: &str| name == REWIND_EXCHANGE;
        if is_rewind(source) || (!destination.is_queue() && is_rewind(destination.name())) {
            let resource = self.vhost.resource(ResourceKind::Exchange, REWIND_EXCHANGE);
            return Err(BrokerError::Refused(format!("{resource} cannot be bound")));
        }
        match self.vhost.exchange(source) {
            Some(source) => self.check_topic(&source, Permission::Read, routing_key),
            None => Ok(()),
        }
    }

    /// The rights that naming another exchange in an argument takes: to read the queue or exchange that is declared,
    /// and to write to the one named.
    fn check_target(
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

    fn check(
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

    fn check_topic(
        &self,
        exchange: &Exchange,
        permission: Permission,
        routing_key: &str,
    ) -> Result<(), BrokerError> {
        if exchange.kind != ExchangeKind::Topic {
            return Ok(());
        }
        let (user, vhost) = (&self.user.name, self.vhost.name());
        let users = self.broker.users();
        Ok(users.check_topic(user, vhost, &exchange.name, permission, routing_key)?)
    }

    fn find_exchange(&self, name: &str) -> Result<Arc<Exchange>, BrokerError> {
        self.vhost
            .exchange(name)
            .ok_or_else(|| BrokerError::NotFound(self.vhost.resource(ResourceKind::Exchange, name)))
    }

    fn find_queue(&self, name: &str) -> Result<Arc<Queue>, BrokerError> {
        self.vhost
            .queue(name)
            .ok_or_else(|| BrokerError::NotFound(self.vhost.resource(ResourceKind::Queue, name)))
    }

    fn resource_of(&self, queue: &Queue) -> Resource {
        self.vhost.resource(ResourceKind::Queue, queue.name())
    }

    /// Refuses another connection's exclusive queue.
    fn check_owner(&self, queue: &Arc<Queue>) -> Result<(), BrokerError> {
        match queue.spec().exclusive_owner {
            Some(owner) if owner != self.connection => {
                Err(BrokerError::ResourceLocked(self.resource_of(queue)))
            }
            _ => Ok(()),
        }
    }

    /// A declaration of a queue that is there: it has to mean the same.
    async fn declare_again(
        &self,
        queue: &Arc<Queue>,
        new: &NewQueue,
    ) -> Result<QueueDeclared, BrokerError> {
        let spec = queue.spec();
        if spec.exclusive_owner != new.exclusive_owner {
            return Err(BrokerError::ResourceLocked(self.resource_of(queue)));
        }
        let difference = property_difference("durable", spec.durable, new.durable)
            .or_else(|| property_difference("auto_delete", spec.auto_delete, new.auto_delete))
            .or_else(|| spec.arguments.inequivalent(&new.arguments));
        if let Some(difference) = difference {
            return Err(BrokerError::Inequivalent {
                resource: self.resource_of(queue),
                difference,
            });
        }
        self.settle().await?;
        Ok(declared(queue))
    }

    fn check_same_exchange(
        &self,
        existing: &Exchange,
        declared: &Exchange,
    ) -> Result<(), BrokerError> {
        let kinds = (existing.kind, declared.kind);
        let difference = (kinds.0 != kinds.1)
            .then(|| Inequivalence::of_property("type", kinds.0.as_str(), kinds.1.as_str()))
            .or_else(|| property_difference("durable", existing.durable, declared.durable))
            .or_else(|| {
                property_difference("auto_delete", existing.auto_delete, declared.auto_delete)
            })
            .or_else(|| property_difference("internal", existing.internal, declared.internal))
            .or_else(|| {
                inequivalence(
                    ALTERNATE_EXCHANGE,
                    existing.arguments.inner().get(ALTERNATE_EXCHANGE),
                    declared.arguments.inner().get(ALTERNATE_EXCHANGE),
                )
            });
        match difference {
            None => Ok(()),
            Some(difference) => Err(BrokerError::Inequivalent {
                resource: self.vhost.resource(ResourceKind::Exchange, &existing.name),
                difference,
            }),
        }
    }

    /// Names the virtual host's default type where a declaration names none and could have it.
    fn fill_in_kind(
        &self,
        arguments: &mut FieldTable,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
    ) {
        let default = self.vhost.metadata().default_queue_kind;
        let plain = durable && !exclusive && !auto_delete;
        if let Some(kind) = default
            && (plain || kind == QueueKind::Classic)
            && !arguments.contains_key(QUEUE_TYPE)
        {
            arguments.insert(
                QUEUE_TYPE.into(),
                AMQPValue::LongString(kind.as_str().into()),
            );
        }
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a new queue of the connection; if that has ended meanwhile, the queue goes at once.
    fn own(&self, queue: &Arc<Queue>) -> Result<(), BrokerError> {
        if queue.spec().exclusive_owner.is_none() {
            return Ok(());
        }
        {
            let mut owned = self.owned();
            if !owned.closed {
                // Those that deleted themselves are let go of before the list would grow for them.
                if owned.queues.len() == owned.queues.capacity() {
                    owned.queues.retain(|queue| !queue.is_deleted());
                }
                owned.queues.push(Arc::clone(queue));
                return Ok(());
            }
        }
        self.vhost.delete_queue(queue, |_| true);
        Err(BrokerError::NotFound(self.resource_of(queue)))
    }

    fn disown(&self, queue: &Arc<Queue>) {
        if queue.spec().exclusive_owner.is_some() {
            self.owned()
                .queues
                .retain(|owned| !Arc::ptr_eq(owned, queue));
        }
    }

    /// Waits until a change is durable.
    async fn wait(&self, ticket: Option<Ticket>) -> Result<(), BrokerError> {
        match ticket {
            None => Ok(()),
            Some(ticket) => Ok(self.broker.committer().wait(ticket).await?),
        }
    }

    /// Waits until all that can be seen is durable: what was found may have been declared a moment ago.
    async fn settle(&self) -> Result<(), BrokerError> {
        self.wait(Some(self.vhost.settled())).await
    }
}

/// A name that nobody has: `prefix`, a dash and 22 random characters, as RabbitMQ makes them.
pub fn generated_name(prefix: &str) -> Name {
    let random: [u8; 16] = rand::random();
    format!("{prefix}-{}", BASE64_URL_SAFE_NO_PAD.encode(random)).into()
}

/// A name without line ends, as RabbitMQ takes them out.
fn clean(name: &str) -> Cow<'_, str> {
    match name.contains(['\r', '\n']) {
        true => Cow::Owned(name.replace(['\r', '\n'], "")),
        false => Cow::Borrowed(name),
    }
}

fn check_not_default(exchange: &str) -> Result<(), BrokerError> {
    match exchange {
        "" => Err(BrokerError::DefaultExchange),
        _ => Ok(()),
    }
}

fn check_not_reserved(kind: ResourceKind, name: &str) -> Result<(), BrokerError> {
    match name.starts_with(RESERVED_PREFIX) {
        true => Err(BrokerError::ReservedName {
            kind,
            name: name.into(),
        }),
        false => Ok(()),
    }
}

/// Quorum queues have names. Other faults of the type are found later, with the name that is made up now.
fn check_server_named(arguments: &FieldTable) -> Result<(), BrokerError> {
    match queue_kind(arguments) {
        Ok(kind @ (QueueKind::Quorum | QueueKind::Stream)) => {
            Err(BrokerError::ServerNamed(kind.long_name()))
        }
        Ok(QueueKind::Classic) | Err(_) => Ok(()),
    }
}

fn property_difference(key: &'static str, current: bool, received: bool) -> Option<Inequivalence> {
    (current != received).then(|| Inequivalence::of_property(key, current, received))
}

/// What a declaration answers. It counts as a use of the queue. Consumers of streams are not counted, as in RabbitMQ.
fn declared(queue: &Arc<Queue>) -> QueueDeclared {
    queue.touch();
    let counts = queue.counts();
    let is_stream = queue.spec().arguments.kind == QueueKind::Stream;
    QueueDeclared {
        name: queue.name().clone(),
        messages: counts.ready,
        consumers: if is_stream { 0 } else { counts.consumers },
    }
}

#[cfg(test)]
#[path = "session_tests/mod.rs"]
mod tests;
