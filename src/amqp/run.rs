//! Runs: consecutive messages of one channel for the same queues, published to them together, and the outcome
//! of each message for its confirm.

use std::sync::Arc;

use super::confirms::Confirms;
use super::limits::{RUN_BYTES_MAX, RUN_MESSAGES_MAX};
use super::route_cache::Targets;
use crate::broker::queue::Queue;
use crate::model::{Message, Ticket};

/// A run that has not been published to its queues.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) messages: Vec<Arc<Message>>,
    /// `None` if the run is empty.
    pub(crate) targets: Option<Targets>,
    pub(crate) bytes: usize,
    /// Confirm number of the last message.
    last_seq: u64,
    /// Some messages are durable in no queue: their confirms do not wait for the others.
    has_transient: bool,
}

impl Run {
    /// Whether a message for these queues can join the run.
    pub(crate) fn takes(&self, targets: &Targets) -> bool {
        let current = self.targets.as_ref();
        current.is_none_or(|current| is_same(current, targets))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.messages.len() >= RUN_MESSAGES_MAX || self.bytes >= RUN_BYTES_MAX
    }

    /// Adds a message with its confirm number. See [`Run::takes`].
    pub(crate) fn push(&mut self, message: Arc<Message>, targets: Targets, seq: u64) {
        self.has_transient |= !is_durable(&targets, &message);
        self.bytes += message.size();
        self.last_seq = seq;
        self.targets = Some(targets);
        self.messages.push(message);
    }

    /// Records the outcome of each message's confirm, once the run is published to `targets`.
    pub(crate) fn confirm(&self, confirms: &mut Confirms, targets: &Targets, given: &Published) {
        let alike = given.ticket.is_none() || !self.has_transient;
        match alike && given.rejected.is_empty() {
            true => confirms.accept(self.last_seq, given.ticket),
            false => given.confirm(confirms, self.last_seq, &self.messages, |message| {
                is_durable(targets, message)
            }),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
        self.has_transient = false;
        if self.messages.capacity() > RUN_MESSAGES_MAX {
            self.messages = Vec::new();
        }
    }
}

/// Outcome of publishing messages to all of their queues.
pub(crate) struct Published {
    /// Durable when all queues have the messages durably; `None` waits for nothing.
    pub(crate) ticket: Option<Ticket>,
    /// Indexes of the messages that a queue rejected, in order.
    pub(crate) rejected: Vec<u32>,
    /// A queue that holds the publisher back.
    pub(crate) full: Option<Arc<Queue>>,
}

impl Published {
    /// Publishes messages to each of the queues.
    pub(crate) fn to_all(queues: &[Arc<Queue>], messages: &[Arc<Message>]) -> Published {
        let mut ticket = None;
        let mut rejected = Vec::new();
        let mut full = None;
        for queue in queues {
            let published = queue.publish(messages);
            ticket = ticket.max(published.ticket);
            if published.is_full {
                full = Some(Arc::clone(queue));
            }
            rejected.extend(published.rejected);
        }
        if queues.len() > 1 {
            rejected.sort_unstable();
            rejected.dedup();
        }
        Published {
            ticket,
            rejected,
            full,
        }
    }

    /// Records the outcome of each message; `last_seq` is the number of the last one. A rejected message gets
    /// a nack. A durable one waits for the ticket.
    pub(crate) fn confirm(
        &self,
        confirms: &mut Confirms,
        last_seq: u64,
        messages: &[Arc<Message>],
        is_durable: impl Fn(&Message) -> bool,
    ) {
        let first = last_seq + 1 - messages.len() as u64;
        for ((seq, index), message) in (first..).zip(0u32..).zip(messages) {
            match self.rejected.binary_search(&index) {
                Ok(_) => confirms.refuse(seq),
                Err(_) => confirms.accept(seq, self.ticket.filter(|_| is_durable(message))),
            }
        }
    }
}

/// Whether a restart would find the message in one of the queues.
pub(crate) fn is_durable(queues: &[Arc<Queue>], message: &Message) -> bool {
    queues.iter().any(|queue| queue.keeps(message))
}

fn is_same(a: &Targets, b: &Targets) -> bool {
    Arc::ptr_eq(a, b)
        || (a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| Arc::ptr_eq(a, b)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{Body, Origin};

    fn message(persistent: bool) -> Arc<Message> {
        Arc::new(Message {
            origin: Arc::new(Origin {
                exchange: "".into(),
                routing_key: "q".into(),
            }),
            properties: Bytes::new(),
            body: Body::Whole(Bytes::new()),
            persistent,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
            failures: 0,
            handed_out: false,
        })
    }

    /// The confirms of four messages that follow a confirmed one, when batch `durable` is on disk. They wait
    /// for batch 1.
    fn confirms(messages: &[Arc<Message>], rejected: &[u32], durable: u64) -> Vec<(u64, bool)> {
        let mut confirms = Confirms::default();
        for _ in 0..5 {
            confirms.next();
        }
        confirms.accept(1, None);
        let published = Published {
            ticket: Some(Ticket(1)),
            rejected: rejected.to_vec(),
            full: None,
        };
        published.confirm(&mut confirms, 5, messages, |message| message.persistent);
        std::iter::from_fn(|| confirms.pop(Ticket(durable)))
            .map(|confirm| (confirm.seq, confirm.ack))
            .collect()
    }

    #[test]
    fn rejected_messages_are_nacked_and_the_others_acked() {
        let messages = vec![message(true); 4];
        let confirms = |rejected| confirms(&messages, rejected, 1);
        assert_eq!(confirms(&[]), [(5, true)]);
        assert_eq!(confirms(&[0, 1]), [(1, true), (3, false), (5, true)]);
        assert_eq!(
            confirms(&[1, 3]),
            [(2, true), (3, false), (4, true), (5, false)]
        );
        assert_eq!(confirms(&[0, 1, 2, 3]), [(1, true), (5, false)]);
    }

    #[test]
    fn transient_messages_do_not_wait_for_the_disk() {
        let messages = [true, false, false, true].map(message);
        assert_eq!(
            confirms(&messages, &[], 0),
            [(1, true), (3, true), (4, true)]
        );
        assert_eq!(confirms(&messages, &[1], 0), [(1, true), (4, true)]);
        assert_eq!(confirms(&messages, &[], 1), [(5, true)]);
    }
}
