//! Topics and subscriptions as the API knows them, and what is stored of them. What a topic does with a message, its
//! exchange does; a subscription is bindings to a queue. Both can go without the API being asked, over AMQP: a topic is
//! there as long as an exchange carries its id, a subscription as long as the queue of its id is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::filter::{Filter, FilterKind, is_of_subscription};
use crate::broker::broker::Broker;
use crate::broker::error::BrokerError;
use crate::broker::exchange::Exchange;
use crate::broker::queue::Queue;
use crate::broker::vhost::Vhost;
use crate::model::arguments::integer_value;
use crate::model::{Name, QueueId, Ticket};
use crate::store::{Op, Store, StoreError};
use crate::wire::{AMQPValue, FieldTable};

/// The argument of an exchange that says which topic it is.
const TOPIC: &str = "x-cmq-topic";
/// What the name of a queue begins with in which messages wait that are to be pushed.
pub(crate) const PUSH_QUEUE: &str = "cmq.push.";
/// What keys of stored topics start with; the topic's id follows.
const TOPIC_PREFIX: &[u8] = b"cmq-topic\0";
/// What keys of stored subscriptions start with; the topic's id and the subscription's follow.
const SUBSCRIPTION_PREFIX: &[u8] = b"cmq-subscription\0";

/// A topic; ids are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicId(pub(crate) u64);

/// A topic. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Topic {
    /// The virtual host of its exchange.
    pub(crate) vhost: Name,
    /// Its name and its exchange's.
    pub(crate) name: Name,
    /// `filterType`.
    pub(crate) filter: FilterKind,
    /// `maxMsgSize` in bytes.
    pub(crate) message_bytes: u64,
    /// Who made it.
    pub(crate) owner: Name,
    /// `createTime`.
    pub(crate) created_secs: u64,
    /// `lastModifyTime`.
    pub(crate) modified_secs: u64,
}

/// A subscription. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Subscription {
    /// Its id, never used again.
    pub(crate) id: u64,
    /// Its name, unique in its topic.
    pub(crate) name: Name,
    /// Where messages go.
    pub(crate) endpoint: Endpoint,
    /// `notifyStrategy`.
    pub(crate) strategy: Strategy,
    /// `notifyContentFormat`.
    pub(crate) format: Format,
    /// Which messages go there.
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
        /// Its name.
        name: Name,
        /// Its id.
        id: QueueId,
        /// The queue of the broker's own in which messages wait that it did not take; made for the first of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waiting: Option<QueueId>,
    },
    /// `http`: the messages wait in a queue of the broker's own and are pushed.
    Http {
        /// Where to.
        url: String,
        /// The queue.
        queue: QueueId,
    },
}

impl Endpoint {
    /// The id of the queue, the endpoint's or our own.
    pub(crate) fn queue_id(&self) -> QueueId {
        match self {
            Endpoint::Queue { id, .. } => *id,
            Endpoint::Http { queue, .. } => *queue,
        }
    }

    /// The id of the queue of the broker's own, if there is one.
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

/// `notifyStrategy`: what happens to a message that an endpoint does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Strategy {
    /// A few times more, one message after the other.
    #[serde(rename = "BACKOFF_RETRY")]
    Backoff,
    /// For a day, at growing distances.
    #[serde(rename = "EXPONENTIAL_DECAY_RETRY")]
    ExponentialDecay,
}

impl Strategy {
    const ALL: [Strategy; 2] = [Strategy::Backoff, Strategy::ExponentialDecay];

    /// The strategy of this name.
    pub(crate) fn named(name: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|own| own.name() == name)
    }

    /// Its name.
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
    /// The message with what is known of it.
    #[serde(rename = "JSON")]
    Json,
    /// The message's body alone.
    #[serde(rename = "SIMPLIFIED")]
    Simplified,
}

impl Format {
    /// The format of this name.
    pub(crate) fn named(name: &str) -> Option<Format> {
        [Format::Json, Format::Simplified]
            .into_iter()
            .find(|own| own.name() == name)
    }

    /// Its name.
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

