//! The consumers of one queue: who may be given the next message. Higher priority first, round robin
//! among equals, only while there is credit. Knows no message and no socket.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use amq_protocol::types::FieldTable;

use crate::clock::Moment;
use crate::model::stream::StreamStart;
use crate::model::{ConnectionId, ConsumerId, Lease, Message, Name};

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

/// The prefetch limit that all consumers of a channel share (`basic.qos` with `global`).
#[derive(Debug)]
pub struct ChannelLimiter {
    free: AtomicI64,
}

impl ChannelLimiter {
    /// A limiter with `limit` messages to give.
    pub fn new(limit: i64) -> Self {
        ChannelLimiter {
            free: AtomicI64::new(limit),
        }
    }

    /// Takes one message's place, if there is one.
    pub fn try_take(&self) -> bool {
        self.free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| {
                (free > 0).then_some(free - 1)
            })
            .is_ok()
    }

    /// Gives `n` places back (or, negative, takes them: the limit was lowered or messages were already out).
    pub fn give_back(&self, n: i64) {
        self.free.fetch_add(n, Ordering::AcqRel);
    }
}

/// A message on its way to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The sink's own handle of the consumer.
    pub key: u64,
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
}

/// Where deliveries go: a connection's outbox. Called under the queue's lock, so it only stores and wakes.
pub trait DeliverySink: Send + Sync {
    /// Takes all deliveries out of `run`.
    fn deliver(&self, run: &mut Vec<Delivery>);
    /// The consumer is gone because its queue is.
    fn cancelled(&self, key: u64);
}

/// What is needed to register a consumer.
pub struct NewConsumer {
    /// The consumer tag, for listings.
    pub tag: Name,
    /// Where deliveries go.
    pub sink: Arc<dyn DeliverySink>,
    /// The sink's own handle of this consumer.
    pub key: u64,
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
    pub(super) id: ConsumerId,
    pub(super) new: NewConsumer,
    /// Deliveries of the current turn, handed to the sink at its end.
    pub(super) pending: Vec<Delivery>,
    /// What may still be sent; bytes below zero are an overdraft.
    messages: u32,
    bytes: i64,
    /// It stands in its priority's ring.
    in_ring: bool,
}

