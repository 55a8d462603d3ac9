//! Decides whether a change of a virtual host's definitions is valid, and returns its changes and claims.
//! Pure: locks, writes and changes nothing.

use std::sync::Arc;

use super::change::{Change, QueueHandle};
use super::claims::{ClaimSet, Claims, Hold, Subject};
use super::creation::{Created, NAME_BYTES_MAX, NewQueue};
use super::predeclared::find_unlisted;
use crate::broker::error::{BrokerError, Resource};
use crate::broker::exchange::{Binding, Destination, Exchange};
use crate::broker::limits::VhostLimits;
use crate::broker::permissions::ResourceKind;
use crate::broker::queue::QueueSpec;
use crate::broker::routing::{Removal, Routing};
use crate::model::arguments::{QueueArguments, QueueKind};
use crate::model::{Name, QueueId, QueueOverrides};

/// The definitions as they are, and the changes that are under way.
pub(super) struct View<'a, Q> {
    pub(super) vhost: &'a Name,
    pub(super) routing: &'a Routing<Q>,
    pub(super) claims: &'a Claims,
    /// Number of queues whose creation is under way.
    pub(super) coming_queues: usize,
    pub(super) limits: VhostLimits,
}

/// A decision without an error.
#[derive(Debug)]
pub(super) enum Decision<Q, T> {
    /// A contradicting change is under way.
    Wait,
    Nothing(T),
    Change(Valid<Q, T>),
}

/// A valid change.
#[derive(Debug)]
pub(super) struct Valid<Q, T> {
    pub(super) changes: Vec<Change<Q>>,
    pub(super) claims: ClaimSet,
    pub(super) answer: T,
}

type Proposed<Q, T> = Result<Decision<Q, T>, BrokerError>;

