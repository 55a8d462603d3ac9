//! One change of a virtual host's definitions: its record, and the change in memory.

use std::sync::Arc;

use crate::broker::definitions::Kind;
use crate::broker::definitions::record::{Identity, Record, Records};
use crate::broker::definitions::topology::{BindingRecord, ExchangeRecord, QueueRecord};
use crate::broker::exchange::{Binding, Exchange};
use crate::broker::queue::{Queue, QueueSpec};
use crate::broker::routing::Routing;
use crate::model::{Name, QueueOverrides};

/// The constant part of a queue. Tests use it without a queue.
pub(super) trait QueueHandle: Clone {
    fn spec(&self) -> &QueueSpec;
}

impl QueueHandle for Arc<Queue> {
    fn spec(&self) -> &QueueSpec {
        Queue::spec(self)
    }
}

/// One change, of queues with handles `Q`.
#[derive(Clone, Debug)]
pub(super) enum Change<Q> {
    PutExchange {
        exchange: Arc<Exchange>,
        was_bound: bool,
    },
    RemoveExchange(Arc<Exchange>),
    PutQueue(Q),
    SetOverrides {
        queue: Q,
        overrides: QueueOverrides,
    },
    RemoveQueue(Q),
    PutBinding(Arc<Binding>),
    RemoveBinding(Arc<Binding>),
}

impl<Q: QueueHandle> Change<Q> {
    /// Makes the change in memory, at the start and later. The queue itself changes its overrides.
    pub(super) fn apply(self, routing: &mut Routing<Q>) {
        match self {
            Change::PutExchange {
                exchange,
                was_bound,
            } => {
                let name = exchange.name.clone();
                if routing.exchange(&name).is_none() {
                    routing.insert_exchange(exchange);
                }
                if was_bound {
                    routing.note_bound(&name);
                }
            }
            Change::RemoveExchange(exchange) => routing.remove_exchange(&exchange.name),
            Change::PutQueue(queue) => {
                let name = queue.spec().name.clone();
                routing.insert_queue(name, queue);
            }
            Change::SetOverrides { .. } => {}
            Change::RemoveQueue(queue) => routing.remove_queue(&queue.spec().name),
            Change::PutBinding(binding) => {
                // A crash may leave the record of a binding whose destination is gone.
                if routing.exists(&binding.destination) {
                    routing.bind(binding);
                }
            }
            Change::RemoveBinding(binding) => routing.unbind(&binding),
        }
    }
}

impl Change<Arc<Queue>> {
    /// Adds the records from which a start applies the change again; transient definitions have none.
    pub(super) fn write(&self, vhost: &Name, records: &mut Records) {
        match self {
            Change::PutExchange {
                exchange,
                was_bound,
            } if exchange.durable => {
                records.put(&ExchangeRecord::new(vhost, exchange, *was_bound));
            }
            Change::RemoveExchange(exchange) if exchange.durable => {
                let identity = Identity::of_names(&[vhost, &exchange.name]);
                records.remove(Kind::Exchange, &identity);
            }
            Change::PutQueue(queue) if queue.spec().durable => {
                records.put(&QueueRecord::new(vhost, queue.spec(), queue.overrides()));
            }
            Change::SetOverrides { queue, overrides } if queue.spec().durable => {
                records.put(&QueueRecord::new(vhost, queue.spec(), overrides.clone()));
            }
            Change::RemoveQueue(queue) if queue.spec().durable => {
                let identity = Identity::of_names(&[vhost, queue.name()]);
                records.remove(Kind::Queue, &identity);
            }
            Change::PutBinding(binding) if binding.durable => {
                records.put(&BindingRecord::new(vhost, binding));
            }
            Change::RemoveBinding(binding) if binding.durable => {
                let identity = BindingRecord::new(vhost, binding).identity();
                records.remove(Kind::Binding, &identity);
            }
            Change::PutExchange { .. }
            | Change::RemoveExchange(_)
            | Change::PutQueue(_)
            | Change::SetOverrides { .. }
            | Change::RemoveQueue(_)
            | Change::PutBinding(_)
            | Change::RemoveBinding(_) => {}
        }
    }
}