impl Consumer {
    pub(super) fn new(id: ConsumerId, new: NewConsumer) -> Consumer {
        let credit = new.credit;
        Consumer {
            id,
            new,
            pending: Vec::new(),
            messages: credit.messages,
            bytes: signed(credit.bytes),
            in_ring: false,
        }
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
    /// In order of registration, which is the order of ids.
    all: Vec<Consumer>,
    /// Those that may be served, per priority; a ring holds only consumers that had credit when they were
    /// put in, so that a thousand idle consumers cost nothing.
    rings: BTreeMap<Reverse<i32>, VecDeque<ConsumerId>>,
    /// Somebody waits with a receive of his own: [`WAITERS`] stands in the ring of priority 0.
    waiting: bool,
    /// Those that their channel's limiter refused.
    limited: Vec<ConsumerId>,
    /// `Some` on queues with `x-single-active-consumer`: the consumer that is served.
    single_active: Option<Option<ConsumerId>>,
    /// Quorum queues hand activity to a waiting consumer of higher priority at once, and know no exclusive ones.
    is_quorum: bool,
    exclusive: bool,
    last_id: u64,
}

impl Consumers {
    pub(super) fn new(single_active: bool, is_quorum: bool) -> Self {
        Consumers {
            all: Vec::new(),
            rings: BTreeMap::new(),
            waiting: false,
            limited: Vec::new(),
            single_active: single_active.then_some(None),
            is_quorum,
            exclusive: false,
            last_id: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn add(&mut self, new: NewConsumer) -> Result<ConsumerId, ConsumeError> {
        // An exclusive consumer and a single active one exclude each other; quorum queues take no notice of the flag.
        let exclusive = new.exclusive && !self.is_quorum;
        let refused = self.single_active.is_some() || !self.all.is_empty();
        if self.exclusive || (exclusive && refused) {
            return Err(ConsumeError::ExclusiveUse);
        }
        self.exclusive = exclusive;
        self.last_id += 1;
        let id = ConsumerId(self.last_id);
        self.all.push(Consumer::new(id, new));
        self.elect();
        self.enter_ring(id);
        Ok(id)
    }

    /// Takes the consumer out; `None` if it is not there.
    pub(super) fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let index = self.index(id)?;
        let consumer = self.all.remove(index);
        if let Some(ring) = self.rings.get_mut(&Reverse(consumer.new.priority)) {
            ring.retain(|other| *other != id);
            if ring.is_empty() {
                self.rings.remove(&Reverse(consumer.new.priority));
            }
        }
        self.limited.retain(|other| *other != id);
        if consumer.new.exclusive {
            self.exclusive = false;
        }
        if self.single_active == Some(Some(id)) {
            self.single_active = Some(None);
        }
        self.elect();
        Some(consumer)
    }

    /// Adds credit.
    pub(super) fn grant(&mut self, id: ConsumerId, credit: Credit) {
        if let Some(consumer) = self.get_mut(id) {
            consumer.grant(credit);
            self.enter_ring(id);
        }
    }

    /// The channel's limiters may have room again.
    pub(super) fn poke(&mut self) {
        for id in std::mem::take(&mut self.limited) {
            self.enter_ring(id);
        }
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
            let consumer = self.get_mut(id)?;
            if !consumer.has_credit() {
                self.leave_ring(id);
            } else if consumer
                .new
                .limiter
                .as_ref()
                .is_some_and(|limiter| !limiter.try_take())
            {
                self.leave_ring(id);
                self.limited.push(id);
            } else {
                return Some(id);
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
        if self.single_active.is_some() {
            self.single_active = Some(None);
        }
        std::mem::take(&mut self.all)
    }

    /// For listings.
    pub(super) fn infos(&self) -> Vec<ConsumerInfo> {
        self.all
            .iter()
            .map(|consumer| consumer.info(self.may_be_served(consumer.id)))
            .collect()
    }

    fn index(&self, id: ConsumerId) -> Option<usize> {
        self.all
            .binary_search_by_key(&id, |consumer| consumer.id)
            .ok()
    }

    fn may_be_served(&self, id: ConsumerId) -> bool {
        self.single_active.is_none_or(|active| active == Some(id))
    }

    fn enter_ring(&mut self, id: ConsumerId) {
        let servable = self.may_be_served(id);
        let Some(consumer) = self.get_mut(id) else {
            return;
        };
        if consumer.in_ring || !servable || !consumer.has_credit() {
            return;
        }
        consumer.in_ring = true;
        let priority = consumer.new.priority;
        self.rings
            .entry(Reverse(priority))
            .or_default()
            .push_back(id);
    }

    fn leave_ring(&mut self, id: ConsumerId) {
        let Some(consumer) = self.get_mut(id) else {
            return;
        };
        if !std::mem::take(&mut consumer.in_ring) {
            return;
        }
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

    /// With a single active consumer: makes sure that somebody is active, the first of those with the highest
    /// priority. On quorum queues a higher priority also takes over.
    fn elect(&mut self) {
        let Some(active) = self.single_active else {
            return;
        };
        // max_by_key returns the last of equals, and the first registered is to win.
        let best = self
            .all
            .iter()
            .rev()
            .max_by_key(|consumer| consumer.new.priority);
        let priority = |id| {
            self.index(id)
                .and_then(|i| self.all.get(i))
                .map(|c| c.new.priority)
        };
        let elected = match (active, best) {
            (Some(active), Some(best))
                if self.is_quorum && Some(best.new.priority) > priority(active) =>
            {
                Some(best.id)
            }
            (Some(active), _) => Some(active),
            (None, best) => best.map(|consumer| consumer.id),
        };
        if elected != active {
            if let Some(old) = active {
                self.leave_ring(old);
            }
            self.single_active = Some(elected);
            if let Some(id) = elected {
                self.enter_ring(id);
            }
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
