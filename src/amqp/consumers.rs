//! The consumers of one channel: found by tag for the client, by key for deliveries. Also the queues that the channel
//! has something from, as small handles, so that a ledger entry need not hold a queue.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::credit::Account;
use super::unacked::ConsumerRef;
use crate::broker::queue::Queue;
use crate::model::arguments::QueueKind;
use crate::model::{ConsumerId, Name, QueueId};

/// One consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// Its tag.
    pub(crate) tag: Name,
    /// Tells it from earlier and later owners of its slot.
    pub(crate) serial: u32,
    /// Deliveries need no answer.
    pub(crate) no_ack: bool,
    /// Where it consumes from; `None` for direct reply-to.
    pub(crate) source: Option<Source>,
    /// How much it may be sent.
    pub(crate) account: Account,
    /// It is on the list of those whose account has to be looked at.
    pub(crate) touched: bool,
    /// `x-consumer-timeout` of its own, in milliseconds.
    pub(crate) timeout_ms: Option<u64>,
}

/// The queue of a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// Handle of the queue.
    pub(crate) queue: u32,
    /// The consumer's id there.
    pub(crate) id: ConsumerId,
    /// The queue's type.
    pub(crate) kind: QueueKind,
}

/// The table of a channel.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    slots: Vec<Option<Consumer>>,
    /// The slots by the tags of those in them.
    by_tag: HashMap<Name, u16>,
    /// Empty slots below the last one that is taken.
    free: BTreeSet<u16>,
}

impl Consumers {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_tag.len()
    }

    /// A free slot for one more; `None` when there are as many as a channel may have.
    pub(crate) fn free_slot(&self) -> Option<u16> {
        match self.free.first() {
            Some(slot) => Some(*slot),
            None => u16::try_from(self.slots.len())
                .ok()
                .filter(|slot| *slot < u16::MAX),
        }
    }

    /// Puts a consumer in a slot that [`Consumers::free_slot`] gave. No other has its tag.
    pub(crate) fn put(&mut self, slot: u16, consumer: Consumer) {
        self.by_tag.insert(Arc::clone(&consumer.tag), slot);
        if self.free.remove(&slot)
            && let Some(place) = self.slots.get_mut(usize::from(slot))
        {
            *place = Some(consumer);
        } else {
            self.slots.push(Some(consumer));
        }
    }

    /// The consumer that `reference` names, unless it has left.
    pub(crate) fn get_mut(&mut self, reference: ConsumerRef) -> Option<&mut Consumer> {
        let consumer = self.slots.get_mut(usize::from(reference.slot))?.as_mut()?;
        (consumer.serial == reference.serial).then_some(consumer)
    }

    /// The consumer that `reference` names, unless it has left.
    pub(crate) fn get(&self, reference: ConsumerRef) -> Option<&Consumer> {
        let consumer = self.slots.get(usize::from(reference.slot))?.as_ref()?;
        (consumer.serial == reference.serial).then_some(consumer)
    }

    /// The consumer with this tag.
    pub(crate) fn find(&self, tag: &str) -> Option<ConsumerRef> {
        let slot = *self.by_tag.get(tag)?;
        let consumer = self.slots.get(usize::from(slot))?.as_ref()?;
        Some(ConsumerRef {
            slot,
            serial: consumer.serial,
        })
    }

    /// Takes a consumer out.
    pub(crate) fn remove(&mut self, reference: ConsumerRef) -> Option<Consumer> {
        self.get_mut(reference)?;
        let consumer = self.slots.get_mut(usize::from(reference.slot))?.take()?;
        self.by_tag.remove(&consumer.tag);
        self.free.insert(reference.slot);
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
            self.free.pop_last();
        }
        Some(consumer)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConsumerRef, &Consumer)> {
        (0..).zip(&self.slots).filter_map(|(slot, consumer)| {
            consumer.as_ref().map(|consumer| {
                (
                    ConsumerRef {
                        slot,
                        serial: consumer.serial,
                    },
                    consumer,
                )
            })
        })
    }
}

/// A consumer's key as queues know it: channel, slot and serial in one number.
pub(crate) fn key(channel: u16, reference: ConsumerRef) -> u64 {
    u64::from(channel) << 48 | u64::from(reference.slot) << 32 | u64::from(reference.serial)
}

/// Undoes [`key`].
pub(crate) fn parts(key: u64) -> (u16, ConsumerRef) {
    let [c0, c1, s0, s1, n0, n1, n2, n3] = key.to_be_bytes();
    let reference = ConsumerRef {
        slot: u16::from_be_bytes([s0, s1]),
        serial: u32::from_be_bytes([n0, n1, n2, n3]),
    };
    (u16::from_be_bytes([c0, c1]), reference)
}

