//! The queues of the broker's own in which messages of subscriptions wait: messages for an HTTP endpoint, and messages
//! that a subscribed queue was too full to take. A queue for the latter is created for the first such message.

use std::sync::Arc;
use std::time::Duration;

use super::config::PushConfig;
use crate::broker::error::BrokerError;
use crate::broker::queue::Queue;
use crate::broker::vhost::{Created, NewQueue, Vhost};
use crate::cmq::api::Api;
use crate::cmq::limits::TOPIC_RETENTION_SECS;
use crate::cmq::topics::{Endpoint, Subscription, Topic, TopicId};
use crate::model::arguments::{
    DELIVERY_LIMIT, MESSAGE_TTL, QUEUE_TYPE, QueueKind, VISIBILITY_TIMEOUT,
};
use crate::model::{Message, QueueOverrides, Ticket};
use crate::wire::{AMQPValue, FieldTable};

/// The queue in which messages of a subscription wait, for as long as a topic retains them. A message that is being pushed
/// returns to it some time after the push must have ended.
pub(crate) fn queue_of(config: &PushConfig, topic: &str, subscription: &str) -> NewQueue {
    let mut arguments = FieldTable::default();
    let kind = QueueKind::Quorum.as_str().into();
    for (name, value) in [
        (QUEUE_TYPE, AMQPValue::LongString(kind)),
        (DELIVERY_LIMIT, AMQPValue::LongInt(-1)),
        (
            MESSAGE_TTL,
            milliseconds(Duration::from_secs(TOPIC_RETENTION_SECS)),
        ),
        (VISIBILITY_TIMEOUT, milliseconds(config.lease())),
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

fn milliseconds(duration: Duration) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// How many messages of such a queue wait or are being pushed.
pub(crate) fn waiting_in(queue: &Queue) -> u64 {
    let counts = queue.counts();
    counts.ready + counts.unacked
}

/// Keeps messages that `queue` refused, to offer them to it again by the strategy of its subscription. Returns their
/// ticket; `None` if no subscription of the topic has the queue as its endpoint, or if they cannot be kept.
pub(crate) async fn keep_for(
    api: &Api,
    vhost: &Vhost,
    id: TopicId,
    queue: &Queue,
    refused: &[Arc<Message>],
) -> Option<Ticket> {
    let _changes = api.changes.lock().await;
    let subscriptions = api.topics.subscriptions(id);
    let is_endpoint =
        |endpoint: &Endpoint| matches!(endpoint, Endpoint::Queue { id, .. } if *id == queue.id());
    let subscription = subscriptions
        .iter()
        .find(|subscription| is_endpoint(&subscription.endpoint))?;
    let topic = api.topics.subscribed(id, &subscription.name)?.topic;
    let waiting = match subscription.waiting(vhost, &topic) {
        Some(waiting) => Ok(Some(waiting)),
        None => create(api, vhost, id, &topic, subscription).await,
    };
    match waiting {
        Ok(waiting) => waiting?.publish(refused).ticket,
        Err(error) => {
            let (topic, subscription) = (&topic.name, &subscription.name);
            tracing::warn!(%topic, %subscription, %error, "cannot keep messages that a full subscribed queue refused");
            None
        }
    }
}

/// Creates the waiting queue of a subscription whose endpoint is a queue. Called with `changes` held.
async fn create(
    api: &Api,
    vhost: &Vhost,
    id: TopicId,
    topic: &Topic,
    subscription: &Subscription,
) -> Result<Option<Arc<Queue>>, BrokerError> {
    let new = queue_of(&api.config.push, &topic.name, &subscription.name);
    let mut changed = subscription.clone();
    let record = |queue| {
        if let Endpoint::Queue { waiting, .. } = &mut changed.endpoint {
            *waiting = Some(queue);
        }
        api.topics.put_subscription(id, changed)
    };
    let created = vhost
        .create_queue_with(new, QueueOverrides::default(), record)
        .await?;
    Ok(match created {
        Created::New(queue) => Some(queue),
        // A client declared it over AMQP, although the prefix of its name is the API's.
        Created::Existing(_) => None,
    })
}
