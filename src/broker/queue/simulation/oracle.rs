//! The oracle: knows every message and lease, follows what the queues do, and says what they must not do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::broker::queue::consumer::{Delivery, NewConsumer};
use crate::broker::queue::effects::{Acknowledgement, Got};
use crate::broker::queue::receive::received::Received;
use crate::broker::queue::rewind::rewind_to::RewindTo;
use crate::model::arguments::{QueueArguments, QueueKind};
use crate::model::{ConsumerId, Lease, Message, Ticket};

use super::checked::{Checked, ensure};
use super::contents::{Contents, Entry, Held, Holder, Number, Place, number_of};
use super::queues::{REWINDABLE, STREAM};

/// A consumer that is registered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    pub(super) queue: usize,
    pub(super) no_ack: bool,
    pub(super) priority: i32,
    pub(super) credit: u32,
    /// The next offset of a stream.
    pub(super) next: u64,
}

/// A message on its way out of a queue.
struct Handout<'a> {
    lease: Lease,
    message: &'a Message,
    redelivered: bool,
    holder: Holder,
    no_ack: bool,
    ends_ms: Option<u64>,
    now_ms: u64,
}

pub(super) struct Oracle {
    pub(super) arguments: Vec<Arc<QueueArguments>>,
    pub(super) now: Contents,
    /// What the batches have, from the last synced one on.
    pub(super) batches: BTreeMap<Ticket, Contents>,
    pub(super) consumers: BTreeMap<ConsumerId, Registered>,
    /// Leases of the quorum queue that timed out, and that their consumers have not answered.
    pub(super) unanswered: BTreeMap<Lease, ConsumerId>,
    /// Leases of deliveries that have ended.
    pub(super) ended: Vec<(usize, Lease)>,
    /// Messages that a queue has handed out since the last crash.
    pub(super) handed_out: BTreeSet<(usize, Number)>,
    /// Messages that a queue has handed out before that.
    pub(super) handed_out_before: BTreeSet<(usize, Number)>,
    /// Offsets below were handed out for the first time, by queue, lane, and whether by a receive: in which order a
    /// command serves consumers and receives, its effects do not tell.
    pub(super) first_below: BTreeMap<(usize, u8, bool), u64>,
    /// The single active consumer, as far as it is known.
    pub(super) active: Option<ConsumerId>,
    pub(super) crashes: u32,
    /// The stream may deliver messages below.
    pub(super) stream_durable: u64,
}

impl Oracle {
    pub(super) fn new(arguments: Vec<Arc<QueueArguments>>) -> Oracle {
        Oracle {
            arguments,
            now: Contents::default(),
            batches: BTreeMap::from([(Ticket(0), Contents::default())]),
            consumers: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            ended: Vec::new(),
            handed_out: BTreeSet::new(),
            handed_out_before: BTreeSet::new(),
            first_below: BTreeMap::new(),
            active: None,
            crashes: 0,
            stream_durable: 0,
        }
    }

    /// Whether a restart finds this message in this queue.
    pub(super) fn survives(&self, queue: usize, persistent: bool) -> bool {
        let kind = self.arguments.get(queue).map(|arguments| arguments.kind);
        persistent || kind != Some(QueueKind::Classic)
    }

    pub(super) fn published(
        &mut self,
        queue: usize,
        number: Number,
        message: &Message,
        now_ms: u64,
    ) {
        let entry = Entry {
            place: Place::In(queue),
            persistent: message.persistent,
            due_ms: now_ms + message.delay_ms.unwrap_or(0),
        };
        self.now.messages.insert(number, entry);
        if queue == STREAM {
            self.now.stream.push(number);
        }
    }

    /// Ends the leases of a queue whose time is over.
    pub(super) fn end_due(&mut self, queue: usize, now_ms: u64) {
        let due = self.now.leases_of(queue);
        let due = due.filter(|(_, held)| held.ends_ms.is_some_and(|ends_ms| ends_ms <= now_ms));
        let due: Vec<Lease> = due.map(|(lease, _)| lease).collect();
        for lease in due {
            if let Some(held) = self.end(queue, lease) {
                self.returned(queue, held.number, now_ms);
            }
        }
    }

    /// A message has returned. In a queue with `x-delayed-retry-type` it rests for the minimum at least.
    pub(super) fn returned(&mut self, queue: usize, number: Number, now_ms: u64) {
        let rest_ms = self.arguments[queue].delayed_retry_min_ms;
        if let Some(rest_ms) = rest_ms
            && let Some(entry) = self.now.messages.get_mut(&number)
        {
            entry.due_ms = now_ms + rest_ms;
        }
    }

    /// Ends a lease; the message stays where it is.
    pub(super) fn end(&mut self, queue: usize, lease: Lease) -> Option<Held> {
        let held = self.now.leases.remove(&(queue, lease))?;
        if !matches!(held.holder, Holder::Receiver(_)) {
            self.ended.push((queue, lease));
        }
        Some(held)
    }

