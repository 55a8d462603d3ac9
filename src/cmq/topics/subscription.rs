//! One subscription: its record, and its queue and bindings in the broker.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::topic::{PUSH_QUEUE, Topic, TopicId};
use crate::broker::definitions::Kind;
use crate::broker::definitions::record::{Identity, Record};
use crate::broker::exchange::Binding;
use crate::broker::queue::Queue;
use crate::broker::vhost::Vhost;
use crate::cmq::filter::Filter;
use crate::model::{Name, QueueId};
use crate::store::StoreFailed;

/// A subscription. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Subscription {
    /// Never used again.
    pub(crate) id: u64,
    /// Unique in the topic.
    pub(crate) name: Name,
    pub(crate) endpoint: Endpoint,
    /// `notifyStrategy`.
    pub(crate) strategy: Strategy,
    /// `notifyContentFormat`.
    pub(crate) format: Format,
    pub(crate) filter: Filter,
    /// `createTime`.
    pub(crate) created_secs: u64,
    /// `lastModifyTime`.
    pub(crate) modified_secs: u64,
}

/// `protocol` and `endpoint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Endpoint {
    /// `queue`: the messages go to this queue.
    Queue {
        name: Name,
        id: QueueId,
        /// The broker's own queue for messages that this queue refused; created for the first of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waiting: Option<QueueId>,
    },
    /// `http`: the messages wait in the broker's own queue and are pushed.
    Http { url: String, queue: QueueId },
}

impl Endpoint {
    /// The id of the bound queue: the endpoint's or the broker's own.
    pub(crate) fn queue_id(&self) -> QueueId {
        match self {
            Endpoint::Queue { id, .. } => *id,
            Endpoint::Http { queue, .. } => *queue,
        }
    }

    /// The id of the broker's own queue, if there is one.
    pub(crate) fn waiting_id(&self) -> Option<QueueId> {
        match self {
            Endpoint::Queue { waiting, .. } => *waiting,
            Endpoint::Http { queue, .. } => Some(*queue),
        }
    }

    /// `protocol`.
    pub(crate) fn protocol(&self) -> &'static str {
        match self {
            Endpoint::Queue { .. } => "queue",
            Endpoint::Http { .. } => "http",
        }
    }

    /// `endpoint`.
    pub(crate) fn text(&self) -> &str {
        match self {
            Endpoint::Queue { name, .. } => name,
            Endpoint::Http { url, .. } => url,
        }
    }
}

/// `notifyStrategy`: the retries of a message that an endpoint refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Strategy {
    /// A few retries, one message after the other.
    #[serde(rename = "BACKOFF_RETRY")]
    Backoff,
    /// Retries for a day, at growing intervals.
    #[serde(rename = "EXPONENTIAL_DECAY_RETRY")]
    ExponentialDecay,
}

impl Strategy {
    const ALL: [Strategy; 2] = [Strategy::Backoff, Strategy::ExponentialDecay];

    pub(crate) fn named(name: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|own| own.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Strategy::Backoff => "BACKOFF_RETRY",
            Strategy::ExponentialDecay => "EXPONENTIAL_DECAY_RETRY",
        }
    }
}

/// `notifyContentFormat`: what the body of a push is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    /// The message with its properties.
    #[serde(rename = "JSON")]
    Json,
    /// The message's body alone.
    #[serde(rename = "SIMPLIFIED")]
    Simplified,
}

impl Format {
    pub(crate) fn named(name: &str) -> Option<Format> {
        [Format::Json, Format::Simplified]
            .into_iter()
            .find(|own| own.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Json => "JSON",
            Format::Simplified => "SIMPLIFIED",
        }
    }
}

impl Subscription {
    /// The name of the queue in which messages wait to be pushed to an HTTP endpoint, or to be offered again to a queue.
    pub(crate) fn push_queue(topic: &str, name: &str) -> Name {
        format!("{PUSH_QUEUE}{topic}.{name}").into()
    }

    /// The queue it is bound to, if that is still the same queue.
    pub(crate) fn queue(&self, vhost: &Vhost, topic: &Topic) -> Option<Arc<Queue>> {
        let queue = match &self.endpoint {
            Endpoint::Queue { name, .. } => vhost.queue(name),
            Endpoint::Http { .. } => {
                vhost.queue(&Subscription::push_queue(&topic.name, &self.name))
            }
        };
        queue.filter(|queue| queue.id() == self.endpoint.queue_id())
    }

    /// The broker's own queue in which its messages wait, if there is one.
    pub(crate) fn waiting(&self, vhost: &Vhost, topic: &Topic) -> Option<Arc<Queue>> {
        let id = self.endpoint.waiting_id()?;
        let queue = vhost.queue(&Subscription::push_queue(&topic.name, &self.name));
        queue.filter(|queue| queue.id() == id)
    }

    /// Deletes that queue with its messages.
    pub(crate) async fn drop_waiting(
        &self,
        vhost: &Vhost,
        topic: &Topic,
    ) -> Result<(), StoreFailed> {
        if let Some(queue) = self.waiting(vhost, topic) {
            vhost.delete_queue(&queue, |_| true).await?;
        }
        Ok(())
    }

    /// The bindings from its topic to its queue, by its filter.
    pub(crate) fn bindings(&self, topic: &Topic, queue: &Queue) -> Vec<Binding> {
        self.filter.bindings(&topic.name, &self.name, queue.name())
    }
}

/// A subscription of this topic.
#[derive(Clone, Debug)]
pub(super) struct SubscriptionRecord {
    pub(super) topic: TopicId,
    pub(super) subscription: Subscription,
}

impl SubscriptionRecord {
    pub(super) fn identity_of(topic: TopicId, subscription: u64) -> Identity {
        Identity::of_ids(&[topic.0, subscription])
    }
}

impl Record for SubscriptionRecord {
    const KIND: Kind = Kind::CmqSubscription;
    type Value = Subscription;

    fn identity(&self) -> Identity {
        SubscriptionRecord::identity_of(self.topic, self.subscription.id)
    }

    fn value(&self) -> &Subscription {
        &self.subscription
    }

    fn from_parts(identity: &[u8], subscription: Subscription) -> Option<SubscriptionRecord> {
        let topic = TopicId(u64::from_be_bytes(*identity.first_chunk()?));
        Some(SubscriptionRecord {
            topic,
            subscription,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_from_before_waiting_queues_are_read() {
        let json = r#"{"queue":{"name":"q","id":1}}"#;
        let endpoint: Endpoint = serde_json::from_str(json).unwrap();
        assert_eq!((endpoint.waiting_id(), endpoint.text()), (None, "q"));
    }
}
