//! The consumers of one queue: who may be given the next message. Higher priority first, round robin
//! among equals, only while there is credit. Knows no message and no socket.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::broker::queue::channel_limiter::ChannelLimiter;
use crate::broker::queue::consumer::{
    ConsumeError, Consumer, ConsumerInfo, Credit, NewConsumer, Place,
};
use crate::model::{ConsumerId, QueueId};

use super::single_active::SingleActive;

/// Stands in a ring for all those who wait with a receive of their own; no consumer has this id.
pub(in crate::broker::queue) const WAITERS: ConsumerId = ConsumerId(0);

/// All consumers of a queue.
pub(in crate::broker::queue) struct Consumers {
    queue: QueueId,
    /// By id: in order of registration. Of consumers that register together the lower id counts as the first.
    all: Vec<Consumer>,
    /// Those that may be served, per priority; a ring holds only consumers that had credit when they were
    /// put in, so that a thousand idle consumers cost nothing.
    rings: BTreeMap<Reverse<i32>, VecDeque<ConsumerId>>,
    /// Somebody waits with a receive of his own: [`WAITERS`] stands in the ring of priority 0.
    waiting: bool,
    /// Those that their channel's limiter refused.
    limited: Vec<ConsumerId>,
    /// The limiter whose consumers may be served now, and how often they still may be.
    share: Option<(Arc<ChannelLimiter>, u32)>,
    /// `Some` on queues with `x-single-active-consumer`.
    single_active: Option<SingleActive>,
    /// Quorum queues know no exclusive consumers.
    is_quorum: bool,
    exclusive: bool,
}

impl Consumers {
    pub(in crate::broker::queue) fn new(
        queue: QueueId,
        single_active: bool,
        is_quorum: bool,
    ) -> Self {
        Consumers {
            queue,
            all: Vec::new(),
            rings: BTreeMap::new(),
            waiting: false,
            limited: Vec::new(),
            share: None,
            single_active: single_active.then(|| SingleActive::new(is_quorum)),
            is_quorum,
            exclusive: false,
        }
    }

    pub(in crate::broker::queue) fn len(&self) -> usize {
        self.all.len()
    }

    pub(in crate::broker::queue) fn add(&mut self, new: NewConsumer) -> Result<(), ConsumeError> {
        // An exclusive consumer and a single active one exclude each other; quorum queues take no notice of the flag.
        let exclusive = new.exclusive && !self.is_quorum;
        let refused = self.single_active.is_some() || !self.all.is_empty();
        if self.exclusive || (exclusive && refused) {
            return Err(ConsumeError::ExclusiveUse);
        }
        self.exclusive = exclusive;
        let id = new.id;
        let index = self.all.partition_point(|consumer| consumer.id() < id);
        self.all.insert(index, Consumer::new(new));
        if let Some(single) = &mut self.single_active {
            single.came();
            self.elect();
        }
        self.enter_ring(id);
        Ok(())
    }

    /// These are given nothing any more. They keep their places, so that nobody takes over from one of them, until
    /// they are removed.
    pub(in crate::broker::queue) fn halt(&mut self, ids: &[ConsumerId]) {
        for id in ids {
            self.leave_ring(*id);
            if let Some(consumer) = self.get_mut(*id) {
                consumer.place = Place::Halted;
            }
        }
    }

    /// Takes consumers out; how many were there. Who is active instead of one of them [`Consumers::elect`] says, when
    /// what they held is back.
    pub(in crate::broker::queue) fn remove(&mut self, ids: &[ConsumerId]) -> usize {
        self.halt(ids);
        let ids: BTreeSet<ConsumerId> = ids.iter().copied().collect();
        self.limited.retain(|id| !ids.contains(id));
        let before = self.all.len();
        self.all.retain(|consumer| {
            let leaves = ids.contains(&consumer.id());
            self.exclusive &= !(leaves && consumer.new.exclusive);
            !leaves
        });
        if let Some(single) = &mut self.single_active {
            ids.into_iter().for_each(|id| single.left(id));
        }
        before - self.all.len()
    }

    /// With a single active consumer: chooses who that is, if it may have changed.
    pub(in crate::broker::queue) fn elect(&mut self) {
        let Some(single) = self
            .single_active
            .as_mut()
            .filter(|single| single.is_unsettled())
        else {
            return;
        };
        let served = single.served();
        let consumers = self.all.iter();
        single.elect(consumers.map(|consumer| (consumer.id(), consumer.new.priority)));
        let serves = single.served();
        if served != serves {
            served.into_iter().for_each(|id| self.leave_ring(id));
            serves.into_iter().for_each(|id| self.enter_ring(id));
        }
    }

    /// Of a queue with a single active consumer: what is to be told of leases.
    pub(in crate::broker::queue) fn single_active(&mut self) -> Option<&mut SingleActive> {
        self.single_active.as_mut()
    }

    /// Adds credit.
    pub(in crate::broker::queue) fn grant(&mut self, id: ConsumerId, credit: Credit) {
        if let Some(consumer) = self.get_mut(id) {
            consumer.grant(credit);
            self.enter_ring(id);
        }
    }

    /// A channel's limiter has room again: until [`Consumers::end_share`] its consumers may be served so often.
    pub(in crate::broker::queue) fn poke(&mut self, limiter: &Arc<ChannelLimiter>, share: u32) {
        self.share = Some((Arc::clone(limiter), share));
        for id in std::mem::take(&mut self.limited) {
            let Some(consumer) = self.get_mut(id) else {
                continue;
            };
            if consumer.is_limited_by(limiter) {
                consumer.place = Place::Out;
                self.enter_ring(id);
            } else {
                self.limited.push(id);
            }
        }
    }

