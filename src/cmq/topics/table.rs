//! All topics and subscriptions in memory, their records, and each change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;

use super::subscription::{Subscription, SubscriptionRecord};
use super::topic::{Topic, TopicId};
use crate::broker::definitions::record::{DefinitionError, Identity, Record, Records};
use crate::broker::definitions::{Kind, table};
use crate::model::Name;
use crate::store::Store;

#[derive(Debug)]
pub(super) struct Table {
    pub(super) by_id: HashMap<TopicId, Entry>,
    /// Subscriptions whose topic is gone, as a crash may leave them. The next `tidy` removes them.
    pub(super) orphans: Vec<(TopicId, Arc<Subscription>)>,
    /// Counts changes of subscriptions.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) topic: Arc<Topic>,
    pub(super) subscriptions: BTreeMap<Name, Arc<Subscription>>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    PutTopic(TopicId, Topic),
    RemoveTopic(TopicId),
    PutSubscription(TopicId, Subscription),
    RemoveSubscription(TopicId, Arc<Subscription>),
}

#[derive(Debug)]
struct TopicRecord {
    id: TopicId,
    topic: Topic,
}

impl TopicRecord {
    fn identity_of(id: TopicId) -> Identity {
        Identity::of_ids(&[id.0])
    }
}

impl Record for TopicRecord {
    const KIND: Kind = Kind::CmqTopic;
    type Value = Topic;

    fn identity(&self) -> Identity {
        TopicRecord::identity_of(self.id)
    }

    fn value(&self) -> &Topic {
        &self.topic
    }

    fn from_parts(identity: &[u8], topic: Topic) -> Option<TopicRecord> {
        let id = TopicId(u64::from_be_bytes(identity.try_into().ok()?));
        Some(TopicRecord { id, topic })
    }
}

impl table::Table for Table {
    type Change = Change;

    fn write(change: &Change, records: &mut Records) {
        match change {
            Change::PutTopic(id, topic) => records.put(&TopicRecord {
                id: *id,
                topic: topic.clone(),
            }),
            Change::RemoveTopic(id) => {
                records.remove(Kind::CmqTopic, &TopicRecord::identity_of(*id));
            }
            Change::PutSubscription(topic, subscription) => records.put(&SubscriptionRecord {
                topic: *topic,
                subscription: subscription.clone(),
            }),
            Change::RemoveSubscription(topic, subscription) => {
                let identity = SubscriptionRecord::identity_of(*topic, subscription.id);
                records.remove(Kind::CmqSubscription, &identity);
            }
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::PutTopic(id, topic) => {
                let topic = Arc::new(topic);
                let entry = self.by_id.entry(id).or_insert_with(|| Entry {
                    topic: Arc::clone(&topic),
                    subscriptions: BTreeMap::new(),
                });
                entry.topic = topic;
                return;
            }
            Change::RemoveTopic(id) => {
                self.by_id.remove(&id);
            }
            Change::PutSubscription(topic, subscription) => {
                let subscription = Arc::new(subscription);
                match self.by_id.get_mut(&topic) {
                    Some(entry) => {
                        let name = subscription.name.clone();
                        entry.subscriptions.insert(name, subscription);
                    }
                    None => self.orphans.push((topic, subscription)),
                }
            }
            Change::RemoveSubscription(topic, subscription) => {
                if let Some(entry) = self.by_id.get_mut(&topic) {
                    entry.subscriptions.remove(&subscription.name);
                }
                self.orphans
                    .retain(|(_, orphan)| orphan.id != subscription.id);
            }
        }
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Table {
    pub(super) fn load(store: &dyn Store) -> Result<Table, DefinitionError> {
        let mut table = Table::default();
        for TopicRecord { id, topic } in TopicRecord::load(store)? {
            table::Table::apply(&mut table, Change::PutTopic(id, topic));
        }
        for record in SubscriptionRecord::load(store)? {
            let put = Change::PutSubscription(record.topic, record.subscription);
            table::Table::apply(&mut table, put);
        }
        Ok(table)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Removes a topic with its subscriptions.
    pub(super) fn removal(&self, id: TopicId) -> Vec<Change> {
        let entry = self.by_id.get(&id);
        let subscriptions = entry
            .into_iter()
            .flat_map(|entry| entry.subscriptions.values());
        subscriptions
            .map(|subscription| Change::RemoveSubscription(id, Arc::clone(subscription)))
            .chain([Change::RemoveTopic(id)])
            .collect()
    }
}

impl Default for Table {
    fn default() -> Table {
        Table {
            by_id: HashMap::new(),
            orphans: Vec::new(),
            changes: watch::Sender::new(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmq::filter::{Filter, FilterKind};
    use crate::cmq::topics::registry::Topics;
    use crate::cmq::topics::subscription::{Endpoint, Format, Strategy};
    use crate::model::QueueId;
    use crate::store::{Committer, Limits, MemoryStore};

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

    #[tokio::test]
    async fn a_restart_restores_topics_with_their_ids() {
        let store = Arc::new(MemoryStore::new());
        let committer = Committer::start(store.clone(), Limits::default()).unwrap();
        let topics = Topics::load(&*store).unwrap();
        assert_eq!(topics.highest_id(), 0);
        let id = TopicId(5);
        let queue = |waiting| Endpoint::Queue {
            name: "q".into(),
            id: QueueId(1),
            waiting,
        };
        for proposal in [
            topics.put(id, topic()),
            topics.put_subscription(id, subscription(9, queue(None))),
            topics.put_subscription(id, subscription(7, queue(Some(QueueId(2))))),
            topics.put_subscription(TopicId(6), subscription(8, queue(None))),
        ] {
            proposal.commit(&committer).await.unwrap();
        }
        assert_eq!(topics.highest_id(), 9);
        let topics = Topics::load(&*store).unwrap();
        assert_eq!(topics.highest_id(), 9);
        let orphans = topics.table.read().orphans.len();
        assert_eq!(orphans, 1, "a subscription without a topic");
        let waiting = |name| {
            let subscription = topics.subscription(id, name).unwrap();
            subscription.endpoint.waiting_id()
        };
        assert_eq!((waiting("s9"), waiting("s7")), (None, Some(QueueId(2))));
    }
}