#[derive(Debug)]
struct Used {
    queue: Arc<Queue>,
    uses: usize,
}

/// The queues that a channel consumes from or has unanswered messages of.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    used: Vec<Option<Used>>,
}

impl Queues {
    /// The handle of `queue`, used once more.
    pub(crate) fn acquire(&mut self, queue: &Arc<Queue>) -> u32 {
        let known = |used: &Option<Used>| {
            used.as_ref()
                .is_some_and(|used| Arc::ptr_eq(&used.queue, queue))
        };
        let index = match self.used.iter().position(known) {
            Some(index) => index,
            None => {
                let index = self
                    .used
                    .iter()
                    .position(Option::is_none)
                    .unwrap_or(self.used.len());
                let fresh = Some(Used {
                    queue: Arc::clone(queue),
                    uses: 0,
                });
                match self.used.get_mut(index) {
                    Some(place) => *place = fresh,
                    None => self.used.push(fresh),
                }
                index
            }
        };
        let handle = u32::try_from(index).unwrap_or(u32::MAX);
        self.reuse(handle);
        handle
    }

    /// Uses a handle once more.
    pub(crate) fn reuse(&mut self, handle: u32) {
        if let Some(Some(used)) = self.used.get_mut(handle as usize) {
            used.uses += 1;
        }
    }

    /// Ends `uses` uses of a handle.
    pub(crate) fn release(&mut self, handle: u32, uses: usize) {
        let Some(place) = self.used.get_mut(handle as usize) else {
            return;
        };
        if let Some(used) = place {
            used.uses = used.uses.saturating_sub(uses);
            if used.uses == 0 {
                *place = None;
            }
        }
        while self.used.last().is_some_and(Option::is_none) {
            self.used.pop();
        }
    }

    /// The queue with this id, if it is one of them.
    pub(crate) fn find(&self, id: QueueId) -> Option<&Arc<Queue>> {
        self.used
            .iter()
            .flatten()
            .map(|used| &used.queue)
            .find(|queue| queue.id() == id)
    }

    /// The queue of a handle.
    pub(crate) fn get(&self, handle: u32) -> Option<&Arc<Queue>> {
        self.used
            .get(handle as usize)?
            .as_ref()
            .map(|used| &used.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::limits::CONSUMERS_PER_CHANNEL_MAX;

    fn consumer(tag: &str, serial: u32) -> Consumer {
        let account = Account::new(0, false);
        Consumer {
            tag: tag.into(),
            serial,
            no_ack: false,
            source: None,
            account,
            touched: false,
            timeout_ms: None,
        }
    }

    #[test]
    fn slots_are_used_again_but_not_mistaken() {
        let mut table = Consumers::default();
        for (serial, tag) in (1..).zip(["a", "b", "c"]) {
            let slot = table.free_slot().unwrap();
            table.put(slot, consumer(tag, serial));
        }
        let b = table.find("b").unwrap();
        assert_eq!(b, ConsumerRef { slot: 1, serial: 2 });
        assert_eq!(parts(key(7, b)), (7, b));
        assert!(table.remove(b).is_some());
        assert!(table.remove(b).is_none());
        table.put(table.free_slot().unwrap(), consumer("d", 9));
        assert!(table.get(b).is_none());
        assert_eq!(table.find("d"), Some(ConsumerRef { slot: 1, serial: 9 }));
        assert_eq!(table.len(), 3);
        assert_eq!(table.find("b"), None);
        // The last slots go with those in them; the first is taken next.
        for tag in ["a", "d", "c"] {
            assert!(table.remove(table.find(tag).unwrap()).is_some());
        }
        assert_eq!((table.len(), table.free_slot()), (0, Some(0)));
        table.put(0, consumer("e", 10));
        table.put(table.free_slot().unwrap(), consumer("f", 11));
        let order: Vec<_> = table.iter().map(|(_, found)| found.tag.clone()).collect();
        assert_eq!(order, ["e".into(), "f".into()]);
    }

    #[test]
    fn a_channel_has_room_for_as_many_as_its_limit_says() {
        let mut table = Consumers::default();
        for slot in 0..u16::MAX {
            table.put(slot, consumer(&slot.to_string(), u32::from(slot)));
            if usize::from(slot) + 2 == CONSUMERS_PER_CHANNEL_MAX {
                assert_eq!(table.free_slot(), Some(u16::MAX - 1));
            }
        }
        assert_eq!(table.len(), CONSUMERS_PER_CHANNEL_MAX);
        assert_eq!(table.free_slot(), None);
        let one = ConsumerRef { slot: 9, serial: 9 };
        assert!(table.remove(one).is_some());
        assert_eq!(table.free_slot(), Some(9));
    }
}
