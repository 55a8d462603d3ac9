//! The consumers of one queue: who may be given the next message. Higher priority first, round robin
//! among equals, only while there is credit. Knows no message and no socket.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::clock::Moment;
use crate::model::stream::StreamStart;
use crate::model::{ConnectionId, ConsumerId, Lease, Message, Name, QueueId};

use super::limiter::ChannelLimiter;
use super::single_active::SingleActive;

/// Stands in a ring for all those who wait with a receive of their own; no consumer has this id.
pub(super) const WAITERS: ConsumerId = ConsumerId(0);

/// How much a consumer may still be sent. A delivery needs both parts above zero, so the last one may
/// overdraw the bytes by one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// Messages.
    pub messages: u32,
    /// Bytes of properties and body.
    pub bytes: u64,
}

/// A message on its way to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub consumer: ConsumerId,
    /// What settles it.
    pub lease: Lease,
    /// The message.
    pub message: Arc<Message>,
    /// It was handed out before.
    pub redelivered: bool,
    /// How often it came back before (the `x-delivery-count` of quorum queues).
    pub delivery_count: u32,
    /// When it was enqueued; told by queues that keep what was acked.
    pub enqueued: Option<Moment>,
    /// Its number among what the queue hands out in one turn.
    pub order: u32,
}

/// Where deliveries go: a connection's outbox. Called under the queue's lock, so it only stores and wakes.
pub trait DeliverySink: Send + Sync {
    /// Takes all deliveries out of `run`.
    fn deliver(&self, run: &mut Vec<Delivery>);
    /// The consumer is gone because its queue is.
    fn cancelled(&self, consumer: ConsumerId);
}

/// What is needed to register a consumer.
pub struct NewConsumer {
    pub id: ConsumerId,
    /// The consumer tag, for listings.
    pub tag: Name,
    /// Where deliveries go.
    pub sink: Arc<dyn DeliverySink>,
    /// Deliveries are settled as they leave.
    pub no_ack: bool,
    /// Nobody else may consume.
    pub exclusive: bool,
    /// `x-priority`; higher is served first.
    pub priority: i32,
    /// What may be sent at once.
    pub credit: Credit,
    /// How long it may keep a message, in milliseconds; `None` is as long as the queue says.
    pub visibility_timeout_ms: Option<u64>,
    /// The channel's shared limit, if it has one.
    pub limiter: Option<Arc<ChannelLimiter>>,
    /// Where in a stream it begins, and what it wants of it; work queues take no notice.
    pub stream: Option<StreamStart>,
    /// The prefetch count, for listings.
    pub prefetch_count: u16,
    /// The arguments of basic.consume, for listings.
    pub arguments: FieldTable,
    /// The connection it belongs to.
    pub connection: ConnectionId,
    /// The channel's number, for listings.
    pub channel: u16,
}

/// Why a consumer was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// There is an exclusive consumer, or exclusivity was asked for and there is any consumer.
    #[error("in exclusive use")]
    ExclusiveUse,
    /// The queue has been deleted.
    #[error("the queue is gone")]
    Gone,
}

/// A consumer as listings show it.
#[derive(Clone, Debug)]
pub struct ConsumerInfo {
    /// Its tag.
    pub tag: Name,
    /// Its connection.
    pub connection: ConnectionId,
    /// Its channel's number.
    pub channel: u16,
    /// Whether deliveries must be acked.
    pub ack_required: bool,
    /// Whether it is an exclusive consumer.
    pub exclusive: bool,
    /// Its prefetch count; 0 is no limit.
    pub prefetch_count: u16,
    /// Whether it is given messages (false for those that wait behind a single active consumer).
    pub active: bool,
    /// The arguments of basic.consume.
    pub arguments: FieldTable,
}

/// A registered consumer.
pub(super) struct Consumer {
    pub(super) new: NewConsumer,
    /// Deliveries of the current turn, handed to the sink at its end.
    pub(super) pending: Vec<Delivery>,
    /// What may still be sent; bytes below zero are an overdraft.
    messages: u32,
    bytes: i64,
    place: Place,
}