    /// The queue it is bound to, if that is still the one it was made for.
    pub(crate) fn queue(&self, vhost: &Vhost, topic: &Topic) -> Option<Arc<Queue>> {
        let queue = match &self.endpoint {
            Endpoint::Queue { name, .. } => vhost.queue(name),
            Endpoint::Http { .. } => {
                vhost.queue(&Subscription::push_queue(&topic.name, &self.name))
            }
        };
        queue.filter(|queue| queue.id() == self.endpoint.queue_id())
    }

    /// The queue of the broker's own in which its messages wait, if there is one.
    pub(crate) fn waiting(&self, vhost: &Vhost, topic: &Topic) -> Option<Arc<Queue>> {
        let id = self.endpoint.waiting_id()?;
        let queue = vhost.queue(&Subscription::push_queue(&topic.name, &self.name));
        queue.filter(|queue| queue.id() == id)
    }

    /// Deletes that queue, with what waits in it.
    pub(crate) fn drop_waiting(&self, vhost: &Vhost, topic: &Topic) {
        if let Some(queue) = self.waiting(vhost, topic) {
            // None: somebody else deletes it right now.
            vhost.delete_queue(&queue, |_| true);
        }
    }

    /// Binds its queue to its topic by its filter. What is bound already stays.
    pub(crate) fn bind(
        &self,
        vhost: &Vhost,
        topic: &Topic,
        queue: &Queue,
    ) -> Result<Option<Ticket>, BrokerError> {
        let mut last = None;
        for binding in self.filter.bindings(&topic.name, &self.name, queue.name()) {
            last = last.max(vhost.bind(binding, |_| Ok(()))?);
        }
        Ok(last)
    }

    /// Removes the bindings of its filter but for those that `kept` has as well.
    pub(crate) fn unbind(
        &self,
        vhost: &Vhost,
        topic: &Topic,
        queue: &Queue,
        kept: Option<&Filter>,
    ) -> Result<Option<Ticket>, BrokerError> {
        let bindings_of = |filter: &Filter| filter.bindings(&topic.name, &self.name, queue.name());
        let kept = kept.map(bindings_of).unwrap_or_default();
        let mut last = None;
        for binding in bindings_of(&self.filter) {
            if !kept.contains(&binding) {
                last = last.max(vhost.unbind(&binding, |_| Ok(()))?);
            }
        }
        Ok(last)
    }
}

/// All topics of all virtual hosts, with their subscriptions. Changed with the front door's `changes` held.
#[derive(Debug)]
pub(crate) struct Topics {
    by_id: RwLock<HashMap<TopicId, Entry>>,
    /// Counts changes of subscriptions.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Entry {
    topic: Arc<Topic>,
    subscriptions: BTreeMap<Name, Arc<Subscription>>,
}

/// A topic with one of its subscriptions.
#[derive(Clone, Debug)]
pub(crate) struct Subscribed {
    /// The topic's id.
    pub(crate) id: TopicId,
    /// The topic.
    pub(crate) topic: Arc<Topic>,
    /// The subscription.
    pub(crate) subscription: Arc<Subscription>,
}

impl Topics {
    /// What the store holds. Returns also how to remove subscriptions without a topic.
    pub(crate) fn load(store: &dyn Store) -> Result<(Topics, Vec<Op>), StoreError> {
        let mut by_id = HashMap::new();
        let mut ops = Vec::new();
        for (key, value) in store.definitions(TOPIC_PREFIX)? {
            let id = key
                .strip_prefix(TOPIC_PREFIX)
                .and_then(|id| Some(u64::from_be_bytes(id.try_into().ok()?)))
                .ok_or_else(|| damaged(&key))?;
            let topic = serde_json::from_slice(&value).map_err(|_| damaged(&key))?;
            let entry = Entry {
                topic: Arc::new(topic),
                subscriptions: BTreeMap::new(),
            };
            by_id.insert(TopicId(id), entry);
        }
        for (key, value) in store.definitions(SUBSCRIPTION_PREFIX)? {
            let id = key
                .strip_prefix(SUBSCRIPTION_PREFIX)
                .and_then(|ids| ids.first_chunk())
                .ok_or_else(|| damaged(&key))?;
            let subscription: Subscription =
                serde_json::from_slice(&value).map_err(|_| damaged(&key))?;
            match by_id.get_mut(&TopicId(u64::from_be_bytes(*id))) {
                Some(entry) => {
                    let name = subscription.name.clone();
                    entry.subscriptions.insert(name, Arc::new(subscription));
                }
                None => ops.push(Op::RemoveDefinition { key }),
            }
        }
        let topics = Topics {
            by_id: RwLock::new(by_id),
            changes: watch::Sender::new(0),
        };
        Ok((topics, ops))
    }

