//! Chooses the consumer that gets the next message: higher priority first, round robin among equals, only
//! consumers with credit. Knows no message and no socket.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::broker::queue::consumer::{
    ChannelLimit, ConsumeError, Consumer, ConsumerInfo, Credit, LimiterId, NewConsumer, Place,
};
use crate::broker::queue::effects::{Effect, Effects};
use crate::model::{ConsumerId, Lease};

use super::single_active::SingleActive;

/// Entry of a ring that stands for all waiting receives. No consumer has this id.
pub(super) const RECEIVES: ConsumerId = ConsumerId(0);

/// The receiver of the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Consumer(ConsumerId),
    /// The first waiting receive.
    Receives,
    /// The choice needs a permit, which the effects ask for.
    Paused,
    NoConsumer,
}

/// Whether a channel's limit allows a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permission {
    /// The limiter has not answered yet.
    Unknown,
    Granted,
    Refused,
}

pub(super) struct Consumers {
    /// Sorted by id, which is the order of registration. Of consumers that register together the lowest id is
    /// first.
    all: Vec<Consumer>,
    /// Consumers that may be served, by priority. A ring has only consumers with credit, so that a thousand idle
    /// consumers cost no time.
    rings: BTreeMap<Reverse<i32>, VecDeque<ConsumerId>>,
    /// Receives wait: [`RECEIVES`] is in the ring of priority 0.
    waiting: bool,
    /// Consumers that wait for a round of their channel's limiter.
    limited: Vec<ConsumerId>,
    /// The limiter that runs a round, and the messages left of the queue's share in it.
    share: Option<(LimiterId, u32)>,
    /// The answer for the consumer at the front of the first ring.
    permission: Permission,
    /// Leases that ended because their consumers did not answer in time, and have not answered since.
    unanswered: BTreeMap<Lease, ConsumerId>,
    /// `Some` on queues with `x-single-active-consumer`.
    single_active: Option<SingleActive>,
    /// Quorum queues ignore the `exclusive` flag of consumers.
    is_quorum: bool,
    exclusive: bool,
}

