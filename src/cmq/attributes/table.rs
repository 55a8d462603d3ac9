//! The attributes of all queues in memory, their records, and each change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::attribute_set::Attributes;
use crate::broker::definitions::Kind;
use crate::broker::definitions::proposal::Proposal;
use crate::broker::definitions::record::{DefinitionError, Identity, Record, Records};
use crate::broker::definitions::table::{Live, Table};
use crate::broker::queue::Queue;
use crate::cmq::config::CmqConfig;
use crate::model::QueueId;
use crate::store::Store;

/// The attributes of all queues that were created or changed through the API. The API's `changes` lock keeps
/// contradicting changes apart.
#[derive(Debug)]
pub(crate) struct AllAttributes(Live<ByQueue>);

#[derive(Debug, Default)]
struct ByQueue(HashMap<QueueId, Arc<Attributes>>);

enum Change {
    Put(QueueId, Arc<Attributes>),
    /// Of a transient queue: not stored.
    PutTransient(QueueId, Arc<Attributes>),
    Remove(QueueId),
}

struct AttributesRecord {
    queue: QueueId,
    attributes: Attributes,
}

impl Record for AttributesRecord {
    const KIND: Kind = Kind::CmqQueue;
    type Value = Attributes;

    fn identity(&self) -> Identity {
        Identity::of_ids(&[self.queue.0])
    }

    fn value(&self) -> &Attributes {
        &self.attributes
    }

    fn from_parts(identity: &[u8], attributes: Attributes) -> Option<AttributesRecord> {
        let queue = QueueId(u64::from_be_bytes(identity.try_into().ok()?));
        Some(AttributesRecord { queue, attributes })
    }
}

impl Table for ByQueue {
    type Change = Change;

    fn write(change: &Change, records: &mut Records) {
        match change {
            Change::Put(queue, attributes) => records.put(&AttributesRecord {
                queue: *queue,
                attributes: Attributes::clone(attributes),
            }),
            Change::PutTransient(..) => {}
            Change::Remove(queue) => {
                records.remove(Kind::CmqQueue, &Identity::of_ids(&[queue.0]));
            }
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put(queue, attributes) | Change::PutTransient(queue, attributes) => {
                self.0.insert(queue, attributes)
            }
            Change::Remove(queue) => self.0.remove(&queue),
        };
    }
}

impl AllAttributes {
    pub(crate) fn load(store: &dyn Store) -> Result<AllAttributes, DefinitionError> {
        let mut by_queue = ByQueue::default();
        for AttributesRecord { queue, attributes } in AttributesRecord::load(store)? {
            by_queue.apply(Change::Put(queue, Arc::new(attributes)));
        }
        Ok(AllAttributes(Live::new(by_queue)))
    }

    /// The attributes of a queue; those of its arguments if it has none of its own.
    pub(crate) fn of(&self, queue: &Queue, config: &CmqConfig) -> Arc<Attributes> {
        let own = self.0.read().0.get(&queue.id()).cloned();
        own.unwrap_or_else(|| Arc::new(Attributes::of_arguments(&queue.spec().arguments, config)))
    }

    /// Sets the attributes of a durable queue.
    pub(crate) fn put(&self, queue: QueueId, attributes: Attributes) -> Proposal {
        self.0
            .propose(vec![Change::Put(queue, Arc::new(attributes))])
    }

    /// Sets the attributes of a transient queue.
    pub(crate) fn put_transient(&self, queue: QueueId, attributes: Attributes) -> Proposal {
        let put = Change::PutTransient(queue, Arc::new(attributes));
        self.0.propose(vec![put])
    }

    /// Forgets the attributes of a queue.
    pub(crate) fn remove(&self, queue: QueueId) -> Proposal {
        self.0.propose(vec![Change::Remove(queue)])
    }

    /// Forgets the attributes of queues that are not in `alive`: they were deleted over AMQP.
    pub(crate) fn tidy(&self, alive: &HashSet<QueueId>) -> Proposal {
        let queues: Vec<_> = self.0.read().0.keys().copied().collect();
        let gone = queues.into_iter().filter(|queue| !alive.contains(queue));
        self.0.propose(gone.map(Change::Remove).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Committer, Limits, MemoryStore};

    #[tokio::test]
    async fn attributes_come_back_and_go_with_their_queue() {
        let store = Arc::new(MemoryStore::new());
        let committer = Committer::start(store.clone(), Limits::default()).unwrap();
        let all = AllAttributes::load(&*store).unwrap();
        for id in [1, 2] {
            let put = all.put(QueueId(id), Attributes::new(id));
            put.commit(&committer).await.unwrap();
        }
        let transient = all.put_transient(QueueId(3), Attributes::new(3));
        transient.commit(&committer).await.unwrap();
        assert_eq!(all.0.read().0.len(), 3);
        let all = AllAttributes::load(&*store).unwrap();
        assert_eq!(all.0.read().0.len(), 2, "transient ones are not stored");
        let alive = HashSet::from([QueueId(2)]);
        all.tidy(&alive).commit(&committer).await.unwrap();
        for all in [all, AllAttributes::load(&*store).unwrap()] {
            assert_eq!(all.0.read().0.len(), 1);
            assert_eq!(*all.0.read().0[&QueueId(2)], Attributes::new(2));
        }
    }
}
