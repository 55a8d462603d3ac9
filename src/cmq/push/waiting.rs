//! The queues in which messages of subscriptions wait: what is to be pushed to an HTTP endpoint from the start, and what
//! a subscribed queue did not take because it is full, which is offered to it again. Those are made for the first message.

use std::sync::Arc;

use super::super::front::Front;
use super::super::limits::TOPIC_RETENTION_SECS;
use super::super::topics::{Endpoint, Subscription, Topic, TopicId};
use super::{PushConfig, lease_ms};
use crate::broker::error::BrokerError;
use crate::broker::queue::Queue;
use crate::broker::vhost::{Created, NewQueue, Vhost};
use crate::model::arguments::{
    DELIVERY_LIMIT, MESSAGE_TTL, QUEUE_TYPE, QueueKind, VISIBILITY_TIMEOUT,
};
use crate::model::{Message, Ticket};
use crate::wire::{AMQPValue, FieldTable};

/// The queue in which messages of a subscription wait, as long as a topic keeps them. A message that is being pushed
/// comes back some time after its push cannot be under way any more.
pub(crate) fn queue_of(config: &PushConfig, topic: &str, subscription: &str) -> NewQueue {
    let mut arguments = FieldTable::default();
    let kind = QueueKind::Quorum.as_str().into();
    for (name, value) in [
        (QUEUE_TYPE, AMQPValue::LongString(kind)),
        (DELIVERY_LIMIT, AMQPValue::LongInt(-1)),
        (MESSAGE_TTL, milliseconds(TOPIC_RETENTION_SECS * 1000)),
        (VISIBILITY_TIMEOUT, milliseconds(lease_ms(config.timeout))),
    ] {
        arguments.insert(name.into(), value);
    }
    NewQueue {
        name: Subscription::push_queue(topic, subscription),
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments,
    }
}

fn milliseconds(ms: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// How many messages wait in such a queue, or are on their way.
pub(crate) fn waiting_in(queue: &Queue) -> u64 {
    let counts = queue.counts();
    counts.ready + counts.unacked
}

/// Keeps messages that `queue` did not take, to offer them to it again by the strategy of the subscription that leads
/// there. Returns when they are durable; `None` if no subscription of the topic leads there, or they cannot be kept.
pub(crate) fn keep_for(
    front: &Front,
    vhost: &Vhost,
    id: TopicId,
    queue: &Queue,
    refused: &[Arc<Message>],
) -> Option<Ticket> {
    let _changes = front.changes.lock();
    let subscriptions = front.topics.subscriptions(id);
    let leads_there = |subscription: &&Arc<Subscription>| matches!(&subscription.endpoint, Endpoint::Queue { id, .. } if *id == queue.id());
    let subscription = subscriptions.iter().find(leads_there)?;
    let topic = front.topics.subscribed(id, &subscription.name)?.topic;
    let waiting = match subscription.waiting(vhost, &topic) {
        Some(waiting) => Ok(Some(waiting)),
        None => make(front, vhost, id, &topic, subscription),
    };
    match waiting {
        Ok(waiting) => waiting?.publish(refused).ticket,
        Err(error) => {
            let (topic, subscription) = (&topic.name, &subscription.name);
            tracing::warn!(%topic, %subscription, %error, "no queue for what a subscribed queue does not take");
            None
        }
    }
}

/// Makes the queue of a subscription whose endpoint is a queue. Called with `changes` held.
fn make(
    front: &Front,
    vhost: &Vhost,
    id: TopicId,
    topic: &Topic,
    subscription: &Subscription,
) -> Result<Option<Arc<Queue>>, BrokerError> {
    let new = queue_of(&front.config.push, &topic.name, &subscription.name);
    let mut changed = subscription.clone();
    let record = |queue| {
        if let Endpoint::Queue { waiting, .. } = &mut changed.endpoint {
            *waiting = Some(queue);
        }
        vec![front.topics.set_subscription(id, changed)]
    };
    Ok(match vhost.create_queue_with(new, record)? {
        Created::New(queue, _) => Some(queue),
        // Declared over AMQP, under a name of ours.
        Created::Existing(_) => None,
    })
}
