//! Creates and changes queues, and answers the calls of queues to their virtual host.

use std::sync::Arc;

use super::creation::{Created, NewQueue};
use super::host::Vhost;
use crate::broker::definitions::proposal::Proposal;
use crate::broker::error::BrokerError;
use crate::broker::exchange::{RouteKeys, delay_message};
use crate::broker::queue::{DeadLetter, LetterRoutes, Queue, QueueOwner, QueueServices};
use crate::model::arguments::{QUEUE_TYPE, QueueKind};
use crate::model::{Name, QueueId, QueueOverrides};
use crate::wire::{AMQPValue, FieldTable};

impl Vhost {
    /// Creates a queue, unless one of that name exists.
    pub async fn create_queue(&self, new: NewQueue) -> Result<Created<Arc<Queue>>, BrokerError> {
        self.create_queue_with(new, QueueOverrides::default(), |_| Proposal::none())
            .await
    }

    /// As [`Vhost::create_queue`], with overrides from the start; commits the proposal `also` in the same
    /// batch.
    pub async fn create_queue_with(
        &self,
        new: NewQueue,
        overrides: QueueOverrides,
        also: impl FnOnce(QueueId) -> Proposal,
    ) -> Result<Created<Arc<Queue>>, BrokerError> {
        let (proposal, created) = self.propose_queue(new, overrides, also).await?;
        proposal.commit(&self.shared.committer).await?;
        Ok(created)
    }

    /// The proposal that [`Vhost::create_queue_with`] commits.
    pub async fn propose_queue(
        &self,
        new: NewQueue,
        overrides: QueueOverrides,
        also: impl FnOnce(QueueId) -> Proposal,
    ) -> Result<(Proposal, Created<Arc<Queue>>), BrokerError> {
        let (proposal, created) = self
            .propose(|view| {
                let next_id = || self.shared.ids.next();
                let open = |spec| {
                    let (overrides, services) = (overrides.clone(), self.queue_services());
                    Queue::open_with(spec, overrides, &self.policy_set(), services, Vec::new())
                };
                view.create_queue(&new, next_id, open)
            })
            .await?;
        let proposal = match &created {
            Created::New(queue) => proposal.and(also(queue.id())),
            Created::Existing(_) => proposal,
        };
        Ok((proposal, created))
    }

    /// Adds the virtual host's type to the arguments of a queue that names none. Only queues that are durable, shared and
    /// permanent may have another type than classic.
    pub fn fill_in_kind(&self, arguments: &mut FieldTable, is_plain: bool) {
        let default = self.metadata().default_queue_kind;
        if let Some(kind) = default
            && (is_plain || kind == QueueKind::Classic)
            && !arguments.contains_key(QUEUE_TYPE)
        {
            let kind = AMQPValue::LongString(kind.as_str().into());
            arguments.insert(QUEUE_TYPE.into(), kind);
        }
    }

    /// Names of queues whose creation is under way.
    pub fn coming_queues(&self) -> Vec<Name> {
        self.changes.lock().coming_queues.iter().cloned().collect()
    }

    /// Replaces a queue's overrides, durably for a durable queue.
    ///
    /// # Errors
    /// If there is no such queue, or if it is a stream.
    pub async fn set_queue_overrides(
        &self,
        name: &str,
        overrides: QueueOverrides,
    ) -> Result<(), BrokerError> {
        self.set_queue_overrides_with(name, overrides, |_| Proposal::none())
            .await
    }

    /// As [`Vhost::set_queue_overrides`]; commits the proposal of `also` in the same batch.
    ///
    /// # Errors
    /// As [`Vhost::set_queue_overrides`].
    pub async fn set_queue_overrides_with(
        &self,
        name: &str,
        overrides: QueueOverrides,
        also: impl FnOnce(QueueId) -> Proposal,
    ) -> Result<(), BrokerError> {
        let (proposal, id) = self
            .propose(|view| view.set_overrides(name, &overrides))
            .await?;
        let proposal = proposal.and(also(id));
        Ok(proposal.commit(&self.shared.committer).await?)
    }

    /// Deletes a queue when its dead letters are published, if it has no consumer then.
    fn delete_later(&self, queue: &Arc<Queue>) {
        let (Some(me), queue) = (self.me.upgrade(), Arc::clone(queue)) else {
            return;
        };
        tokio::spawn(async move {
            queue.letters_published().await;
            me.delete_queue(&queue, |counts| counts.consumers == 0)
                .await
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
            stats: Arc::clone(&self.stats),
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
        routes.held = held.map(|held| (delay_message(&letter.message, held.delay_ms), held.queues));
        routes
    }

    fn queue_unused(&self, queue: &Arc<Queue>) {
        match queue.has_letters() {
            true => self.delete_later(queue),
            false => self.delete_soon(queue, |counts| counts.consumers == 0),
        }
    }

    fn queue_expired(&self, queue: &Arc<Queue>) {
        // Not on this thread: a queue may expire while it is being created, under the lock on changes.
        self.delete_later(queue);
    }
}
