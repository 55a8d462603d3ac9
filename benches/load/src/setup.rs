//! The broker, queues and exchanges that a run works on, and their declaration.

use std::time::Instant;

use leveret::wire::FieldTable;

use crate::client::{Link, QueueToDeclare};
use crate::error::BenchError;
use crate::layout::Layout;
use crate::message::MessageShape;
use crate::options::{Argument, BrokerOptions, ConsumeOptions, PublishOptions};

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) broker: BrokerOptions,
    pub(crate) layout: Layout,
    pub(crate) shape: MessageShape,
    /// Whether a restart of the broker keeps the queues.
    pub(crate) durable: bool,
    pub(crate) queue_arguments: FieldTable,
    pub(crate) consume_arguments: FieldTable,
}

/// What the declaration showed.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The broker's product and version.
    pub(crate) broker: String,
    pub(crate) queues_per_second: f64,
}

impl Setup {
    pub(crate) fn new(
        publish: &PublishOptions,
        consume: Option<&ConsumeOptions>,
    ) -> Result<Setup, BenchError> {
        let consumers = consume.map_or(0, |consume| {
            consume.consumers.or(publish.pairs).unwrap_or(1)
        });
        let arguments = consume.map(|consume| Argument::table(&consume.consume_arguments));
        Ok(Setup {
            broker: publish.broker.clone(),
            layout: Layout::new(
                &publish.queues.prefix,
                (publish.producer_count(), consumers, publish.queue_count()),
                publish.exchange_type,
                publish.bindings,
            )?,
            shape: MessageShape {
                size: publish.size,
                persistent: !publish.transient,
                delay_ms: None,
            },
            durable: !publish.queues.transient_queues,
            queue_arguments: Argument::table(&publish.queues.queue_arguments),
            consume_arguments: arguments.unwrap_or_default(),
        })
    }

    /// Declares everything anew. Deletes what an earlier run has left behind.
    pub(crate) fn declare(&self) -> Result<Declared, BenchError> {
        self.clean_up()?;
        let mut link = Link::open(&self.broker.target)?;
        let begun = Instant::now();
        for queue in 0..self.layout.queues {
            link.declare_queue(&QueueToDeclare {
                name: &self.layout.queue_name(queue),
                durable: self.durable,
                arguments: &self.queue_arguments,
            })?;
        }
        let queues_per_second = self.layout.queues as f64 / begun.elapsed().as_secs_f64();
        if let Some(kind) = self.layout.routing.exchange_type() {
            let exchange = self.layout.exchange_name();
            link.declare_exchange(&exchange, kind)?;
            for (queue, key) in self.layout.bindings() {
                link.bind(&self.layout.queue_name(queue), &exchange, &key)?;
            }
        }
        let broker = link.server_name();
        link.close()?;
        Ok(Declared {
            broker,
            queues_per_second,
        })
    }

    /// Deletes the queues and the exchange of `declare`.
    pub(crate) fn clean_up(&self) -> Result<(), BenchError> {
        let mut link = Link::open(&self.broker.target)?;
        for queue in 0..self.layout.queues {
            link.delete_queue(&self.layout.queue_name(queue))?;
        }
        if self.layout.routing.exchange_type().is_some() {
            link.delete_exchange(&self.layout.exchange_name())?;
        }
        link.close()
    }
}
