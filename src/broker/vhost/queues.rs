//! Creating, changing and deleting queues, and what queues ask of their virtual host.

use std::sync::Arc;

use super::{Created, Vhost, check_name};
use crate::broker::access_records::Record;
use crate::broker::definitions::QueueRecord;
use crate::broker::error::BrokerError;
use crate::broker::exchange::{RouteKeys, keep_back};
use crate::broker::permissions::ResourceKind;
use crate::broker::queue::{
    Counts, DeadLetter, LetterRoutes, Queue, QueueOwner, QueueServices, QueueSpec,
};
use crate::model::arguments::{QueueArguments, QueueKind};
use crate::model::{ConnectionId, Name, QueueId, QueueOverrides, Ticket};
use crate::store::Op;
use crate::wire::FieldTable;

/// A queue to be.
#[derive(Debug)]
pub struct NewQueue {
    /// Its name.
    pub name: Name,
    /// It is there after a restart.
    pub durable: bool,
    /// The connection that owns it, if it is exclusive.
    pub exclusive_owner: Option<ConnectionId>,
    /// It is deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// Its arguments, checked here.
    pub arguments: FieldTable,
}

impl Vhost {
    /// Creates a queue, unless there is one of that name. Its arguments, the limit of queues and what its type
    /// requires are checked in this order, as RabbitMQ does.
    pub fn create_queue(&self, new: NewQueue) -> Result<Created<Arc<Queue>>, BrokerError> {
        self.create_queue_with(new, |_| Vec::new())
    }

    /// As [`Vhost::create_queue`]; what `also` writes of a durable queue is there from the same batch on.
    pub fn create_queue_with(
        &self,
        new: NewQueue,
        also: impl FnOnce(QueueId) -> Vec<Op>,
    ) -> Result<Created<Arc<Queue>>, BrokerError> {
        self.create_queue_set(new, QueueOverrides::default(), also)
    }

    /// As [`Vhost::create_queue_with`], with overrides from the start.
    pub fn create_queue_set(
        &self,
        new: NewQueue,
        overrides: QueueOverrides,
        also: impl FnOnce(QueueId) -> Vec<Op>,
    ) -> Result<Created<Arc<Queue>>, BrokerError> {
        check_name(ResourceKind::Queue, &new.name)?;
        let mut changes = self.change()?;
        if let Some(existing) = self.queue(&new.name) {
            return Ok(Created::Existing(existing));
        }
        let resource = || self.resource(ResourceKind::Queue, &new.name);
        let arguments = QueueArguments::shared(&new.arguments).map_err(|error| {
            BrokerError::InvalidArgument {
                queue: resource(),
                error,
            }
        })?;
        let existing = self.routing().queue_count();
        let limits = self.shared.limits.of_vhost(&self.name);
        limits.check_queue(&self.name, &new.name, existing)?;
        let exclusive = new.exclusive_owner.is_some();
        arguments
            .check_properties(new.durable, exclusive, new.auto_delete)
            .map_err(|property| BrokerError::InvalidProperty {
                queue: resource(),
                property,
            })?;
        arguments
            .check_sizes()
            .map_err(|text| BrokerError::Refused(text.to_owned()))?;
        let spec = QueueSpec {
            id: self.shared.ids.next(),
            name: new.name.clone(),
            durable: new.durable,
            exclusive_owner: new.exclusive_owner,
            auto_delete: new.auto_delete,
            arguments,
        };
        let ticket = spec.durable.then(|| {
            let record = QueueRecord::new(&self.name, &spec, overrides.clone());
            let mut ops = vec![record.put()];
            ops.extend(also(spec.id));
            self.append(&mut changes, ops)
        });
        let queue = Queue::open_with(spec, overrides, self.queue_services(), Vec::new());
        queue.start();
        self.apply(|routing| routing.insert_queue(new.name, Arc::clone(&queue)));
        Ok(Created::New(queue, ticket))
    }

    /// Replaces what holds instead of a queue's arguments, at once and, if it is durable, after a restart. The ticket
    /// tells when that is on disk.
    ///
    /// # Errors
    /// If there is no such queue, or if it is a stream.
    pub fn set_queue_overrides(
        &self,
        name: &str,
        overrides: QueueOverrides,
    ) -> Result<Ticket, BrokerError> {
        self.set_queue_overrides_with(name, overrides, |_| Vec::new())
    }