impl Consumers {
    pub(super) fn new(single_active: bool, is_quorum: bool) -> Self {
        Consumers {
            all: Vec::new(),
            rings: BTreeMap::new(),
            waiting: false,
            limited: Vec::new(),
            share: None,
            permission: Permission::Unknown,
            unanswered: BTreeMap::new(),
            single_active: single_active.then(|| SingleActive::new(is_quorum)),
            is_quorum,
            exclusive: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn add(
        &mut self,
        new: NewConsumer,
        limit: Option<ChannelLimit>,
    ) -> Result<(), ConsumeError> {
        // A queue with a single active consumer refuses exclusive consumers.
        let exclusive = new.exclusive && !self.is_quorum;
        let refused = self.single_active.is_some() || !self.all.is_empty();
        if self.exclusive || (exclusive && refused) {
            return Err(ConsumeError::ExclusiveUse);
        }
        self.exclusive = exclusive;
        let id = new.id;
        let index = self.all.partition_point(|consumer| consumer.id() < id);
        self.all.insert(index, Consumer::new(new, limit));
        if let Some(single) = &mut self.single_active {
            single.changed();
            self.elect();
        }
        self.enter_ring(id);
        Ok(())
    }

    /// Stops serving these consumers. They keep their places until they are removed, so that no other
    /// consumer takes over.
    pub(super) fn halt(&mut self, ids: &[ConsumerId]) {
        for id in ids {
            self.leave_ring(*id);
            if let Some(consumer) = self.get_mut(*id) {
                consumer.place = Place::Halted;
            }
        }
    }

    /// Removes consumers and returns their number. [`Consumers::elect`] chooses the next active consumer
    /// later, when their messages are back.
    pub(super) fn remove(&mut self, ids: &[ConsumerId]) -> usize {
        self.halt(ids);
        let ids: BTreeSet<ConsumerId> = ids.iter().copied().collect();
        self.limited.retain(|id| !ids.contains(id));
        let before = self.all.len();
        self.all.retain(|consumer| {
            let leaves = ids.contains(&consumer.id());
            self.exclusive &= !(leaves && consumer.new.exclusive);
            !leaves
        });
        self.unanswered.retain(|_, id| !ids.contains(id));
        if let Some(single) = &mut self.single_active {
            ids.into_iter().for_each(|id| single.left(id));
        }
        before - self.all.len()
    }

    /// Chooses the single active consumer, if it may have changed.
    pub(super) fn elect(&mut self) {
        let Some(single) = self
            .single_active
            .as_mut()
            .filter(|single| single.is_unsettled())
        else {
            return;
        };
        let served = single.served();
        let consumers = self.all.iter().filter(|it| it.place != Place::Late);
        single.elect(consumers.map(|consumer| (consumer.id(), consumer.new.priority)));
        let serves = single.served();
        if served != serves {
            served.into_iter().for_each(|id| self.leave_ring(id));
            serves.into_iter().for_each(|id| self.enter_ring(id));
        }
    }

    /// A consumer has not answered this delivery in time. It gets nothing more until it has.
    pub(super) fn leave_unanswered(&mut self, id: ConsumerId, lease: Lease) {
        self.leave_ring(id);
        let Some(consumer) = self.get_mut(id) else {
            return;
        };
        if consumer.place == Place::Out {
            consumer.place = Place::Late;
        }
        consumer.unanswered += 1;
        self.unanswered.insert(lease, id);
        if let Some(single) = &mut self.single_active {
            single.answered(lease);
            single.changed();
        }
    }

    /// Notes that a lease was acknowledged, in time or not, or has ended with its channel.
    pub(super) fn answered(&mut self, lease: Lease) {
        if let Some(single) = &mut self.single_active {
            single.answered(lease);
        }
        if self.unanswered.is_empty() {
            return;
        }
        let Some(id) = self.unanswered.remove(&lease) else {
            return;
        };
        let Some(consumer) = self.get_mut(id) else {
            return;
        };
        consumer.unanswered -= 1;
        if consumer.unanswered == 0 && consumer.place == Place::Late {
            consumer.place = Place::Out;
            if let Some(single) = &mut self.single_active {
                single.changed();
            }
            self.enter_ring(id);
        }
    }

    /// The state of a single active consumer, which follows the leases.
    pub(super) fn single_active(&mut self) -> Option<&mut SingleActive> {
        self.single_active.as_mut()
    }

    pub(super) fn grant(&mut self, id: ConsumerId, credit: Credit) {
        if let Some(consumer) = self.get_mut(id) {
            consumer.grant(credit);
            self.enter_ring(id);
        }
    }

    /// A channel's limiter has room again: its consumers may get `share` messages until
    /// [`Consumers::end_share`].
    pub(super) fn poke(&mut self, limiter: LimiterId, share: u32) {
        self.share = Some((limiter, share));
        self.end_waiting(limiter);
    }

    fn end_waiting(&mut self, limiter: LimiterId) {
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

    /// Ends the round that [`Consumers::poke`] began.
    pub(super) fn end_share(&mut self) {
        self.share = None;
    }

    /// Whether a consumer or a receive may be served, apart from channel limits.
    pub(super) fn any_runnable(&self) -> bool {
        !self.rings.is_empty()
    }

    /// Sets whether receives wait. They share the ring of consumers of priority 0.
    pub(super) fn set_waiting(&mut self, waiting: bool) {
        if std::mem::replace(&mut self.waiting, waiting) == waiting {
            return;
        }
        let ring = self.rings.entry(Reverse(0)).or_default();
        if waiting {
            ring.push_back(RECEIVES);
        } else {
            ring.retain(|other| *other != RECEIVES);
            if ring.is_empty() {
                self.rings.remove(&Reverse(0));
            }
        }
    }

    /// Chooses the consumer of the next message and moves it to the back of its ring. The caller then calls
    /// [`Consumers::charge`], or serves a waiting receive.
    pub(super) fn next(&mut self, fx: &mut Effects) -> Choice {
        loop {
            let Some(mut entry) = self.rings.first_entry() else {
                return Choice::NoConsumer;
            };
            let ring = entry.get_mut();
            let Some(id) = ring.pop_front() else {
                entry.remove();
                continue;
            };
            ring.push_back(id);
            if id == RECEIVES {
                return Choice::Receives;
            }
            let Some(consumer) = self.index(id).and_then(|index| self.all.get(index)) else {
                return Choice::NoConsumer;
            };
            if !consumer.has_credit() {
                self.leave_ring(id);
                continue;
            }
            match self.may_deliver(id, consumer.limiter(), fx) {
                Permission::Granted => return Choice::Consumer(id),
                Permission::Refused => self.wait_for_round(id),
                Permission::Unknown => {
                    // This consumer must still be next when the permit is answered.
                    self.back_to_front(id);
                    fx.permit = Some(id);
                    return Choice::Paused;
                }
            }
        }
    }

    /// Whether the channel's limit and the queue's share of it allow a delivery to this consumer.
    fn may_deliver(
        &mut self,
        id: ConsumerId,
        limiter: Option<LimiterId>,
        fx: &mut Effects,
    ) -> Permission {
        let Some(limiter) = limiter else {
            return Permission::Granted;
        };
        let share = self.share.as_mut().filter(|(shared, _)| *shared == limiter);
        if let Some((_, 0)) = share {
            fx.push(Effect::AwaitRound(id));
            return Permission::Refused;
        }
        let permission = std::mem::replace(&mut self.permission, Permission::Unknown);
        if permission == Permission::Granted
            && let Some((_, left)) = share
        {
            *left -= 1;
        }
        permission
    }

    fn wait_for_round(&mut self, id: ConsumerId) {
        self.leave_ring(id);
        if let Some(consumer) = self.get_mut(id) {
            consumer.place = Place::Limited;
            self.limited.push(id);
        }
    }

    fn back_to_front(&mut self, id: ConsumerId) {
        if let Some(mut entry) = self.rings.first_entry()
            && entry.get_mut().pop_back_if(|back| *back == id).is_some()
        {
            entry.get_mut().push_front(id);
        }
    }

    /// Sets the answer for the consumer that is next.
    pub(super) fn permit(&mut self, is_granted: bool) {
        self.permission = match is_granted {
            true => Permission::Granted,
            false => Permission::Refused,
        };
    }

    /// Notes that the limit of a channel was set or removed. Without a limit its consumers need not wait for
    /// a round.
    pub(super) fn limit(&mut self, limit: ChannelLimit) {
        for consumer in &mut self.all {
            if consumer.is_limited_by(limit.limiter) {
                consumer.limit = Some(limit);
            }
        }
        if !limit.is_set {
            self.end_waiting(limit.limiter);
        }
    }

    /// Takes one message of `size` bytes from the consumer's credit and returns the consumer.
    pub(super) fn charge(&mut self, id: ConsumerId, size: usize) -> Option<&mut Consumer> {
        let index = self.index(id)?;
        let consumer = self.all.get_mut(index)?;
        consumer.charge(size);
        if !consumer.has_credit() {
            self.leave_ring(id);
        }
        self.all.get_mut(index)
    }

    pub(super) fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        let index = self.index(id)?;
        self.all.get_mut(index)
    }

    pub(super) fn clear(&mut self) {
        self.rings.clear();
        self.waiting = false;
        self.limited.clear();
        self.unanswered.clear();
        self.exclusive = false;
        if let Some(single) = &mut self.single_active {
            single.clear();
        }
        self.all.clear();
    }

    pub(super) fn infos(&self) -> Vec<ConsumerInfo> {
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
            // Usually the consumer was just served and is at the back: one comparison.
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