    /// The topic that an exchange of this virtual host is.
    pub(crate) fn of_exchange(
        &self,
        vhost: &Vhost,
        exchange: &Exchange,
    ) -> Option<(TopicId, Arc<Topic>)> {
        let id = exchange.arguments.inner().get(TOPIC);
        let id = TopicId(u64::try_from(integer_value(id?)?).ok()?);
        let topic = self
            .by_id
            .read()
            .get(&id)
            .map(|entry| entry.topic.clone())?;
        // Whoever declares exchanges may write any argument.
        let is_it = topic.vhost == *vhost.name() && topic.name == exchange.name;
        is_it.then_some((id, topic))
    }

    /// The topic of this name in a virtual host: as it is written, or else in other letters.
    pub(crate) fn named(&self, vhost: &Vhost, name: &str) -> Option<(TopicId, Arc<Topic>)> {
        let of_name = |name: &str| {
            let exchange = vhost.exchange(name)?;
            self.of_exchange(vhost, &exchange)
        };
        of_name(name).or_else(|| {
            let mut all = self.all();
            all.retain(|(_, topic)| {
                topic.vhost == *vhost.name() && topic.name.eq_ignore_ascii_case(name)
            });
            all.into_iter().find_map(|(_, topic)| of_name(&topic.name))
        })
    }

    /// The subscriptions of a topic, by name.
    pub(crate) fn subscriptions(&self, topic: TopicId) -> Vec<Arc<Subscription>> {
        let by_id = self.by_id.read();
        let entry = by_id.get(&topic);
        entry.map_or_else(Vec::new, |entry| {
            entry.subscriptions.values().cloned().collect()
        })
    }

    /// A subscription of a topic, of this name as it is written or else in other letters.
    pub(crate) fn subscription(&self, topic: TopicId, name: &str) -> Option<Arc<Subscription>> {
        let by_id = self.by_id.read();
        let subscriptions = &by_id.get(&topic)?.subscriptions;
        let alike = || {
            let mut all = subscriptions.values();
            all.find(|subscription| subscription.name.eq_ignore_ascii_case(name))
        };
        subscriptions.get(name).or_else(alike).cloned()
    }

    /// A topic with the subscription of this name.
    pub(crate) fn subscribed(&self, id: TopicId, name: &str) -> Option<Subscribed> {
        let by_id = self.by_id.read();
        let entry = by_id.get(&id)?;
        Some(Subscribed {
            id,
            topic: entry.topic.clone(),
            subscription: entry.subscriptions.get(name)?.clone(),
        })
    }

    /// All topics with their ids.
    pub(crate) fn all(&self) -> Vec<(TopicId, Arc<Topic>)> {
        let by_id = self.by_id.read();
        by_id
            .iter()
            .map(|(id, entry)| (*id, entry.topic.clone()))
            .collect()
    }

    /// All subscriptions of all topics.
    pub(crate) fn all_subscriptions(&self) -> Vec<Subscribed> {
        let by_id = self.by_id.read();
        let of_topic = |(id, entry): (&TopicId, &Entry)| {
            let (id, topic) = (*id, entry.topic.clone());
            let subscriptions: Vec<_> = entry.subscriptions.values().cloned().collect();
            subscriptions
                .into_iter()
                .map(move |subscription| Subscribed {
                    id,
                    topic: topic.clone(),
                    subscription,
                })
        };
        by_id.iter().flat_map(of_topic).collect()
    }