    /// As [`Vhost::set_queue_overrides`]; what `also` writes of a durable queue is in the same batch.
    ///
    /// # Errors
    /// As [`Vhost::set_queue_overrides`].
    pub fn set_queue_overrides_with(
        &self,
        name: &str,
        overrides: QueueOverrides,
        also: impl FnOnce(QueueId) -> Vec<Op>,
    ) -> Result<Ticket, BrokerError> {
        let mut changes = self.change()?;
        let queue = self
            .queue(name)
            .ok_or_else(|| BrokerError::NotFound(self.resource(ResourceKind::Queue, name)))?;
        let spec = queue.spec();
        if spec.arguments.kind == QueueKind::Stream {
            return Err(BrokerError::Refused(format!(
                "what {} was declared with cannot be changed: it is a stream",
                self.resource(ResourceKind::Queue, name)
            )));
        }
        if spec.durable {
            let mut ops = vec![QueueRecord::new(&self.name, spec, overrides.clone()).put()];
            ops.extend(also(spec.id));
            self.append(&mut changes, ops);
        }
        queue.reconfigure(overrides);
        queue.tick();
        Ok(changes.last)
    }

    /// Deletes a queue with its bindings and messages, if `only_if` agrees to its numbers as they are then. `None` if
    /// it does not, or if the queue was deleted before.
    pub fn delete_queue(
        &self,
        queue: &Arc<Queue>,
        only_if: impl FnOnce(&Counts) -> bool,
    ) -> Option<(Counts, Ticket)> {
        let mut changes = self.changes.lock();
        // One batch, so that after a crash the queue is there with its messages or not at all.
        let _one_batch = self.shared.committer.batch_guard();
        let (counts, ticket) = queue.delete(only_if)?;
        let known = self.queue(queue.name());
        if !known.is_some_and(|known| Arc::ptr_eq(&known, queue)) {
            return Some((counts, ticket));
        }
        let removed = self.apply(|routing| routing.remove_queue(queue.name()));
        let mut ops = Vec::new();
        if queue.spec().durable {
            ops.push(QueueRecord::remove(&[&self.name, queue.name()]));
        }
        let appended = self.append_removed(&mut changes, &removed, ops);
        Some((counts, appended.unwrap_or(ticket)))
    }

    /// Deletes a queue that nobody consumes from when its dead letters are published.
    fn delete_later(&self, queue: &Arc<Queue>) {
        let (Some(me), queue) = (self.me.upgrade(), Arc::clone(queue)) else {
            return;
        };
        tokio::spawn(async move {
            queue.letters_published().await;
            me.delete_queue(&queue, |counts| counts.consumers == 0)
        });
    }

    pub(super) fn queue_services(&self) -> QueueServices {
        QueueServices {
            committer: Arc::clone(&self.shared.committer),
            timers: Arc::clone(&self.shared.timers),
            clock: Arc::clone(&self.shared.clock),
            budget: Arc::clone(&self.shared.budget),
            threads: Arc::clone(&self.shared.threads),
            letters: Arc::clone(&self.shared.letters),
            owner: self.me.clone(),
        }
    }
}

impl QueueOwner for Vhost {
    fn route_dead_letter(&self, letter: &DeadLetter) -> LetterRoutes {
        let mut routes = LetterRoutes::default();
        let Some((first, further)) = letter.routing_keys.split_first() else {
            return routes;
        };
        let cc: Vec<&str> = further.iter().map(|key| &**key).collect();
        let keys = RouteKeys {
            routing_key: first,
            cc: &cc,
            properties: &letter.message.properties,
        };
        let held = self
            .routing()
            .route(letter.exchange(), &keys, &mut routes.queues);
        routes.held = held.map(|held| (keep_back(&letter.message, held.delay_ms), held.queues));
        routes
    }

    fn queue_unused(&self, queue: &Arc<Queue>) {
        match queue.has_letters() {
            true => self.delete_later(queue),
            false => {
                self.delete_queue(queue, |counts| counts.consumers == 0);
            }
        }
    }

    fn queue_expired(&self, queue: &Arc<Queue>) {
        // Not here: a queue may find that its time is over while it is being created, under our lock.
        self.delete_later(queue);
    }
}
