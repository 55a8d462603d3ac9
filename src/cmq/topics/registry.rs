//! All topics with their subscriptions: lookups and proposals of changes.

use std::sync::Arc;

use tokio::sync::watch;

use super::subscription::Subscription;
use super::table::{Change, Entry, Table};
use super::topic::{Topic, TopicId, id_in};
use crate::broker::definitions::proposal::Proposal;
use crate::broker::definitions::record::DefinitionError;
use crate::broker::definitions::table::Live;
use crate::broker::exchange::Exchange;
use crate::broker::vhost::Vhost;
use crate::store::Store;

/// All topics of all virtual hosts, with their subscriptions. The API's `changes` lock keeps contradicting changes apart.
#[derive(Debug)]
pub(crate) struct Topics {
    pub(super) table: Live<Table>,
    /// Counts changes of subscriptions.
    changes: watch::Receiver<u64>,
}

/// A topic with one of its subscriptions.
#[derive(Clone, Debug)]
pub(crate) struct Subscribed {
    pub(crate) id: TopicId,
    pub(crate) topic: Arc<Topic>,
    pub(crate) subscription: Arc<Subscription>,
}

impl Topics {
    pub(crate) fn load(store: &dyn Store) -> Result<Topics, DefinitionError> {
        let table = Table::load(store)?;
        Ok(Topics {
            changes: table.changes(),
            table: Live::new(table),
        })
    }

    /// The topic of an exchange.
    pub(crate) fn of_exchange(
        &self,
        vhost: &Vhost,
        exchange: &Exchange,
    ) -> Option<(TopicId, Arc<Topic>)> {
        let id = id_in(&exchange.arguments)?;
        let topic = self
            .table
            .read()
            .by_id
            .get(&id)
            .map(|entry| entry.topic.clone())?;
        let is_it = topic.vhost == *vhost.name() && topic.name == exchange.name;
        is_it.then_some((id, topic))
    }

    /// The topic of this name in a virtual host; without one, a topic whose name differs by case only.
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
        let by_id = &self.table.read().by_id;
        let entry = by_id.get(&topic);
        entry.map_or_else(Vec::new, |entry| {
            entry.subscriptions.values().cloned().collect()
        })
    }

    /// A subscription of this name; without one, a subscription whose name differs by case only.
    pub(crate) fn subscription(&self, topic: TopicId, name: &str) -> Option<Arc<Subscription>> {
        let by_id = &self.table.read().by_id;
        let subscriptions = &by_id.get(&topic)?.subscriptions;
        let alike = || {
            let mut all = subscriptions.values();
            all.find(|subscription| subscription.name.eq_ignore_ascii_case(name))
        };
        subscriptions.get(name).or_else(alike).cloned()
    }

    /// A topic with the subscription of this name.
    pub(crate) fn subscribed(&self, id: TopicId, name: &str) -> Option<Subscribed> {
        let by_id = &self.table.read().by_id;
        let entry = by_id.get(&id)?;
        Some(Subscribed {
            id,
            topic: entry.topic.clone(),
            subscription: entry.subscriptions.get(name)?.clone(),
        })
    }

    pub(crate) fn all(&self) -> Vec<(TopicId, Arc<Topic>)> {
        let by_id = &self.table.read().by_id;
        by_id
            .iter()
            .map(|(id, entry)| (*id, entry.topic.clone()))
            .collect()
    }

    pub(crate) fn all_subscriptions(&self) -> Vec<Subscribed> {
        let by_id = &self.table.read().by_id;
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
        let by_id = &self.table.read().by_id;
        let ids = by_id.iter().flat_map(|(id, entry)| {
            let subscriptions = entry.subscriptions.values();
            subscriptions
                .map(|subscription| subscription.id)
                .chain([id.0])
        });
        ids.max().unwrap_or(0)
    }

    /// Changes with every change of a subscription.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Adds a topic or changes its attributes.
    pub(crate) fn put(&self, id: TopicId, topic: Topic) -> Proposal {
        self.table.propose(vec![Change::PutTopic(id, topic)])
    }

    /// Removes a topic with its subscriptions.
    pub(crate) fn remove(&self, id: TopicId) -> Proposal {
        let changes = self.table.read().removal(id);
        self.table.propose(changes)
    }

    /// Adds a subscription or changes it.
    pub(crate) fn put_subscription(&self, topic: TopicId, subscription: Subscription) -> Proposal {
        let put = Change::PutSubscription(topic, subscription);
        self.table.propose(vec![put])
    }

    pub(crate) fn remove_subscription(
        &self,
        topic: TopicId,
        subscription: &Arc<Subscription>,
    ) -> Proposal {
        let remove = Change::RemoveSubscription(topic, Arc::clone(subscription));
        self.table.propose(vec![remove])
    }
}
