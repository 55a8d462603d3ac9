//! Creating and deleting exchanges and bindings, and the exchanges that are there from the start.

use std::sync::{Arc, LazyLock};

use super::{Created, Vhost, check_name};
use crate::broker::access_records::Record;
use crate::broker::definitions::{BindingRecord, ExchangeRecord};
use crate::broker::error::BrokerError;
use crate::broker::exchange::{Binding, Destination, Exchange, ExchangeKind};
use crate::broker::permissions::ResourceKind;
use crate::broker::queue::Queue;
use crate::model::Ticket;
use crate::wire::FieldTable;

/// What every virtual host has from the start: name, type, internal.
pub(super) const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
    ("amq.topic", ExchangeKind::Topic, false),
];

/// What is published here is a request to rewind a queue. It can be declared again as what it is, a durable direct
/// exchange, but it is in no table: it cannot be bound, routes nothing and is not listed.
pub const REWIND_EXCHANGE: &str = "amq.leveret.rewind";

pub(super) static REWIND: LazyLock<Arc<Exchange>> = LazyLock::new(|| {
    Arc::new(Exchange {
        name: REWIND_EXCHANGE.into(),
        kind: ExchangeKind::Direct,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    })
});

impl Vhost {
    /// Creates an exchange, unless there is one of that name.
    pub fn create_exchange(
        &self,
        exchange: Exchange,
    ) -> Result<Created<Arc<Exchange>>, BrokerError> {
        check_name(ResourceKind::Exchange, &exchange.name)?;
        let mut changes = self.change()?;
        if let Some(existing) = self.exchange(&exchange.name) {
            return Ok(Created::Existing(existing));
        }
        exchange.check_arguments()?;
        let exchange = Arc::new(exchange);
        let ticket = exchange.durable.then(|| {
            let record = ExchangeRecord::new(&self.name, &exchange, false);
            self.append(&mut changes, vec![record.put()])
        });
        self.apply(|routing| routing.insert_exchange(Arc::clone(&exchange)));
        Ok(Created::New(exchange, ticket))
    }

    /// Deletes an exchange with its bindings, and the exchanges that delete themselves for it; with `if_unused`
    /// only if nothing is bound to it.
    pub fn delete_exchange(
        &self,
        name: &str,
        if_unused: bool,
    ) -> Result<Option<Ticket>, BrokerError> {
        let mut changes = self.change()?;
        let in_use = if_unused && self.routing().is_used(name);
        if in_use {
            return Err(BrokerError::InUse(
                self.resource(ResourceKind::Exchange, name),
            ));
        }
        let removed = self.apply(|routing| routing.remove_exchange(name));
        Ok(self.append_removed(&mut changes, &removed, Vec::new()))
    }

    /// Binds, unless it is bound so already. `check` is asked about a queue that is the destination, after everything
    /// else, as in RabbitMQ.
    pub fn bind(
        &self,
        mut binding: Binding,
        check: impl FnOnce(&Arc<Queue>) -> Result<(), BrokerError>,
    ) -> Result<Option<Ticket>, BrokerError> {
        let mut changes = self.change()?;
        let source = self.exchange(&binding.source).ok_or_else(|| {
            BrokerError::NotFound(self.resource(ResourceKind::Exchange, &binding.source))
        })?;
        let not_found = |kind, name| BrokerError::NotFound(self.resource(kind, name));
        let (queue, durable) = match &binding.destination {
            Destination::Queue(name) => {
                let queue = self
                    .queue(name)
                    .ok_or_else(|| not_found(ResourceKind::Queue, name))?;
                let durable = queue.spec().durable;
                (Some(queue), durable)
            }
            Destination::Exchange(name) => {
                let exchange = self
                    .exchange(name)
                    .ok_or_else(|| not_found(ResourceKind::Exchange, name))?;
                (None, exchange.durable)
            }
        };
        source.check_binding(&binding.routing_key, &binding.arguments)?;
        queue.as_ref().map_or(Ok(()), check)?;
        if self.routing().binding(&binding).is_some() {
            return Ok(Some(changes.last));
        }
        binding.durable = source.durable && durable;
        let mut ops = Vec::new();
        if binding.durable {
            ops.push(BindingRecord::new(&self.name, &binding).put());
        }
        // A start has to know, even if no binding is stored.
        if source.durable && source.auto_delete && !self.routing().was_bound(&source.name) {
            ops.push(ExchangeRecord::new(&self.name, &source, true).put());
        }
        let ticket = (!ops.is_empty()).then(|| self.append(&mut changes, ops));
        self.apply(|routing| routing.bind(Arc::new(binding)));
        Ok(ticket)
    }

    /// Removes a binding, and the exchanges that delete themselves for it. Nothing if there is none. `check` is asked
    /// about a queue that it leads to.
    pub fn unbind(
        &self,
        binding: &Binding,
        check: impl FnOnce(&Arc<Queue>) -> Result<(), BrokerError>,
    ) -> Result<Option<Ticket>, BrokerError> {
        let mut changes = self.change()?;
        let bound = self.routing().binding(binding).is_some();
        if !bound {
            return Ok(None);
        }
        if let Destination::Queue(name) = &binding.destination {
            self.queue(name).as_ref().map_or(Ok(()), check)?;
        }
        let removed = self.apply(|routing| routing.unbind(binding));
        Ok(self.append_removed(&mut changes, &removed, Vec::new()))
    }
}
