//! Moves the messages of a queue to another one, for operators. Each step leaves the one queue and enters the other in one
//! batch, so after a crash every message is in exactly one of them.

use std::sync::Arc;

use super::checks::Session;
use crate::broker::error::BrokerError;
use crate::broker::queue::{Acknowledgement, HeldLeases, Queue};
use crate::model::arguments::QueueKind;
use crate::model::{Message, Ticket};

/// Messages of one step, and their bytes. A larger message is a step of its own.
const STEP_MESSAGES_MAX: usize = 256;
const STEP_BYTES_MAX: usize = 1024 * 1024;

/// The end of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub messages: u64,
    /// The other queue is full and took no more.
    pub is_full: bool,
}

/// The outcome of one step.
struct Step {
    messages: u64,
    is_full: bool,
    ticket: Option<Ticket>,
}

impl Session {
    /// Moves the messages that are ready now, in their order, with all their properties. They are on disk in the other queue
    /// when this returns; a caller that goes away ends the move between two steps. Takes read permission on the queue, and
    /// write permission on the default exchange, as getting and publishing do.
    ///
    /// # Errors
    /// Without one of the queues or permissions, for a stream, which keeps its messages, and if both are one queue.
    pub async fn move_messages(&self, from: &str, to: &str) -> Result<Moved, BrokerError> {
        let source = self.queue_to_read_checked(from).await?;
        self.check_publish("").await?;
        let target = self.find_queue(to)?;
        self.check_owner(&target)?;
        let refused = |why| {
            let source = self.resource_of(&source);
            Err(BrokerError::Refused(format!(
                "cannot move messages of {source}: {why}"
            )))
        };
        if source.spec().arguments.kind == QueueKind::Stream {
            return refused("a stream keeps its messages");
        }
        if Arc::ptr_eq(&source, &target) {
            return refused("both queues are the same");
        }
        let ready = source.counts().ready;
        let mut moved = Moved {
            messages: 0,
            is_full: false,
        };
        while moved.messages < ready && !moved.is_full {
            let left = ready - moved.messages;
            let (messages, leases) = self.lease_step(&source, left).await?;
            if messages.is_empty() {
                break;
            }
            let step = self.move_step(&source, &target, &messages, leases)?;
            self.wait(step.ticket).await?;
            moved.messages += step.messages;
            moved.is_full = step.is_full;
        }
        Ok(moved)
    }

    /// Leases the messages of a step, at most `left` of them.
    async fn lease_step(
        &self,
        source: &Arc<Queue>,
        left: u64,
    ) -> Result<(Vec<Arc<Message>>, HeldLeases), BrokerError> {
        let count = usize::try_from(left).unwrap_or(usize::MAX);
        let count = count.min(STEP_MESSAGES_MAX);
        let mut leases = HeldLeases::new(Arc::clone(source));
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while messages.len() < count && bytes < STEP_BYTES_MAX {
            let got = source.get(false).await;
            let got = got.map_err(|_| BrokerError::NotFound(self.resource_of(source)))?;
            let Some(got) = got else {
                break;
            };
            leases.hold(got.lease);
            bytes += got.message.size();
            messages.push(without_delay(got.message));
        }
        Ok((messages, leases))
    }

    /// Publishes leased messages to the target and takes them from the source, in one batch. Messages that the target does
    /// not take return to the source.
    fn move_step(
        &self,
        source: &Arc<Queue>,
        target: &Arc<Queue>,
        messages: &[Arc<Message>],
        mut leases: HeldLeases,
    ) -> Result<Step, BrokerError> {
        let _one_batch = self.broker.committer().batch_guard();
        let published = target.publish(messages);
        if target.is_deleted() {
            return Err(BrokerError::NotFound(self.resource_of(target)));
        }
        let mut taken = Vec::new();
        for (index, lease) in (0..).zip(leases.take()) {
            match published.rejected.binary_search(&index) {
                Ok(_) => leases.hold(lease),
                Err(_) => taken.push(lease),
            }
        }
        let acked = source.acknowledge(Acknowledgement::Ack, &taken, &[]);
        Ok(Step {
            messages: taken.len() as u64,
            is_full: published.is_full || !published.rejected.is_empty(),
            ticket: published.ticket.max(acked),
        })
    }
}

/// The message without its delay, which is over.
fn without_delay(message: Arc<Message>) -> Arc<Message> {
    match message.delay_ms {
        None => message,
        Some(_) => Arc::new(Message {
            delay_ms: None,
            ..message.copied()
        }),
    }
}