/// Where a consumer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It has no credit, or is not the one that is served.
    Out,
    /// In its priority's ring.
    Ring,
    /// Its channel's limiter refused it; it waits for [`Consumers::poke`].
    Limited,
    /// It leaves, and is given nothing any more.
    Halted,
}

impl Consumer {
    pub(super) fn new(new: NewConsumer) -> Consumer {
        let credit = new.credit;
        Consumer {
            new,
            pending: Vec::new(),
            messages: credit.messages,
            bytes: signed(credit.bytes),
            place: Place::Out,
        }
    }

    pub(super) fn id(&self) -> ConsumerId {
        self.new.id
    }

    pub(super) fn has_credit(&self) -> bool {
        self.messages > 0 && self.bytes > 0
    }

    /// Adds credit.
    pub(super) fn grant(&mut self, credit: Credit) {
        self.messages = self.messages.saturating_add(credit.messages);
        self.bytes = self.bytes.saturating_add(signed(credit.bytes));
    }

    /// Takes one message of `size` bytes from the credit.
    pub(super) fn charge(&mut self, size: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(signed(size as u64));
    }

    fn is_limited_by(&self, limiter: &Arc<ChannelLimiter>) -> bool {
        self.new
            .limiter
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, limiter))
    }

    /// For listings.
    pub(super) fn info(&self, active: bool) -> ConsumerInfo {
        ConsumerInfo {
            tag: self.new.tag.clone(),
            connection: self.new.connection,
            channel: self.new.channel,
            ack_required: !self.new.no_ack,
            exclusive: self.new.exclusive,
            prefetch_count: self.new.prefetch_count,
            active,
            arguments: self.new.arguments.clone(),
        }
    }
}

/// All consumers of a queue.
pub(super) struct Consumers {
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
    pub(super) fn new(queue: QueueId, single_active: bool, is_quorum: bool) -> Self {
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

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn add(&mut self, new: NewConsumer) -> Result<(), ConsumeError> {
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
    pub(super) fn halt(&mut self, ids: &[ConsumerId]) {
        for id in ids {
            self.leave_ring(*id);
            if let Some(consumer) = self.get_mut(*id) {
                consumer.place = Place::Halted;
            }
        }
    }

    /// Takes consumers out; how many were there. Who is active instead of one of them [`Consumers::elect`] says, when
    /// what they held is back.
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
        if let Some(single) = &mut self.single_active {
            ids.into_iter().for_each(|id| single.left(id));
        }
        before - self.all.len()
    }

    /// With a single active consumer: chooses who that is, if it may have changed.
    pub(super) fn elect(&mut self) {
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
    pub(super) fn single_active(&mut self) -> Option<&mut SingleActive> {
        self.single_active.as_mut()
    }

    /// Adds credit.
    pub(super) fn grant(&mut self, id: ConsumerId, credit: Credit) {
        if let Some(consumer) = self.get_mut(id) {
            consumer.grant(credit);
            self.enter_ring(id);
        }
    }

    /// A channel's limiter has room again: until [`Consumers::end_share`] its consumers may be served so often.
    pub(super) fn poke(&mut self, limiter: &Arc<ChannelLimiter>, share: u32) {
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
    pub(super) fn end_share(&mut self) {
        self.share = None;
    }

    /// Whether anybody may be served, their channels' limiters aside.
    pub(super) fn any_runnable(&self) -> bool {
        !self.rings.is_empty()
    }

    /// Whether somebody waits with a receive of his own. They are served in turn with consumers of priority 0.
    pub(super) fn set_waiting(&mut self, waiting: bool) {
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
    pub(super) fn next(&mut self) -> Option<ConsumerId> {
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

    /// Everybody leaves.
    pub(super) fn drain(&mut self) -> Vec<Consumer> {
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

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