impl<Q: QueueHandle> View<'_, Q> {
    /// Creates an exchange, unless one of that name exists.
    pub(super) fn create_exchange(
        &self,
        exchange: &Exchange,
    ) -> Proposed<Q, Created<Arc<Exchange>>> {
        check_name(ResourceKind::Exchange, &exchange.name)?;
        let claims = ClaimSet::default().exclusive(Subject::Exchange(exchange.name.clone()));
        if !self.claims.admit(&claims) {
            return Ok(Decision::Wait);
        }
        if let Some(existing) = self.exchange(&exchange.name) {
            return Ok(Decision::Nothing(Created::Existing(existing)));
        }
        exchange.check_arguments()?;
        let exchange = Arc::new(exchange.clone());
        Ok(Decision::Change(Valid {
            changes: vec![Change::PutExchange {
                exchange: Arc::clone(&exchange),
                was_bound: false,
            }],
            claims,
            answer: Created::New(exchange),
        }))
    }

    /// Deletes an exchange, with `if_unused` only if nothing is bound to it.
    pub(super) fn delete_exchange(&self, name: &str, if_unused: bool) -> Proposed<Q, ()> {
        let claims = ClaimSet::default().exclusive(Subject::Exchange(name.into()));
        if !self.claims.admit(&claims) {
            return Ok(Decision::Wait);
        }
        if if_unused && self.routing.is_used(name) {
            return Err(BrokerError::InUse(
                self.resource(ResourceKind::Exchange, name),
            ));
        }
        let removal = self.routing.removal_of_exchange(name);
        Ok(self.remove(Vec::new(), removal, claims, ()))
    }

    /// Creates a queue, unless one of that name exists. Checks its arguments, the limit of queues and its properties, in
    /// RabbitMQ's order.
    pub(super) fn create_queue(
        &self,
        new: &NewQueue,
        next_id: impl FnOnce() -> QueueId,
        open: impl FnOnce(QueueSpec) -> Q,
    ) -> Proposed<Q, Created<Q>> {
        check_name(ResourceKind::Queue, &new.name)?;
        let claims = ClaimSet::default().exclusive(Subject::Queue(new.name.clone()));
        if !self.claims.admit(&claims) {
            return Ok(Decision::Wait);
        }
        if let Some(existing) = self.routing.queue(&new.name) {
            return Ok(Decision::Nothing(Created::Existing(existing.clone())));
        }
        let resource = || self.resource(ResourceKind::Queue, &new.name);
        let arguments = QueueArguments::shared(&new.arguments).map_err(|error| {
            BrokerError::InvalidArgument {
                queue: resource(),
                error,
            }
        })?;
        let existing = self.routing.queue_count() + self.coming_queues;
        self.limits.check_queue(self.vhost, &new.name, existing)?;
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
        let queue = open(QueueSpec {
            id: next_id(),
            name: new.name.clone(),
            durable: new.durable,
            exclusive_owner: new.exclusive_owner,
            auto_delete: new.auto_delete,
            arguments,
        });
        Ok(Decision::Change(Valid {
            changes: vec![Change::PutQueue(queue.clone())],
            claims,
            answer: Created::New(queue),
        }))
    }

    /// Replaces a queue's overrides.
    pub(super) fn set_overrides(
        &self,
        name: &str,
        overrides: &QueueOverrides,
    ) -> Proposed<Q, QueueId> {
        let claims = ClaimSet::default().exclusive(Subject::Queue(name.into()));
        if !self.claims.admit(&claims) {
            return Ok(Decision::Wait);
        }
        let queue = self.find_queue(name)?;
        if queue.spec().arguments.kind == QueueKind::Stream {
            return Err(BrokerError::Refused(format!(
                "what {} was declared with cannot be changed: it is a stream",
                self.resource(ResourceKind::Queue, name)
            )));
        }
        Ok(Decision::Change(Valid {
            answer: queue.spec().id,
            changes: vec![Change::SetOverrides {
                queue: queue.clone(),
                overrides: overrides.clone(),
            }],
            claims,
        }))
    }

    /// Deletes this queue. Does not check its counts: they are the queue's own.
    pub(super) fn delete_queue(&self, queue: &Q) -> Decision<Q, ()> {
        let name = &queue.spec().name;
        let claims = ClaimSet::default().exclusive(Subject::Queue(name.clone()));
        if !self.claims.admit(&claims) {
            return Decision::Wait;
        }
        let known = self.routing.queue(name);
        if known.is_none_or(|known| known.spec().id != queue.spec().id) {
            return Decision::Nothing(());
        }
        let removal = self.routing.removal_of_queue(name);
        let queue = Change::RemoveQueue(queue.clone());
        self.remove(vec![queue], removal, claims, ())
    }

    /// Makes a binding, unless it exists. `check` may refuse a destination queue; as in RabbitMQ, it comes last.
    pub(super) fn bind(
        &self,
        binding: &Binding,
        check: impl FnOnce(&Q) -> Result<(), BrokerError>,
    ) -> Proposed<Q, ()> {
        let claims = self.claims_of(binding);
        if !self.claims.admit(&claims) {
            return Ok(Decision::Wait);
        }
        let source = self.exchange(&binding.source).ok_or_else(|| {
            BrokerError::NotFound(self.resource(ResourceKind::Exchange, &binding.source))
        })?;
        let (queue, durable) = match &binding.destination {
            Destination::Queue(name) => {
                let queue = self.find_queue(name)?;
                (Some(queue), queue.spec().durable)
            }
            Destination::Exchange(name) => {
                let exchange = self.exchange(name).ok_or_else(|| {
                    BrokerError::NotFound(self.resource(ResourceKind::Exchange, name))
                })?;
                (None, exchange.durable)
            }
        };
        source.check_binding(&binding.routing_key, &binding.arguments)?;
        queue.map_or(Ok(()), check)?;
        if self.routing.binding(binding).is_some() {
            return Ok(Decision::Nothing(()));
        }
        let mut binding = binding.clone();
        binding.durable = source.durable && durable;
        let binding = Arc::new(binding);
        let mut changes = vec![Change::PutBinding(binding)];
        // A start has to know this, even if no binding is stored.
        if source.auto_delete && !self.routing.was_bound(&source.name) {
            changes.push(Change::PutExchange {
                exchange: source,
                was_bound: true,
            });
        }
        Ok(Decision::Change(Valid {
            changes,
            claims,
            answer: (),
        }))
    }

    /// Removes a binding, if it exists. `check` may refuse a destination queue.
    pub(super) fn unbind(
        &self,
        binding: &Binding,
        check: impl FnOnce(&Q) -> Result<(), BrokerError>,
    ) -> Proposed<Q, ()> {
        let claims = self.claims_of(binding);
        if !self.claims.admit(&claims) {
            return Ok(Decision::Wait);
        }
        if self.routing.binding(binding).is_none() {
            return Ok(Decision::Nothing(()));
        }
        if let Destination::Queue(name) = &binding.destination {
            self.routing.queue(name).map_or(Ok(()), check)?;
        }
        let removal = self.routing.removal_of_bindings([binding], &[]);
        Ok(self.remove(Vec::new(), removal, claims, ()))
    }

    /// Makes and removes several bindings.
    pub(super) fn rebind(&self, bind: &[Binding], unbind: &[Binding]) -> Proposed<Q, ()> {
        let (mut changes, mut claims) = (Vec::new(), ClaimSet::default());
        for binding in bind {
            match self.bind(binding, |_| Ok(()))? {
                Decision::Wait => return Ok(Decision::Wait),
                Decision::Nothing(()) => {}
                Decision::Change(mut valid) => {
                    changes.append(&mut valid.changes);
                    claims.append(valid.claims);
                }
            }
        }
        for binding in unbind {
            claims.append(self.claims_of(binding));
        }
        let bound: Vec<&str> = bind.iter().map(|binding| &*binding.source).collect();
        let removal = self.routing.removal_of_bindings(unbind, &bound);
        Ok(self.remove(changes, removal, claims, ()))
    }

    /// Adds a removal to `changes`, and claims the definitions that it depends on.
    fn remove<T>(
        &self,
        mut changes: Vec<Change<Q>>,
        removal: Removal,
        mut claims: ClaimSet,
        answer: T,
    ) -> Decision<Q, T> {
        // First: an exchange takes its bindings along, which is faster than one after the other.
        for exchange in removal.exchanges {
            claims.add(Subject::Exchange(exchange.name.clone()), Hold::Exclusive);
            changes.push(Change::RemoveExchange(exchange));
        }
        for binding in removal.bindings {
            self.claim_source(&mut claims, &binding.source);
            changes.push(Change::RemoveBinding(binding));
        }
        match (self.claims.admit(&claims), changes.is_empty()) {
            (false, _) => Decision::Wait,
            (true, true) => Decision::Nothing(answer),
            (true, false) => Decision::Change(Valid {
                changes,
                claims,
                answer,
            }),
        }
    }

    /// The claims on a binding and both its ends.
    fn claims_of(&self, binding: &Binding) -> ClaimSet {
        let mut claims = ClaimSet::default();
        self.claim_source(&mut claims, &binding.source);
        let destination = match &binding.destination {
            Destination::Queue(name) => Subject::Queue(name.clone()),
            Destination::Exchange(name) => Subject::Exchange(name.clone()),
        };
        claims.add(destination, Hold::Shared);
        claims.add(Subject::Binding(Arc::new(binding.clone())), Hold::Exclusive);
        claims
    }

    /// Claims the source of a binding: exclusively for an auto-delete exchange, which depends on all its bindings.
    fn claim_source(&self, claims: &mut ClaimSet, source: &Name) {
        let exchange = self.routing.exchange(source);
        let hold = match exchange.is_some_and(|exchange| exchange.auto_delete) {
            true => Hold::Exclusive,
            false => Hold::Shared,
        };
        claims.add(Subject::Exchange(source.clone()), hold);
    }

    fn exchange(&self, name: &str) -> Option<Arc<Exchange>> {
        let found = self.routing.exchange(name).cloned();
        found.or_else(|| find_unlisted(name))
    }

    fn find_queue(&self, name: &str) -> Result<&Q, BrokerError> {
        let queue = self.routing.queue(name);
        queue.ok_or_else(|| BrokerError::NotFound(self.resource(ResourceKind::Queue, name)))
    }

    fn resource(&self, kind: ResourceKind, name: &str) -> Resource {
        Resource {
            kind,
            name: name.into(),
            vhost: self.vhost.clone(),
        }
    }
}

fn check_name(kind: ResourceKind, name: &str) -> Result<(), BrokerError> {
    match name.len() {
        len if len > NAME_BYTES_MAX => Err(BrokerError::NameTooLong(kind)),
        _ => Ok(()),
    }
}
