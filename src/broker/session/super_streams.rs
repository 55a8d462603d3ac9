//! Super streams: a direct exchange with a stream for each partition, which its bindings order. Clients that know super
//! streams find the partitions by these bindings.

use super::checks::Session;
use super::exchanges::DeclareExchange;
use super::queues::DeclareQueue;
use crate::broker::error::BrokerError;
use crate::broker::exchange::{Destination, Exchange};
use crate::model::Name;
use crate::model::arguments::{QUEUE_TYPE, QueueKind};
use crate::wire::{AMQPValue, FieldTable};

/// Marks the exchange.
const SUPER_STREAM: &str = "x-super-stream";
/// The place of a partition among the others, in the binding's arguments.
const PARTITION_ORDER: &str = "x-stream-partition-order";

/// A stream of a super stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub stream: Name,
    pub binding_key: Name,
}

/// The refusal of a change of super streams.
#[derive(Debug, thiserror::Error)]
pub enum SuperStreamError {
    #[error("there is already an exchange named {0}")]
    ExchangeExists(Name),
    #[error("there is already a queue named {0}")]
    QueueExists(Name),
    #[error("there is no super stream named {0}")]
    NotFound(Name),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Session {
    /// Creates a super stream. One that cannot be made as a whole is removed again.
    pub async fn create_super_stream(
        &self,
        name: &str,
        partitions: &[Partition],
        arguments: &FieldTable,
    ) -> Result<(), SuperStreamError> {
        if self.vhost.exchange(name).is_some() {
            return Err(SuperStreamError::ExchangeExists(name.into()));
        }
        let taken = |partition: &&Partition| self.vhost.queue(&partition.stream).is_some();
        if let Some(taken) = partitions.iter().find(taken) {
            return Err(SuperStreamError::QueueExists(taken.stream.clone()));
        }
        let mut marked = FieldTable::default();
        marked.insert(SUPER_STREAM.into(), AMQPValue::Boolean(true));
        self.declare_exchange(DeclareExchange {
            name,
            kind: "direct",
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: marked,
        })
        .await?;
        for (order, partition) in (0..).zip(partitions) {
            if let Err(error) = self.add_partition(name, partition, order, arguments).await {
                for partition in partitions
                    .iter()
                    .take(usize::try_from(order).unwrap_or(0) + 1)
                {
                    // What cannot be removed either stays, and an operator sees it.
                    self.delete_queue(&partition.stream, false, false)
                        .await
                        .ok();
                }
                self.delete_exchange(name, false).await.ok();
                return Err(error.into());
            }
        }
        Ok(())
    }

    async fn add_partition(
        &self,
        name: &str,
        partition: &Partition,
        order: i32,
        arguments: &FieldTable,
    ) -> Result<(), BrokerError> {
        let mut arguments = arguments.clone();
        let kind = QueueKind::Stream.as_str();
        arguments.insert(QUEUE_TYPE.into(), AMQPValue::LongString(kind.into()));
        self.declare_queue(DeclareQueue {
            name: &partition.stream,
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments,
        })
        .await?;
        let mut place = FieldTable::default();
        place.insert(PARTITION_ORDER.into(), AMQPValue::LongInt(order));
        let stream = Destination::Queue(partition.stream.clone());
        self.bind(stream, name, &partition.binding_key, place).await
    }

    /// Deletes a super stream with its partitions and their messages.
    pub async fn delete_super_stream(&self, name: &str) -> Result<(), SuperStreamError> {
        let exchange = self
            .vhost
            .exchange(name)
            .filter(|found| is_super_stream(found));
        if exchange.is_none() {
            return Err(SuperStreamError::NotFound(name.into()));
        }
        for binding in self.vhost.bindings() {
            if let Destination::Queue(stream) = &binding.destination
                && *binding.source == *name
                && self.is_stream(stream)
            {
                self.delete_queue(stream, false, false).await?;
            }
        }
        Ok(self.delete_exchange(name, false).await?)
    }

    /// A queue of another kind that was bound later is no partition.
    fn is_stream(&self, queue: &str) -> bool {
        let queue = self.vhost.queue(queue);
        queue.is_some_and(|queue| queue.spec().arguments.kind == QueueKind::Stream)
    }
}

fn is_super_stream(exchange: &Exchange) -> bool {
    let mark = exchange.arguments.inner().get(SUPER_STREAM);
    matches!(mark, Some(AMQPValue::Boolean(true)))
}