    /// The highest id of a topic or subscription; 0 if there are none.
    pub(crate) fn highest_id(&self) -> u64 {
        let by_id = self.by_id.read();
        let ids = by_id.iter().flat_map(|(id, entry)| {
            let subscriptions = entry.subscriptions.values();
            subscriptions
                .map(|subscription| subscription.id)
                .chain([id.0])
        });
        ids.max().unwrap_or(0)
    }

    /// Turns with every change of a subscription.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Adds a topic or gives it other attributes; what to write for it.
    pub(crate) fn set(&self, id: TopicId, topic: Topic) -> Op {
        let op = Op::PutDefinition {
            key: topic_key(id),
            value: json(&topic),
        };
        let mut by_id = self.by_id.write();
        match by_id.get_mut(&id) {
            Some(entry) => entry.topic = Arc::new(topic),
            None => {
                let entry = Entry {
                    topic: Arc::new(topic),
                    subscriptions: BTreeMap::new(),
                };
                by_id.insert(id, entry);
            }
        }
        op
    }

    /// Forgets a topic and what subscriptions it has left; what to remove for it.
    pub(crate) fn remove(&self, id: TopicId) -> Vec<Op> {
        let entry = self.by_id.write().remove(&id);
        self.changes.send_modify(|count| *count += 1);
        let subscriptions = entry.map(|entry| entry.subscriptions).unwrap_or_default();
        let mut ops: Vec<Op> = subscriptions
            .values()
            .map(|subscription| remove_subscription(id, subscription))
            .collect();
        ops.push(Op::RemoveDefinition { key: topic_key(id) });
        ops
    }

    /// Adds a subscription or changes it; what to write for it.
    pub(crate) fn set_subscription(&self, topic: TopicId, subscription: Subscription) -> Op {
        let op = Op::PutDefinition {
            key: subscription_key(topic, subscription.id),
            value: json(&subscription),
        };
        if let Some(entry) = self.by_id.write().get_mut(&topic) {
            let name = subscription.name.clone();
            entry.subscriptions.insert(name, Arc::new(subscription));
        }
        self.changes.send_modify(|count| *count += 1);
        op
    }

    /// Forgets a subscription; what to remove for it.
    pub(crate) fn remove_subscription(&self, topic: TopicId, subscription: &Subscription) -> Op {
        if let Some(entry) = self.by_id.write().get_mut(&topic) {
            entry.subscriptions.remove(&subscription.name);
        }
        self.changes.send_modify(|count| *count += 1);
        remove_subscription(topic, subscription)
    }

    /// Forgets what was deleted over AMQP: topics whose exchange is gone, subscriptions whose queue is. What to remove
    /// for it.
    pub(crate) fn tidy(&self, broker: &Broker) -> Vec<Op> {
        let mut ops = Vec::new();
        for (id, topic) in self.all() {
            let vhost = broker.vhost(&topic.vhost);
            let exchange = vhost.as_ref().and_then(|vhost| vhost.exchange(&topic.name));
            let own = match (&vhost, &exchange) {
                (Some(vhost), Some(exchange)) => self.of_exchange(vhost, exchange),
                _ => None,
            };
            let is_there = own.is_some_and(|(own, _)| own == id);
            for subscription in self.subscriptions(id) {
                let vhost = vhost.as_ref();
                let queue = vhost.and_then(|vhost| subscription.queue(vhost, &topic));
                if is_there && queue.is_some() {
                    continue;
                }
                if let Some(vhost) = vhost {
                    subscription.drop_waiting(vhost, &topic);
                }
                ops.push(self.remove_subscription(id, &subscription));
            }
            if !is_there {
                ops.extend(self.remove(id));
            }
        }
        ops
    }

