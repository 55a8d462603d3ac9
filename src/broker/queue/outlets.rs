//! Carries the deliveries of a queue to the sinks of its consumers, within the limits of their channels. The
//! state machine knows neither sinks nor limiters; it names consumers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::broker::stats::HandedOut;
use crate::model::{ConsumerId, QueueId};

use super::channel_limiter::ChannelLimiter;
use super::consumer::{ChannelLimit, Delivery, DeliverySink, LimiterId};

/// Maximum number of spare buffers for deliveries to several sinks.
const SPARE_MAX: usize = 64;

/// The sink and the limiter of one consumer.
#[derive(Clone)]
pub struct Outlet {
    pub sink: Arc<dyn DeliverySink>,
    /// Shared by all consumers of its channel.
    pub limiter: Option<Arc<ChannelLimiter>>,
}

impl Outlet {
    /// The limit as the state machine knows it.
    pub(super) fn limit(&self) -> Option<ChannelLimit> {
        self.limiter.as_ref().map(limit_of)
    }
}

/// A channel's limit as the state machine knows it.
pub(super) fn limit_of(limiter: &Arc<ChannelLimiter>) -> ChannelLimit {
    ChannelLimit {
        limiter: id_of(limiter),
        is_set: limiter.is_set(),
    }
}

/// The address of a limiter, unique while a consumer refers to the limiter.
pub(super) fn id_of(limiter: &Arc<ChannelLimiter>) -> LimiterId {
    LimiterId(Arc::as_ptr(limiter).addr())
}

/// A consumer's outlet.
struct Entry {
    consumer: ConsumerId,
    outlet: Outlet,
    /// Its deliveries take places of the channel's limit until the client acknowledges them.
    takes_places: bool,
    /// The channel has a limit: each permit takes one place, when the state machine asks for it.
    is_limited: bool,
}

/// The outlets of a queue's consumers.
#[derive(Default)]
pub(super) struct Outlets {
    /// Sorted by consumer.
    all: Vec<Entry>,
    /// Reused buffers for deliveries to several sinks.
    spare: Vec<Vec<Delivery>>,
}

impl Outlets {
    pub(super) fn add(&mut self, consumer: ConsumerId, no_ack: bool, outlet: Outlet) {
        let index = self.all.partition_point(|other| other.consumer < consumer);
        let is_limited = outlet.limit().is_some_and(|limit| limit.is_set);
        let entry = Entry {
            consumer,
            outlet,
            takes_places: !no_ack,
            is_limited,
        };
        self.all.insert(index, entry);
    }

    pub(super) fn remove(&mut self, consumers: &[ConsumerId]) {
        let left: BTreeSet<&ConsumerId> = consumers.iter().collect();
        self.all.retain(|entry| !left.contains(&entry.consumer));
    }

    /// Removes all outlets, in the order of their consumers.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (ConsumerId, Outlet)> + use<> {
        let all = std::mem::take(&mut self.all).into_iter();
        all.map(|entry| (entry.consumer, entry.outlet))
    }

    /// Notes that the limit of a channel was set or removed.
    pub(super) fn limit(&mut self, limit: ChannelLimit) {
        for entry in &mut self.all {
            let own = entry.outlet.limiter.as_ref();
            if own.is_some_and(|own| id_of(own) == limit.limiter) {
                entry.is_limited = limit.is_set;
            }
        }
    }

    /// Asks for one delivery to this consumer. A refused queue waits for the next round of the limiter.
    pub(super) fn admit(&self, consumer: ConsumerId, queue: QueueId) -> bool {
        let entry = self.find(consumer);
        let limiter = entry.and_then(|entry| Some((entry, entry.outlet.limiter.as_ref()?)));
        limiter.is_none_or(|(entry, limiter)| limiter.admit(entry.takes_places, queue))
    }

    /// Makes the queue wait for the next round of this consumer's limiter, although there may be room.
    pub(super) fn await_round(&self, consumer: ConsumerId, queue: QueueId) {
        let entry = self.find(consumer);
        if let Some(limiter) = entry.and_then(|entry| entry.outlet.limiter.as_ref()) {
            limiter.wait(queue);
        }
    }

    /// Gives deliveries to the sinks. Consumers that share a sink (a connection) share a run, so that the
    /// sink sees their messages in the order in which they left the queue.
    /// Returns how many there were.
    pub(super) fn deliver(&mut self, deliveries: &mut Vec<Delivery>) -> HandedOut {
        let Some(first) = deliveries.first() else {
            return HandedOut::default();
        };
        let Some(only) = self.find(first.consumer).map(|entry| &entry.outlet.sink) else {
            deliveries.clear();
            return HandedOut::default();
        };
        let (goes_to_one, handed_out) = self.take_places(deliveries, only);
        match goes_to_one {
            true => only.deliver(deliveries),
            false => self.deliver_apart(deliveries),
        }
        handed_out
    }

    /// Counts the deliveries, also at the channels' limiters. True if all deliveries go to `sink`.
    fn take_places(
        &self,
        deliveries: &[Delivery],
        sink: &Arc<dyn DeliverySink>,
    ) -> (bool, HandedOut) {
        let mut handed_out = HandedOut::default();
        let mut goes_to_one = true;
        for same in deliveries.chunk_by(|one, next| one.consumer == next.consumer) {
            let consumer = same.first().map(|delivery| delivery.consumer);
            let Some(entry) = consumer.and_then(|consumer| self.find(consumer)) else {
                continue;
            };
            goes_to_one &= is_same(&entry.outlet.sink, sink);
            match entry.takes_places {
                true => handed_out.deliver += same.len() as u64,
                false => handed_out.deliver_no_ack += same.len() as u64,
            }
            let redelivered = same.iter().filter(|delivery| delivery.redelivered);
            handed_out.redeliver += redelivered.count() as u64;
            if entry.takes_places
                && !entry.is_limited
                && let Some(limiter) = &entry.outlet.limiter
            {
                limiter.take(same.len());
            }
        }
        (goes_to_one, handed_out)
    }

    fn deliver_apart(&mut self, deliveries: &mut Vec<Delivery>) {
        let mut runs: Vec<(Arc<dyn DeliverySink>, Vec<Delivery>)> = Vec::new();
        let mut by_sink: HashMap<*const (), usize> = HashMap::new();
        let mut spare = std::mem::take(&mut self.spare);
        let mut last = None;
        for delivery in deliveries.drain(..) {
            let index = match last {
                Some((consumer, index)) if consumer == delivery.consumer => index,
                _ => {
                    let Some(entry) = self.find(delivery.consumer) else {
                        continue;
                    };
                    let sink = &entry.outlet.sink;
                    *by_sink
                        .entry(Arc::as_ptr(sink).cast::<()>())
                        .or_insert_with(|| {
                            runs.push((Arc::clone(sink), spare.pop().unwrap_or_default()));
                            runs.len() - 1
                        })
                }
            };
            last = Some((delivery.consumer, index));
            if let Some((_, run)) = runs.get_mut(index) {
                run.push(delivery);
            }
        }
        for (sink, mut run) in runs {
            sink.deliver(&mut run);
            // The sink may have swapped in another buffer; reuse that one.
            if spare.len() < SPARE_MAX {
                spare.push(run);
            }
        }
        self.spare = spare;
    }

    fn find(&self, consumer: ConsumerId) -> Option<&Entry> {
        let index = self
            .all
            .binary_search_by_key(&consumer, |entry| entry.consumer);
        self.all.get(index.ok()?)
    }
}

fn is_same(one: &Arc<dyn DeliverySink>, other: &Arc<dyn DeliverySink>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}
