//! Checks exchanges, queues and bindings. Those that have no meaning here are left out, with the bindings to them.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Checked, In, Invalid, Plan, arguments, check_name};
use crate::broker::error::{BrokerError, Resource};
use crate::broker::exchange::{Binding, Destination, Exchange, ExchangeKind};
use crate::broker::permissions::ResourceKind;
use crate::broker::vhost::NewQueue;
use crate::definitions_file::report::Category;
use crate::definitions_file::topology::{BindingEntry, DestinationType, ExchangeEntry, QueueEntry};
use crate::model::Name;
use crate::model::arguments::{QUEUE_TYPE, QueueArguments, QueueKind, text_value};

/// Names with this prefix belong to the broker.
const RESERVED_PREFIX: &str = "amq.";
/// Exchanges that begin with `amq.` in every virtual host.
const PREDECLARED: [&str; 6] = [
    "amq.direct",
    "amq.fanout",
    "amq.headers",
    "amq.match",
    "amq.topic",
    "amq.rabbitmq.trace",
];

impl Plan {
    pub(super) fn add_exchange(
        &mut self,
        vhost: Name,
        entry: ExchangeEntry,
        left_out: &mut HashSet<(Name, Destination)>,
    ) -> Checked<()> {
        let name = entry.name;
        check_name("exchange", &name)?;
        // Those that every virtual host has.
        if name.is_empty() {
            return Ok(());
        }
        let mut leave_out = |reason: String| {
            let destination = Destination::Exchange(name.clone());
            left_out.insert((vhost.clone(), destination));
            let report = &mut self.report;
            report.skip(Category::Exchanges, Some(&vhost), &*name, reason);
        };
        if name.starts_with(RESERVED_PREFIX) {
            if !PREDECLARED.contains(&&*name) {
                leave_out("names that begin with 'amq.' are the broker's".to_owned());
            }
            return Ok(());
        }
        let Ok(kind) = ExchangeKind::parse(&entry.kind) else {
            leave_out(format!("unknown exchange type '{}'", entry.kind));
            return Ok(());
        };
        let exchange = Exchange {
            kind,
            durable: entry.durable,
            auto_delete: entry.auto_delete,
            internal: entry.internal,
            arguments: arguments("exchange", &name, &entry.arguments)?,
            stats: Arc::default(),
            name,
        };
        exchange
            .check_arguments()
            .map_err(|error| Invalid(format!("precondition_failed: {error}")))?;
        self.exchanges.push(In {
            vhost,
            it: exchange,
        });
        Ok(())
    }

    pub(super) fn add_queue(
        &mut self,
        vhost: Name,
        entry: QueueEntry,
        left_out: &mut HashSet<(Name, Destination)>,
    ) -> Checked<()> {
        let name = entry.name;
        check_name("queue", &name)?;
        let mut leave_out = |reason: &str| {
            let destination = Destination::Queue(name.clone());
            left_out.insert((vhost.clone(), destination));
            let report = &mut self.report;
            report.skip(Category::Queues, Some(&vhost), &*name, reason);
        };
        if name.starts_with(RESERVED_PREFIX) || name.is_empty() {
            leave_out("names that begin with 'amq.' are the broker's");
            return Ok(());
        }
        let arguments = arguments("queue", &name, &entry.arguments)?;
        if let Some(kind) = arguments.inner().get(QUEUE_TYPE).and_then(text_value)
            && !kind.is_empty()
            && !QueueKind::ALL.iter().any(|known| known.as_str() == &*kind)
        {
            leave_out(&format!("unknown queue type '{kind}'"));
            return Ok(());
        }
        // The type that a virtual host adds cannot make other arguments valid.
        QueueArguments::parse(&arguments).map_err(|error| {
            let queue = Resource {
                kind: ResourceKind::Queue,
                name: name.clone(),
                vhost: vhost.clone(),
            };
            let refusal = BrokerError::InvalidArgument { queue, error };
            Invalid(format!("precondition_failed: {refusal}"))
        })?;
        self.queues.push(In {
            vhost,
            it: NewQueue {
                name,
                durable: entry.durable,
                exclusive_owner: None,
                auto_delete: entry.auto_delete,
                arguments,
            },
        });
        Ok(())
    }

    pub(super) fn add_binding(
        &mut self,
        vhost: Name,
        entry: BindingEntry,
        left_out: &HashSet<(Name, Destination)>,
    ) -> Checked<()> {
        // Each queue is bound to the default exchange.
        if entry.source.is_empty() {
            return Ok(());
        }
        for name in [&entry.source, &entry.destination, &entry.routing_key] {
            check_name("binding", name)?;
        }
        let destination = match entry.destination_type {
            DestinationType::Queue => Destination::Queue(entry.destination),
            DestinationType::Exchange => Destination::Exchange(entry.destination),
        };
        let source = Destination::Exchange(entry.source.clone());
        for end in [&source, &destination] {
            if left_out.contains(&(vhost.clone(), end.clone())) {
                let name = format!("{} -> {}", entry.source, destination.name());
                let reason = format!("'{}' was not imported", end.name());
                let report = &mut self.report;
                report.skip(Category::Bindings, Some(&vhost), name, reason);
                return Ok(());
            }
        }
        let arguments = arguments("binding", &entry.source, &entry.arguments)?;
        let binding = Binding::new(entry.source, destination, entry.routing_key, arguments);
        self.bindings.push(In { vhost, it: binding });
        Ok(())
    }
}
