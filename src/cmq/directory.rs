//! What operators see of topics, subscriptions and queues of the API: plain data, a snapshot without a lock.

use std::sync::{Arc, Weak};

use super::api::Api;
use super::attributes::Attributes;
use super::call::is_served;
use super::topics::{Subscribed, Topic, TopicId};
use crate::broker::queue::Counts;
use crate::model::Name;

/// Shows what the API has. Shows nothing when its front door is gone.
pub struct Directory {
    api: Weak<Api>,
}

/// A topic. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct TopicView {
    pub vhost: Name,
    /// Also the name of its exchange.
    pub name: Name,
    pub id: u64,
    /// `filterType`.
    pub filter_type: u64,
    /// `maxMsgSize`.
    pub message_bytes: u64,
    /// The user that created it.
    pub owner: Name,
    pub created_secs: u64,
    pub modified_secs: u64,
    pub subscriptions: usize,
}

/// A subscription. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct SubscriptionView {
    pub vhost: Name,
    pub topic: Name,
    pub name: Name,
    pub id: u64,
    pub protocol: &'static str,
    /// The name of a queue or a URL.
    pub endpoint: String,
    pub notify_strategy: &'static str,
    pub notify_content_format: &'static str,
    pub filter_tags: Vec<String>,
    pub binding_keys: Vec<String>,
    pub created_secs: u64,
    pub modified_secs: u64,
    /// Messages that wait in the broker's own queue until the endpoint takes them.
    pub waiting: u64,
}

/// A queue that the API serves, with its attributes. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct ServedQueueView {
    pub vhost: Name,
    pub name: Name,
    /// `maxMsgHeapNum`.
    pub heap: u64,
    pub polling_wait_secs: u64,
    pub visibility_timeout_secs: u64,
    /// `maxMsgSize`.
    pub message_bytes: u64,
    /// `msgRetentionSeconds`.
    pub retention_secs: u64,
    pub rewind_secs: u64,
    /// `deadLetterQueue`.
    pub dead_letter_queue: Option<String>,
    /// 0 if it is unknown.
    pub created_secs: u64,
    pub modified_secs: u64,
    pub counts: Counts,
}

impl Directory {
    pub(super) fn of(api: &Arc<Api>) -> Directory {
        Directory {
            api: Arc::downgrade(api),
        }
    }

    /// All topics, in the order of their ids.
    pub fn topics(&self) -> Vec<TopicView> {
        let Some(api) = self.api.upgrade() else {
            return Vec::new();
        };
        let all = api.topics.all().into_iter();
        all.map(|(id, topic)| topic_view(&api, id, &topic))
            .collect()
    }

    /// All subscriptions, in the order of their topics' ids.
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        let Some(api) = self.api.upgrade() else {
            return Vec::new();
        };
        let all = api.topics.all_subscriptions();
        all.iter()
            .map(|subscribed| subscription_view(&api, subscribed))
            .collect()
    }

    /// The queues of a virtual host that the API serves, ordered by name.
    pub fn queues(&self, vhost: &str) -> Vec<ServedQueueView> {
        let Some(api) = self.api.upgrade() else {
            return Vec::new();
        };
        let Some(vhost) = api.broker.vhost(vhost) else {
            return Vec::new();
        };
        let queues = vhost.queues();
        let served = queues.iter().filter(|queue| is_served(queue));
        served
            .map(|queue| {
                let attributes = api.attributes.of(queue, &api.config);
                served_queue_view(vhost.name(), queue.name(), &attributes, queue.counts())
            })
            .collect()
    }
}

fn topic_view(api: &Api, id: TopicId, topic: &Topic) -> TopicView {
    TopicView {
        vhost: topic.vhost.clone(),
        name: topic.name.clone(),
        id: id.0,
        filter_type: topic.filter.number(),
        message_bytes: topic.message_bytes,
        owner: topic.owner.clone(),
        created_secs: topic.created_secs,
        modified_secs: topic.modified_secs,
        subscriptions: api.topics.subscriptions(id).len(),
    }
}

fn subscription_view(api: &Api, subscribed: &Subscribed) -> SubscriptionView {
    let Subscribed {
        topic,
        subscription,
        ..
    } = subscribed;
    let vhost = api.broker.vhost(&topic.vhost);
    let waiting = vhost.and_then(|vhost| subscription.waiting(&vhost, topic));
    let counts = waiting.map(|queue| queue.counts()).unwrap_or_default();
    SubscriptionView {
        vhost: topic.vhost.clone(),
        topic: topic.name.clone(),
        name: subscription.name.clone(),
        id: subscription.id,
        protocol: subscription.endpoint.protocol(),
        endpoint: subscription.endpoint.text().to_owned(),
        notify_strategy: subscription.strategy.name(),
        notify_content_format: subscription.format.name(),
        filter_tags: subscription.filter.tags().to_vec(),
        binding_keys: subscription.filter.keys().to_vec(),
        created_secs: subscription.created_secs,
        modified_secs: subscription.modified_secs,
        waiting: counts.ready + counts.unacked + counts.delayed,
    }
}

fn served_queue_view(
    vhost: &Name,
    name: &Name,
    attributes: &Attributes,
    counts: Counts,
) -> ServedQueueView {
    let dead_letter = attributes.dead_letter.as_ref();
    ServedQueueView {
        vhost: vhost.clone(),
        name: name.clone(),
        heap: attributes.heap,
        polling_wait_secs: attributes.polling_wait_secs,
        visibility_timeout_secs: attributes.visibility_timeout_secs,
        message_bytes: attributes.message_bytes,
        retention_secs: attributes.retention_secs,
        rewind_secs: attributes.rewind_secs,
        dead_letter_queue: dead_letter.map(|policy| policy.queue.clone()),
        created_secs: attributes.created_secs,
        modified_secs: attributes.modified_secs,
        counts,
    }
}