    /// Ends what [`Consumers::poke`] began.
    pub(in crate::broker::queue) fn end_share(&mut self) {
        self.share = None;
    }

    /// Whether anybody may be served, their channels' limiters aside.
    pub(in crate::broker::queue) fn any_runnable(&self) -> bool {
        !self.rings.is_empty()
    }

    /// Whether somebody waits with a receive of his own. They are served in turn with consumers of priority 0.
    pub(in crate::broker::queue) fn set_waiting(&mut self, waiting: bool) {
        if std::mem::replace(&mut self.waiting, waiting) == waiting {
            return;
        }
        let ring = self.rings.entry(Reverse(0)).or_default();
        if waiting {
            ring.push_back(WAITERS);
        } else {
            ring.retain(|other| *other != WAITERS);
            if ring.is_empty() {
                self.rings.remove(&Reverse(0));
            }
        }
    }

    /// Chooses who gets a message and puts it at the back of its ring; the caller then calls [`Consumers::charge`], or
    /// serves one of the [`WAITERS`].
    pub(in crate::broker::queue) fn next(&mut self) -> Option<ConsumerId> {
        loop {
            let mut entry = self.rings.first_entry()?;
            let ring = entry.get_mut();
            let Some(id) = ring.pop_front() else {
                entry.remove();
                continue;
            };
            ring.push_back(id);
            if id == WAITERS {
                return Some(id);
            }
            let consumer = self.index(id).and_then(|index| self.all.get(index))?;
            if !consumer.has_credit() {
                self.leave_ring(id);
                continue;
            }
            if admits(&mut self.share, self.queue, consumer) {
                return Some(id);
            }
            self.leave_ring(id);
            if let Some(consumer) = self.get_mut(id) {
                consumer.place = Place::Limited;
                self.limited.push(id);
            }
        }
    }

    /// Takes one message of `size` bytes from the consumer's credit and returns the consumer.
    pub(in crate::broker::queue) fn charge(
        &mut self,
        id: ConsumerId,
        size: usize,
    ) -> Option<&mut Consumer> {
        let index = self.index(id)?;
        let consumer = self.all.get_mut(index)?;
        consumer.charge(size);
        if !consumer.has_credit() {
            self.leave_ring(id);
        }
        self.all.get_mut(index)
    }

    pub(in crate::broker::queue) fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        let index = self.index(id)?;
        self.all.get_mut(index)
    }

    /// Everybody leaves.
    pub(in crate::broker::queue) fn drain(&mut self) -> Vec<Consumer> {
        self.rings.clear();
        self.waiting = false;
        self.limited.clear();
        self.exclusive = false;
        if let Some(single) = &mut self.single_active {
            single.clear();
        }
        std::mem::take(&mut self.all)
    }

    /// For listings.
    pub(in crate::broker::queue) fn infos(&self) -> Vec<ConsumerInfo> {
        let active = self.single_active.as_ref().map(SingleActive::active);
        let is_active = |id| active.is_none_or(|active| active == Some(id));
        self.all
            .iter()
            .map(|consumer| consumer.info(is_active(consumer.id())))
            .collect()
    }

    fn index(&self, id: ConsumerId) -> Option<usize> {
        self.all.binary_search_by_key(&id, Consumer::id).ok()
    }

    fn may_be_served(&self, id: ConsumerId) -> bool {
        self.single_active
            .as_ref()
            .is_none_or(|single| single.served() == Some(id))
    }

    fn enter_ring(&mut self, id: ConsumerId) {
        let servable = self.may_be_served(id);
        let Some(consumer) = self.get_mut(id) else {
            return;
        };
        if consumer.place != Place::Out || !servable || !consumer.has_credit() {
            return;
        }
        consumer.place = Place::Ring;
        let priority = consumer.new.priority;
        self.rings
            .entry(Reverse(priority))
            .or_default()
            .push_back(id);
    }

    fn leave_ring(&mut self, id: ConsumerId) {
        let Some(consumer) = self
            .get_mut(id)
            .filter(|consumer| consumer.place == Place::Ring)
        else {
            return;
        };
        consumer.place = Place::Out;
        let priority = Reverse(consumer.new.priority);
        if let Some(ring) = self.rings.get_mut(&priority) {
            // The consumer just served is at the back: the usual case costs one comparison.
            if ring.back() == Some(&id) {
                ring.pop_back();
            } else {
                ring.retain(|other| *other != id);
            }
            if ring.is_empty() {
                self.rings.remove(&priority);
            }
        }
    }
}

/// Whether the channel's limiter lets the queue deliver to its consumer, within its `share`.
fn admits(
    share: &mut Option<(Arc<ChannelLimiter>, u32)>,
    queue: QueueId,
    consumer: &Consumer,
) -> bool {
    let Some(limiter) = &consumer.new.limiter else {
        return true;
    };
    if let Some((_, left)) = share
        .as_mut()
        .filter(|(shared, _)| Arc::ptr_eq(shared, limiter))
    {
        let Some(less) = left.checked_sub(1) else {
            limiter.wait(queue);
            return false;
        };
        *left = less;
    }
    limiter.admit(!consumer.new.no_ack, queue)
}