    /// A client has dealt with a message.
    pub(super) fn acked(&mut self, queue: usize, lease: Lease, number: Number) {
        let place = match queue {
            REWINDABLE => Place::Acked(lease.offset),
            _ => Place::Gone,
        };
        self.now.put(number, place);
    }

    /// A client has answered a delivery whose lease had not ended.
    pub(super) fn acknowledged(
        &mut self,
        queue: usize,
        lease: Lease,
        how: Acknowledgement,
        now_ms: u64,
    ) {
        let Some(held) = self.end(queue, lease) else {
            return;
        };
        let dies = self.arguments[queue].dead_letter_exchange.is_some();
        match how {
            Acknowledgement::Ack => self.acked(queue, lease, held.number),
            Acknowledgement::Requeue | Acknowledgement::RequeueFailed => {
                self.returned(queue, held.number, now_ms);
            }
            Acknowledgement::Reject | Acknowledgement::RejectFailed => {
                let place = match dies {
                    true => Place::Rejected(queue),
                    false => Place::Gone,
                };
                self.now.put(held.number, place);
            }
        }
    }

    pub(super) fn registered(&mut self, queue: usize, new: &NewConsumer, next: u64) {
        let registered = Registered {
            queue,
            no_ack: new.no_ack,
            priority: new.priority,
            credit: new.credit.messages,
            next,
        };
        self.consumers.insert(new.id, registered);
    }

    pub(super) fn granted(&mut self, consumer: ConsumerId, credit: u32) {
        if let Some(consumer) = self.consumers.get_mut(&consumer) {
            consumer.credit = consumer.credit.saturating_add(credit);
        }
    }

    pub(super) fn prolonged(&mut self, queue: usize, lease: Lease, ends_ms: Option<u64>) {
        if let Some(held) = self.now.leases.get_mut(&(queue, lease)) {
            held.ends_ms = ends_ms;
        }
    }

    /// A delivery was left unanswered for too long. False if its lease had ended.
    pub(super) fn timed_out(
        &mut self,
        queue: usize,
        lease: Lease,
        consumer: Option<ConsumerId>,
        now_ms: u64,
    ) -> bool {
        let Some(held) = self.end(queue, lease) else {
            return false;
        };
        self.returned(queue, held.number, now_ms);
        if let Some(consumer) = consumer.filter(|id| self.consumers.contains_key(id)) {
            self.unanswered.insert(lease, consumer);
        }
        true
    }

    /// Whether a consumer gets messages, as long as it has credit.
    pub(super) fn is_on_time(&self, consumer: ConsumerId) -> bool {
        !self.unanswered.values().any(|late| *late == consumer)
    }

    pub(super) fn left(&mut self, consumer: ConsumerId) {
        self.consumers.remove(&consumer);
        self.unanswered.retain(|_, late| *late != consumer);
        self.active = self.active.filter(|active| *active != consumer);
    }

