//! Messages in a row that go the same way: gathered, given to their queues together, and what their confirms wait for.

use std::sync::Arc;

use super::Targets;
use crate::amqp::channel::{Channel, Mode};
use crate::amqp::confirms::Confirms;
use crate::amqp::cx::Cx;
use crate::amqp::keep::detach;
use crate::amqp::limits::{RUN_BYTES_MAX, RUN_MESSAGES_MAX};
use crate::broker::queue::Queue;
use crate::model::{Message, Ticket};

/// Messages in a row that go the same way, not yet given to their queues.
#[derive(Default)]
pub(super) struct Run {
    messages: Vec<Arc<Message>>,
    queues: Option<Targets>,
    bytes: usize,
    /// Confirm number of the last message.
    last_seq: u64,
    /// Some are kept by no queue: their confirms do not wait for the others.
    has_fleeting: bool,
}

impl Channel {
    /// Gives the run to its queues.
    pub(crate) fn flush_run(&mut self, cx: &mut Cx<'_>) {
        let run = &mut self.publishing.run;
        let Some(queues) = run.queues.take() else {
            return;
        };
        detach(&mut run.messages, run.bytes, cx.read_buffer);
        let (ticket, rejected) = give(&queues, &run.messages);
        cx.unsynced
            .add(run.bytes * queues.len(), &cx.shared.committer);
        if let Mode::Confirm(confirms) = &mut self.mode {
            let alike = ticket.is_none() || !run.has_fleeting;
            match alike && rejected.is_empty() {
                true => confirms.accept(run.last_seq, ticket),
                false => resolve(
                    confirms,
                    run.last_seq,
                    &run.messages,
                    ticket,
                    &rejected,
                    |message| is_kept(&queues, message),
                ),
            }
        }
        run.messages.clear();
        run.bytes = 0;
        run.has_fleeting = false;
        if run.messages.capacity() > RUN_MESSAGES_MAX {
            run.messages = Vec::new();
        }
        if let Mode::Confirm(_) = self.mode {
            self.expect_confirms(cx);
        }
    }

    pub(super) fn add_to_run(
        &mut self,
        cx: &mut Cx<'_>,
        message: Arc<Message>,
        queues: Targets,
        seq: u64,
    ) {
        if self
            .publishing
            .run
            .queues
            .as_ref()
            .is_some_and(|current| !same(current, &queues))
        {
            self.flush_run(cx);
        }
        let kept = is_kept(&queues, &message);
        let run = &mut self.publishing.run;
        run.queues = Some(queues);
        run.bytes += message.size();
        run.last_seq = seq;
        run.has_fleeting |= !kept;
        run.messages.push(message);
        let full = run.messages.len() >= RUN_MESSAGES_MAX || run.bytes >= RUN_BYTES_MAX;
        self.mark_dirty(cx);
        if full {
            self.flush_run(cx);
        }
    }
}

/// Notes what messages, of which `last` is the last one's number, wait for: the ticket, if they are to be kept, or a
/// nack for those rejected (in order).
pub(super) fn resolve(
    confirms: &mut Confirms,
    last: u64,
    messages: &[Arc<Message>],
    ticket: Option<Ticket>,
    rejected: &[u32],
    is_kept: impl Fn(&Message) -> bool,
) {
    let first = last + 1 - messages.len() as u64;
    for ((seq, index), message) in (first..).zip(0u32..).zip(messages) {
        match rejected.binary_search(&index) {
            Ok(_) => confirms.refuse(seq),
            Err(_) => confirms.accept(seq, ticket.filter(|_| is_kept(message))),
        }
    }
}

/// Whether some of the queues would have the message again after a restart.
pub(super) fn is_kept(queues: &[Arc<Queue>], message: &Message) -> bool {
    queues.iter().any(|queue| queue.keeps(message))
}

/// Gives a run to each of its queues: the ticket that all of it waits for, and what some queue refused.
pub(super) fn give(queues: &[Arc<Queue>], messages: &[Arc<Message>]) -> (Option<Ticket>, Vec<u32>) {
    let mut ticket = None;
    let mut rejected = Vec::new();
    for queue in queues {
        let published = queue.publish(messages);
        ticket = ticket.max(published.ticket);
        rejected.extend(published.rejected);
    }
    if queues.len() > 1 {
        rejected.sort_unstable();
        rejected.dedup();
    }
    (ticket, rejected)
}

fn same(a: &Targets, b: &Targets) -> bool {
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
        })
    }

    /// What is answered for four messages that follow an answered one, with `durable` on disk of ticket 1.
    fn answers(messages: &[Arc<Message>], rejected: &[u32], durable: u64) -> Vec<(u64, bool)> {
        let mut confirms = Confirms::default();
        for _ in 0..5 {
            confirms.next();
        }
        confirms.accept(1, None);
        resolve(
            &mut confirms,
            5,
            messages,
            Some(Ticket(1)),
            rejected,
            |message| message.persistent,
        );
        std::iter::from_fn(|| confirms.pop(Ticket(durable)))
            .map(|confirm| (confirm.seq, confirm.ack))
            .collect()
    }

    #[test]
    fn rejected_messages_are_nacked_and_the_others_acked() {
        let messages = vec![message(true); 4];
        let answers = |rejected| answers(&messages, rejected, 1);
        assert_eq!(answers(&[]), [(5, true)]);
        assert_eq!(answers(&[0, 1]), [(1, true), (3, false), (5, true)]);
        assert_eq!(
            answers(&[1, 3]),
            [(2, true), (3, false), (4, true), (5, false)]
        );
        assert_eq!(answers(&[0, 1, 2, 3]), [(1, true), (5, false)]);
    }

    #[test]
    fn transient_messages_do_not_wait_for_the_disk() {
        let messages = [true, false, false, true].map(message);
        assert_eq!(
            answers(&messages, &[], 0),
            [(1, true), (3, true), (4, true)]
        );
        assert_eq!(answers(&messages, &[1], 0), [(1, true), (4, true)]);
        assert_eq!(answers(&messages, &[], 1), [(5, true)]);
    }
}
