//! What the queues contain according to the oracle: plain data, so that a copy tells what a batch has made durable.

use std::collections::BTreeMap;

use crate::broker::queue::receive::receipt_handle::ReceiptHandle;
use crate::model::{ConsumerId, Lease, Message};

use super::checked::Checked;

/// The number of a message. Its body is `m` and the number.
pub(super) type Number = u32;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In this queue: waiting, leased, delayed, or dying.
    In(usize),
    /// In this queue, where it was rejected: it waits for its dead letter.
    Rejected(usize),
    /// In the history, at this offset of the log.
    Acked(u64),
    /// In no queue.
    Gone,
}

/// One message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) persistent: bool,
    /// No queue hands it out before.
    pub(super) due_ms: u64,
}

/// Who has a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Consumer(ConsumerId),
    /// A channel that got the message.
    Channel,
    /// A client that received the message by handle.
    Receiver(ReceiptHandle),
}

/// A lease that has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) number: Number,
    pub(super) holder: Holder,
    pub(super) ends_ms: Option<u64>,
}

/// What the queues contain.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    /// Every message that was ever published.
    pub(super) messages: BTreeMap<Number, Entry>,
    /// By queue.
    pub(super) leases: BTreeMap<(usize, Lease), Held>,
    /// Every handle that was ever given, with its queue and lease.
    pub(super) handles: Vec<(usize, ReceiptHandle, Lease)>,
    /// The messages of the stream, by offset.
    pub(super) stream: Vec<Number>,
}

impl Contents {
    pub(super) fn place(&self, number: Number) -> Place {
        self.messages
            .get(&number)
            .map_or(Place::Gone, |entry| entry.place)
    }

    pub(super) fn put(&mut self, number: Number, place: Place) {
        if let Some(entry) = self.messages.get_mut(&number) {
            entry.place = place;
        }
    }

    /// The messages in a queue, in whatever state.
    pub(super) fn count(&self, queue: usize) -> u64 {
        let places = self.messages.values().map(|entry| entry.place);
        let here = places
            .filter(|place| matches!(place, Place::In(at) | Place::Rejected(at) if *at == queue));
        here.count() as u64
    }

    /// The number of acked messages in the history.
    pub(super) fn acked(&self) -> u64 {
        let acked = self.messages.values();
        let acked = acked.filter(|entry| matches!(entry.place, Place::Acked(_)));
        acked.count() as u64
    }

    pub(super) fn leases_of(&self, queue: usize) -> impl Iterator<Item = (Lease, &Held)> {
        let leases = self.leases.iter();
        leases
            .filter(move |((at, _), _)| *at == queue)
            .map(|((_, lease), held)| (*lease, held))
    }

    pub(super) fn is_leased(&self, queue: usize, number: Number) -> bool {
        self.leases_of(queue).any(|(_, held)| held.number == number)
    }

    /// The lease of a handle that was given, if it has not ended.
    pub(super) fn received(&self, index: usize) -> Option<(usize, ReceiptHandle, Option<Lease>)> {
        let (queue, handle, lease) = *self.handles.get(index)?;
        let held = self.leases.get(&(queue, lease));
        let is_open = held.is_some_and(|held| held.holder == Holder::Receiver(handle));
        Some((queue, handle, is_open.then_some(lease)))
    }
}

/// The number of a message, by its body.
pub(super) fn number_of(message: &Message) -> Checked<Number> {
    let body = message.body.slices().concat();
    let text = String::from_utf8_lossy(&body).into_owned();
    let number = text
        .strip_prefix('m')
        .and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("{text:?} was never published"))
}