    /// Makes the bindings of all subscriptions, and removes those of ours that belong to none: what a crash cut short is
    /// completed.
    pub(crate) fn bind_all(&self, broker: &Broker) -> Result<(), BrokerError> {
        for vhost in broker.vhost_list() {
            let mut wanted = HashSet::new();
            for subscribed in self.all_subscriptions() {
                let (topic, subscription) = (&subscribed.topic, &subscribed.subscription);
                if topic.vhost == *vhost.name()
                    && let Some(queue) = subscription.queue(&vhost, topic)
                {
                    subscription.bind(&vhost, topic, &queue)?;
                    let name = &subscription.name;
                    wanted.extend(
                        subscription
                            .filter
                            .bindings(&topic.name, name, queue.name()),
                    );
                }
            }
            for binding in vhost.bindings() {
                if is_of_subscription(&binding) && !wanted.contains(&*binding) {
                    vhost.unbind(&binding, |_| Ok(()))?;
                }
            }
        }
        Ok(())
    }
}

/// The arguments of a topic's exchange.
pub(crate) fn exchange_arguments(id: TopicId) -> FieldTable {
    let mut arguments = FieldTable::default();
    // Ids are below 2^63: see `sequence`.
    let id = i64::try_from(id.0).unwrap_or(i64::MAX);
    arguments.insert(TOPIC.into(), AMQPValue::LongLongInt(id));
    arguments
}

fn remove_subscription(topic: TopicId, subscription: &Subscription) -> Op {
    Op::RemoveDefinition {
        key: subscription_key(topic, subscription.id),
    }
}

fn topic_key(id: TopicId) -> Vec<u8> {
    [TOPIC_PREFIX, &id.0.to_be_bytes()].concat()
}

fn subscription_key(topic: TopicId, subscription: u64) -> Vec<u8> {
    let (topic, subscription) = (topic.0.to_be_bytes(), subscription.to_be_bytes());
    [SUBSCRIPTION_PREFIX, &topic, &subscription].concat()
}

fn json<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record)
        .unwrap_or_else(|error| unreachable!("records are plain text and numbers: {error}"))
}

fn damaged(key: &[u8]) -> StoreError {
    StoreError::Corrupt(format!("what is stored under {}", key.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, MemoryStore};

    fn topic() -> Topic {
        Topic {
            vhost: "/".into(),
            name: "t".into(),
            filter: FilterKind::Tags,
            message_bytes: 1024,
            owner: "u".into(),
            created_secs: 1,
            modified_secs: 1,
        }
    }

    fn subscription(id: u64, endpoint: Endpoint) -> Subscription {
        Subscription {
            id,
            name: format!("s{id}").into(),
            endpoint,
            strategy: Strategy::Backoff,
            format: Format::Simplified,
            filter: Filter::Tags(Vec::new()),
            created_secs: 1,
            modified_secs: 1,
        }
    }

    #[test]
    fn what_is_stored_comes_back_with_its_ids() {
        let store = MemoryStore::new();
        let (topics, _) = Topics::load(&store).unwrap();
        assert_eq!(topics.highest_id(), 0);
        let id = TopicId(5);
        let queue = |waiting| Endpoint::Queue {
            name: "q".into(),
            id: QueueId(1),
            waiting,
        };
        let ops = [
            topics.set(id, topic()),
            topics.set_subscription(id, subscription(9, queue(None))),
            topics.set_subscription(id, subscription(7, queue(Some(QueueId(2))))),
            topics.set_subscription(TopicId(6), subscription(8, queue(None))),
        ];
        store.commit(&Batch::from_iter(ops)).unwrap();
        assert_eq!(topics.highest_id(), 9);
        let (topics, left_over) = Topics::load(&store).unwrap();
        assert_eq!((topics.highest_id(), left_over.len()), (9, 1));
        let waiting = |name| {
            let subscription = topics.subscription(id, name).unwrap();
            subscription.endpoint.waiting_id()
        };
        assert_eq!((waiting("s9"), waiting("s7")), (None, Some(QueueId(2))));
    }

    #[test]
    fn what_was_stored_before_queues_had_any_waiting_is_read() {
        let json = r#"{"queue":{"name":"q","id":1}}"#;
        let endpoint: Endpoint = serde_json::from_str(json).unwrap();
        assert_eq!((endpoint.waiting_id(), endpoint.text()), (None, "q"));
    }
}
