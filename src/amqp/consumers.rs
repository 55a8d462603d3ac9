//! The consumers of one channel, found by tag for the client and by id for deliveries, and the channels that
//! the consumers of a connection are on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::credit::Account;
use super::queue_handles::QueueHandle;
use crate::model::arguments::QueueKind;
use crate::model::{ConsumerId, Name};

#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) tag: Name,
    /// Deliveries need no acknowledgement.
    pub(crate) no_ack: bool,
    /// Where it consumes from; `None` for direct reply-to.
    pub(crate) source: Option<Source>,
    pub(crate) account: Account,
    /// It is on the channel's list of consumers whose account has changed.
    pub(crate) touched: bool,
    /// Its own `x-consumer-timeout` or, of a quorum queue, that of the queue when it began; in milliseconds.
    pub(crate) timeout_ms: Option<u64>,
}

/// The queue of a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) queue: QueueHandle,
    pub(crate) kind: QueueKind,
}

/// The consumers of a channel, in order of registration.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    by_id: BTreeMap<ConsumerId, Consumer>,
    by_tag: HashMap<Name, ConsumerId>,
}

impl Consumers {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Adds a consumer. No other of the channel has its tag.
    pub(crate) fn insert(&mut self, id: ConsumerId, consumer: Consumer) {
        self.by_tag.insert(Arc::clone(&consumer.tag), id);
        self.by_id.insert(id, consumer);
    }

    pub(crate) fn get(&self, id: ConsumerId) -> Option<&Consumer> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        self.by_id.get_mut(&id)
    }

    /// The consumer with this tag.
    pub(crate) fn find(&self, tag: &str) -> Option<ConsumerId> {
        self.by_tag.get(tag).copied()
    }

    pub(crate) fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let consumer = self.by_id.remove(&id)?;
        self.by_tag.remove(&consumer.tag);
        Some(consumer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        self.by_id.iter().map(|(id, consumer)| (*id, consumer))
    }
}

/// The channels that the consumers of a connection are on.
#[derive(Debug, Default)]
pub(crate) struct ConsumerChannels {
    by_consumer: BTreeMap<ConsumerId, u16>,
    /// The latest lookup, since consecutive deliveries are often of one consumer.
    last: Option<(ConsumerId, u16)>,
}

impl ConsumerChannels {
    /// Number of consumers of the connection.
    pub(crate) fn len(&self) -> usize {
        self.by_consumer.len()
    }

    pub(crate) fn insert(&mut self, id: ConsumerId, channel: u16) {
        self.by_consumer.insert(id, channel);
    }

    pub(crate) fn remove(&mut self, id: ConsumerId) {
        self.by_consumer.remove(&id);
        self.last = None;
    }

    /// The channel of a consumer, unless it has left.
    pub(crate) fn find(&mut self, id: ConsumerId) -> Option<u16> {
        match self.last {
            Some((last, channel)) if last == id => Some(channel),
            Some(_) | None => {
                let channel = *self.by_consumer.get(&id)?;
                self.last = Some((id, channel));
                Some(channel)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(tag: &str) -> Consumer {
        Consumer {
            tag: tag.into(),
            no_ack: false,
            source: None,
            account: Account::new(0, false),
            touched: false,
            timeout_ms: None,
        }
    }

    #[test]
    fn consumers_are_found_by_tag_and_id_until_they_leave() {
        let mut consumers = Consumers::default();
        for (id, tag) in (1..).zip(["a", "b", "c"]) {
            consumers.insert(ConsumerId(id), consumer(tag));
        }
        let b = ConsumerId(2);
        assert_eq!(consumers.find("b"), Some(b));
        assert!(consumers.remove(b).is_some());
        assert!(consumers.remove(b).is_none());
        assert!(consumers.get(b).is_none() && consumers.find("b").is_none());
        // A tag can be used again.
        consumers.insert(ConsumerId(9), consumer("b"));
        assert_eq!(consumers.find("b"), Some(ConsumerId(9)));
        assert_eq!(consumers.len(), 3);
        let order: Vec<u64> = consumers.iter().map(|(id, _)| id.0).collect();
        assert_eq!(order, [1, 3, 9]);
    }

    #[test]
    fn the_channel_of_a_consumer_is_known_until_it_leaves() {
        let mut channels = ConsumerChannels::default();
        channels.insert(ConsumerId(1), 7);
        channels.insert(ConsumerId(2), 8);
        for (id, expected) in [(1, Some(7)), (1, Some(7)), (2, Some(8)), (3, None)] {
            assert_eq!(channels.find(ConsumerId(id)), expected);
        }
        channels.remove(ConsumerId(2));
        assert_eq!(channels.find(ConsumerId(2)), None);
        assert_eq!(channels.len(), 1);
    }
}