    /// A consumer was given a message.
    pub(super) fn delivered(&mut self, queue: usize, delivery: &Delivery, now_ms: u64) -> Checked {
        let id = delivery.consumer;
        let Some(consumer) = self.consumers.get(&id).copied() else {
            return Err(format!("{id:?} is not registered: {delivery:?}"));
        };
        ensure!(consumer.queue == queue, "{id:?} is not of queue {queue}");
        ensure!(consumer.credit > 0, "{id:?} has no credit: {delivery:?}");
        ensure!(self.is_on_time(id), "{id:?} is late: {delivery:?}");
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.credit -= 1;
        }
        if queue == STREAM {
            return self.read(delivery);
        }
        let arguments = Arc::clone(&self.arguments[queue]);
        if arguments.single_active_consumer {
            let active = *self.active.get_or_insert(id);
            ensure!(active == id, "{id:?} was served, and {active:?} is active");
        } else {
            let others = self.consumers.iter().filter(|(_, it)| it.queue == queue);
            let mut others = others.filter(|(id, _)| self.is_on_time(**id));
            let first = others.find(|(_, it)| it.credit > 0 && it.priority > consumer.priority);
            ensure!(first.is_none(), "{first:?} comes before {id:?}");
        }
        if let Some(limit) = arguments.delivery_limit {
            let count = delivery.counts.delivery;
            // A crash makes messages ready again that have died of the limit.
            ensure!(
                count <= limit + self.crashes,
                "{delivery:?} has come back too often"
            );
        }
        let lease_ms = arguments.visibility_timeout_ms;
        self.hand_out(
            queue,
            &Handout {
                lease: delivery.lease,
                message: &delivery.message,
                redelivered: delivery.redelivered,
                holder: Holder::Consumer(id),
                no_ack: consumer.no_ack,
                ends_ms: lease_ms.map(|lease_ms| now_ms + lease_ms),
                now_ms,
            },
        )
    }

    /// A reader of the stream was given a message.
    fn read(&mut self, delivery: &Delivery) -> Checked {
        let offset = delivery.lease.offset;
        ensure!(
            offset < self.stream_durable,
            "{delivery:?} is not durable yet"
        );
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let number = number_of(&delivery.message)?;
        ensure!(
            self.now.stream.get(at) == Some(&number),
            "{delivery:?} is not at its offset"
        );
        if let Some(consumer) = self.consumers.get_mut(&delivery.consumer) {
            ensure!(
                consumer.next == offset,
                "{:?} should read {} next: {delivery:?}",
                delivery.consumer,
                consumer.next
            );
            consumer.next = offset + 1;
        }
        Ok(())
    }

    /// A channel got a message.
    pub(super) fn got(&mut self, queue: usize, got: &Got, no_ack: bool, now_ms: u64) -> Checked {
        let lease_ms = self.arguments[queue].visibility_timeout_ms;
        self.hand_out(
            queue,
            &Handout {
                lease: got.lease,
                message: &got.message,
                redelivered: got.redelivered,
                holder: Holder::Channel,
                no_ack,
                ends_ms: lease_ms.map(|lease_ms| now_ms + lease_ms),
                now_ms,
            },
        )
    }

    /// A client received a message by handle.
    pub(super) fn received(&mut self, queue: usize, received: &Received, now_ms: u64) -> Checked {
        let (handle, lease) = (received.handle, received.lease);
        self.now.handles.push((queue, handle, lease));
        self.hand_out(
            queue,
            &Handout {
                lease,
                message: &received.message,
                // A receive does not say so.
                redelivered: lease.turn > 0 || received.count > 1,
                holder: Holder::Receiver(handle),
                no_ack: false,
                ends_ms: Some(received.visible.ms()),
                now_ms,
            },
        )
    }

    fn hand_out(&mut self, queue: usize, out: &Handout) -> Checked {
        let number = number_of(out.message)?;
        let lease = out.lease;
        let place = self.now.place(number);
        ensure!(
            place == Place::In(queue),
            "queue {queue} hands out m{number}, which is {place:?}"
        );
        ensure!(
            !self.now.is_leased(queue, number),
            "queue {queue} hands out m{number}, which is leased"
        );
        let due_ms = self
            .now
            .messages
            .get(&number)
            .map_or(0, |entry| entry.due_ms);
        ensure!(
            due_ms <= out.now_ms,
            "queue {queue} hands out m{number}, which is delayed until {due_ms}"
        );
        let is_first = self.handed_out.insert((queue, number));
        let is_received = matches!(out.holder, Holder::Receiver(_));
        let lane = (queue, lease.lane, is_received);
        let below = self.first_below.entry(lane).or_default();
        if !out.redelivered {
            ensure!(
                is_first,
                "m{number} was handed out before, and is told as new"
            );
            ensure!(
                is_received || !self.handed_out_before.contains(&(queue, number)),
                "m{number} was handed out before a crash, and is told as new"
            );
            ensure!(
                lease.offset >= *below,
                "queue {queue} hands out m{number} at {lease:?}, after the messages below {below}"
            );
            *below = lease.offset + 1;
        }
        if out.no_ack {
            self.acked(queue, lease, number);
            return Ok(());
        }
        let held = Held {
            number,
            holder: out.holder,
            ends_ms: out.ends_ms,
        };
        let before = self.now.leases.insert((queue, lease), held);
        ensure!(
            before.is_none(),
            "{lease:?} of queue {queue} was given twice"
        );
        Ok(())
    }

    /// A dead letter of this queue was published at its target.
    pub(super) fn dead_lettered(&mut self, from: usize, to: usize, message: &Message) -> Checked {
        let number = number_of(message)?;
        let place = self.now.place(number);
        ensure!(
            place == Place::In(from) || place == Place::Rejected(from),
            "m{number} has died in queue {from}, and is {place:?}"
        );
        ensure!(
            !self.now.is_leased(from, number),
            "m{number} has died in queue {from}, where it is leased"
        );
        self.now.put(number, Place::In(to));
        if let Some(entry) = self.now.messages.get_mut(&number) {
            entry.due_ms = 0;
        }
        Ok(())
    }

    /// A queue has dropped everything that waited. Returns how many messages that were.
    pub(super) fn purged(&mut self, queue: usize) -> u64 {
        let mut waits = Vec::new();
        for (number, entry) in &self.now.messages {
            if entry.place == Place::In(queue) && !self.now.is_leased(queue, *number) {
                waits.push(*number);
            }
        }
        for number in &waits {
            self.now.put(*number, Place::Gone);
        }
        waits.len() as u64
    }

    /// The acked messages from an offset on are back. Returns how many there are.
    pub(super) fn rewound(&mut self, to: RewindTo) -> u64 {
        let RewindTo::Offset(from) = to else {
            return 0;
        };
        let mut count = 0;
        for entry in self.now.messages.values_mut() {
            if matches!(entry.place, Place::Acked(offset) if offset >= from) {
                entry.place = Place::In(REWINDABLE);
                count += 1;
            }
        }
        count
    }
}
