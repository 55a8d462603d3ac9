//! The publishes and acknowledgements of an open transaction, which wait for its commit.

use super::error::{Code, Handled, Refusal};
use super::limits::{TX_BYTES_MAX, TX_ENTRIES_MAX};
use super::publishing::CheckedMessage;
use super::route_cache::Targets;
use super::unacked::UnackedDelivery;
use crate::broker::queue::Acknowledgement;

#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) publishes: Vec<Publish>,
    /// Acknowledged deliveries, in order.
    pub(crate) acknowledged: Vec<(Acknowledgement, Vec<(u64, UnackedDelivery)>)>,
    /// Bytes of the publishes.
    pub(crate) bytes: usize,
    acknowledged_count: usize,
}

/// A message with the queues that get it at the commit.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) checked: CheckedMessage,
    pub(crate) targets: Targets,
}

impl Transaction {
    /// Number of publishes and acknowledgements.
    pub(crate) fn len(&self) -> usize {
        self.publishes.len() + self.acknowledged_count
    }

    /// Adds a message that has been routed.
    pub(crate) fn publish(&mut self, checked: CheckedMessage, targets: Targets) -> Handled {
        self.bytes += checked.message.size();
        self.publishes.push(Publish { checked, targets });
        self.check_size()
    }

    /// Adds acknowledged deliveries.
    pub(crate) fn acknowledge(
        &mut self,
        how: Acknowledgement,
        deliveries: Vec<(u64, UnackedDelivery)>,
    ) -> Handled {
        self.acknowledged_count += deliveries.len();
        match self.acknowledged.last_mut() {
            Some((last, acknowledged)) if *last == how => acknowledged.extend(deliveries),
            Some(_) | None => self.acknowledged.push((how, deliveries)),
        }
        self.check_size()
    }

    /// The acknowledged deliveries, which a rollback makes unacked again.
    pub(crate) fn into_acknowledged(self) -> Vec<(u64, UnackedDelivery)> {
        let acknowledged = self.acknowledged.into_iter();
        acknowledged
            .flat_map(|(_, deliveries)| deliveries)
            .collect()
    }

    fn check_size(&self) -> Handled {
        match self.bytes > TX_BYTES_MAX || self.len() > TX_ENTRIES_MAX {
            true => Err(Refusal::new(
                Code::ResourceError,
                "transaction is too large",
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::amqp::queue_handles::QueueHandle;
    use crate::amqp::unacked::AckTime;
    use crate::model::{Body, Lease, Message, Origin};

    fn message(bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            origin: Arc::new(Origin {
                exchange: "".into(),
                routing_key: "q".into(),
            }),
            properties: bytes::Bytes::new(),
            body: Body::Whole(vec![0; bytes].into()),
            persistent: true,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
            failures: 0,
            handed_out: false,
        })
    }

    fn publish(transaction: &mut Transaction, message: &Arc<Message>) -> Handled {
        let checked = CheckedMessage::for_queues(Arc::clone(message));
        transaction.publish(checked, Arc::default())
    }

    fn too_large() -> Handled {
        Err(Refusal::new(
            Code::ResourceError,
            "transaction is too large",
        ))
    }

    #[test]
    fn the_bytes_of_a_transaction_are_limited() {
        let mut transaction = Transaction::default();
        let part = message(TX_BYTES_MAX / 16);
        assert!((0..16).all(|_| publish(&mut transaction, &part).is_ok()));
        assert_eq!(publish(&mut transaction, &message(0)), Ok(()));
        assert_eq!(publish(&mut transaction, &message(1)), too_large());
    }

    #[test]
    fn the_publishes_and_acknowledgements_of_a_transaction_are_limited() {
        let delivery = UnackedDelivery {
            queue: QueueHandle::NONE,
            consumer: None,
            lease: Lease {
                offset: 0,
                turn: 0,
                lane: 0,
            },
            time: AckTime::Since(0),
        };
        let deliveries = |count| vec![(1, delivery); count];
        let empty = message(0);
        let mut transaction = Transaction::default();
        let acknowledged =
            transaction.acknowledge(Acknowledgement::Ack, deliveries(TX_ENTRIES_MAX - 1));
        assert_eq!(acknowledged, Ok(()));
        assert_eq!(publish(&mut transaction, &empty), Ok(()));
        assert_eq!(publish(&mut transaction, &empty), too_large());
        let mut transaction = Transaction::default();
        let acknowledged =
            transaction.acknowledge(Acknowledgement::Ack, deliveries(TX_ENTRIES_MAX));
        assert_eq!(acknowledged, Ok(()));
        let one_more = transaction.acknowledge(Acknowledgement::Requeue, deliveries(1));
        assert_eq!(one_more, too_large());
    }
}
