//! Declaring, purging, rewinding and deleting queues by one connection, and server-named queues. Publishing and consuming
//! are methods of the queue.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::checks::{Session, check_not_reserved, clean, property_difference};
use crate::broker::error::BrokerError;
use crate::broker::permissions::{Permission, ResourceKind};
use crate::broker::queue::{Counts, Queue, RewindError, RewindTo, Rewound};
use crate::broker::users::Answer;
use crate::broker::vhost::{Created, NewQueue};
use crate::model::Name;
use crate::model::arguments::{DEAD_LETTER_EXCHANGE, QueueKind, queue_kind};
use crate::wire::FieldTable;

/// Prefix of generated queue names.
const GENERATED_QUEUE_PREFIX: &str = "amq.gen";

/// `queue.declare`.
#[derive(Debug)]
pub struct DeclareQueue<'a> {
    /// Empty for a server-named queue.
    pub name: &'a str,
    /// Checks only that it exists.
    pub passive: bool,
    /// Ignored for exclusive queues, which are transient.
    pub durable: bool,
    /// It belongs to the connection and is deleted with it.
    pub exclusive: bool,
    /// Deleted when its last consumer leaves.
    pub auto_delete: bool,
    pub arguments: FieldTable,
}

/// The result of a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDeclared {
    pub name: Name,
    /// Ready messages.
    pub messages: u64,
    pub consumers: u64,
}

impl Session {
    /// Declares a queue, or checks that an equal one exists.
    pub async fn declare_queue(
        &self,
        declare: DeclareQueue<'_>,
    ) -> Result<QueueDeclared, BrokerError> {
        if declare.passive {
            let name = clean(declare.name);
            self.check_any(ResourceKind::Queue, &name).await?;
            let queue = self.find_queue(&name)?;
            self.check_owner(&queue)?;
            return Ok(declared(&queue));
        }
        let durable = declare.durable && !declare.exclusive;
        let mut arguments = declare.arguments;
        let is_plain = durable && !declare.exclusive && !declare.auto_delete;
        self.vhost.fill_in_kind(&mut arguments, is_plain);
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
        self.check(Permission::Configure, ResourceKind::Queue, &name)
            .await?;
        let new = NewQueue {
            name,
            durable,
            exclusive_owner: declare.exclusive.then_some(self.connection),
            auto_delete: declare.auto_delete,
            arguments,
        };
        let declared_again = |queue: &Arc<Queue>, new: &NewQueue| {
            let declared = self.declare_again(queue, new)?;
            self.broker.stats().churn.queue_declared.add(1);
            Ok(declared)
        };
        if let Some(existing) = self.vhost.queue(&new.name) {
            return declared_again(&existing, &new);
        }
        let resource = || self.vhost.resource(ResourceKind::Queue, &new.name);
        self.check_target(DEAD_LETTER_EXCHANGE, &new.arguments, resource)
            .await?;
        let again = NewQueue {
            name: new.name.clone(),
            arguments: new.arguments.clone(),
            ..new
        };
        match self.vhost.create_queue(new).await? {
            Created::New(queue) => {
                self.own(&queue)?;
                self.broker.stats().churn.queue_declared.add(1);
                Ok(declared(&queue))
            }
            Created::Existing(existing) => declared_again(&existing, &again),
        }
    }

    /// Drops all ready messages of a queue; returns their number.
    pub async fn purge_queue(&self, name: &str) -> Result<u64, BrokerError> {
        let queue = self.queue_to_read_checked(name).await?;
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

    /// Makes acked messages of the queue's history ready again; see [`Queue::rewind`]. Takes read permission on the queue,
    /// as a purge does.
    pub async fn rewind_queue(&self, name: &str, to: RewindTo) -> Result<Rewound, BrokerError> {
        let queue = self.queue_to_read_checked(name).await?;
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

    /// Deletes a queue; returns the number of its ready messages. 0, and no error, without such a queue.
    pub async fn delete_queue(
        &self,
        name: &str,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<u64, BrokerError> {
        let name = clean(name);
        self.check(Permission::Configure, ResourceKind::Queue, &name)
            .await?;
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
        // Streams ignore both flags, and report no number.
        let is_stream = queue.spec().arguments.kind == QueueKind::Stream;
        let mut refused = None;
        queue.letters_published().await;
        let only_if = |counts: &Counts| {
            if is_stream {
                return true;
            }
            if if_empty && !counts.is_empty() {
                refused = Some(BrokerError::NotEmpty(resource.clone()));
            } else if if_unused && counts.consumers > 0 {
                refused = Some(BrokerError::InUse(resource.clone()));
            }
            refused.is_none()
        };
        let deleted = self.vhost.delete_queue(&queue, only_if).await?;
        if let Some(refused) = refused {
            return Err(refused);
        }
        let Some(counts) = deleted else {
            return Ok(0);
        };
        self.disown(&queue);
        Ok(if is_stream { 0 } else { counts.ready })
    }

    /// Whether the user has read permission on a queue of this name.
    pub fn ask_read(&self, queue: &str) -> Answer {
        self.ask(Permission::Read, ResourceKind::Queue, queue)
    }

    /// A queue to consume or get from. The caller has checked that the user may read it.
    pub fn queue_to_read(&self, name: &str) -> Result<Arc<Queue>, BrokerError> {
        let queue = self.find_queue(name)?;
        self.check_owner(&queue)?;
        Ok(queue)
    }

    /// A queue to consume or get from, if the user may.
    pub async fn queue_to_read_checked(&self, name: &str) -> Result<Arc<Queue>, BrokerError> {
        self.ask_read(name).get().await?;
        self.queue_to_read(name)
    }

    /// Checks that a declaration of an existing queue is equal to the first one.
    fn declare_again(
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
        Ok(declared(queue))
    }

    /// Notes a new exclusive queue of the connection. Deletes it if the connection has ended meanwhile.
    fn own(&self, queue: &Arc<Queue>) -> Result<(), BrokerError> {
        if queue.spec().exclusive_owner.is_none() {
            return Ok(());
        }
        {
            let mut owned = self.owned();
            if !owned.closed {
                // Queues that deleted themselves leave the list before it would grow.
                if owned.queues.len() == owned.queues.capacity() {
                    owned.queues.retain(|queue| !queue.is_deleted());
                }
                owned.queues.push(Arc::clone(queue));
                return Ok(());
            }
        }
        self.vhost.delete_soon(queue, |_| true);
        Err(BrokerError::NotFound(self.resource_of(queue)))
    }

    fn disown(&self, queue: &Arc<Queue>) {
        if queue.spec().exclusive_owner.is_some() {
            self.owned()
                .queues
                .retain(|owned| !Arc::ptr_eq(owned, queue));
        }
    }
}

/// A unique generated name: `prefix`, a dash and 22 random characters, as in RabbitMQ.
pub fn generated_name(prefix: &str) -> Name {
    let random: [u8; 16] = rand::random();
    format!("{prefix}-{}", BASE64_URL_SAFE_NO_PAD.encode(random)).into()
}

/// Refuses server-named quorum queues and streams. Other faults of the type are found later, with the generated name.
fn check_server_named(arguments: &FieldTable) -> Result<(), BrokerError> {
    match queue_kind(arguments) {
        Ok(kind @ (QueueKind::Quorum | QueueKind::Stream)) => {
            Err(BrokerError::ServerNamed(kind.long_name()))
        }
        Ok(QueueKind::Classic) | Err(_) => Ok(()),
    }
}

/// The result of a declaration, which counts as a use of the queue. As in RabbitMQ, consumers of streams do not count.
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
