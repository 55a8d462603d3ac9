//! CMQ's receives: leases that no connection holds. A [`ReceivedBatch`] has the messages of one receive.
//! Their [`ReceiptHandle`]s can delete them until their leases end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::broker::queue::shell::{Queue, QueueGone};
use crate::broker::stats::{HandedOut, Protocol};
use crate::clock::Moment;
use crate::model::{Lease, Ticket};

use super::receipt_handle::ReceiptHandle;
use super::received::{Answer, Received};

/// The messages of one receive. If the batch is dropped before [`ReceivedBatch::accept`], they return to the queue, and
/// the receive does not count.
#[derive(Debug)]
pub struct ReceivedBatch {
    /// In order; empty if no message came in time.
    pub messages: Vec<Received>,
    /// The client may get the messages when this batch is durable, since it has their leases. `None`:
    /// immediately.
    pub ticket: Option<Ticket>,
    queue: Option<Arc<Queue>>,
}

impl ReceivedBatch {
    fn new(queue: Option<Arc<Queue>>, answer: Answer) -> ReceivedBatch {
        ReceivedBatch {
            messages: answer.messages,
            ticket: answer.ticket,
            queue,
        }
    }

    /// A batch without messages.
    fn empty() -> ReceivedBatch {
        ReceivedBatch {
            messages: Vec::new(),
            ticket: None,
            queue: None,
        }
    }

    /// Where the messages come from, if there are any.
    pub fn queue(&self) -> Option<&Arc<Queue>> {
        self.queue.as_ref()
    }

    /// The client has the messages. From now on only their handles or their deadlines end the leases.
    #[must_use]
    pub fn accept(mut self) -> Vec<Received> {
        self.queue = None;
        std::mem::take(&mut self.messages)
    }
}

impl Drop for ReceivedBatch {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take()
            && !self.messages.is_empty()
        {
            let leases: Vec<Lease> = self
                .messages
                .iter()
                .map(|received| received.lease)
                .collect();
            queue.run(|machine, now_ms, fx| machine.give_back(now_ms, &leases, fx));
        }
    }
}

impl Queue {
    /// Leases up to `max` messages (at most [`super::RECEIVE_MESSAGES_MAX`]) for the queue's visibility timeout. If none is
    /// ready, it waits up to `wait` for the first, behind earlier receives, and takes the messages that are ready then.
    /// Cancel-safe: a batch that is dropped goes back.
    ///
    /// # Errors
    /// When the queue has been deleted, or is deleted meanwhile; and for streams.
    pub async fn receive(&self, max: usize, wait: Duration) -> Result<ReceivedBatch, QueueGone> {
        let mut waiting = self.wait_to_receive(max, wait.is_zero())?;
        let answered = if wait.is_zero() {
            // A hasty receive waits only for reads from disk.
            Ok((&mut waiting.answer).await)
        } else {
            tokio::time::timeout(wait, &mut waiting.answer).await
        };
        match answered {
            Ok(Ok(answer)) => Ok(ReceivedBatch::new(self.me.upgrade(), answer)),
            Ok(Err(_)) => Err(QueueGone),
            Err(_) => {
                let batch = waiting.stop();
                Ok(batch.unwrap_or_else(ReceivedBatch::empty))
            }
        }
    }

    fn wait_to_receive(&self, max: usize, is_hasty: bool) -> Result<Waiting<'_>, QueueGone> {
        let (sender, answer) = oneshot::channel();
        let cell = self.lock_unless_deleted().ok_or(QueueGone)?;
        let applied = self.turn(cell, |cell, now_ms| {
            cell.last_receive += 1;
            let receive = cell.last_receive;
            cell.receives.insert(receive, sender);
            let (machine, fx) = cell.machine();
            let can_receive = machine.receive(now_ms, receive, max, is_hasty, fx);
            cell.answer_permits(self.spec.id, now_ms);
            if !can_receive {
                cell.receives.remove(&receive);
            }
            can_receive.then_some(receive)
        });
        let (receive, _) = self.send_letters_of(applied);
        Ok(Waiting {
            queue: self,
            receive: receive.ok_or(QueueGone)?,
            answer,
        })
    }

    /// Deletes messages by the handles of their last receive. Returns for each handle whether it was valid:
    /// it is not after the end of its lease. The deletion is durable with the batch of the ticket; `None`:
    /// immediately.
    pub fn delete_received(&self, handles: &[ReceiptHandle]) -> (Vec<bool>, Option<Ticket>) {
        let Some(cell) = self.lock_unless_deleted() else {
            return (vec![false; handles.len()], None);
        };
        let applied = self.turn(cell, |cell, now_ms| {
            let (machine, fx) = cell.machine();
            let valid = machine.delete_received(now_ms, handles, fx);
            cell.answer_permits(self.spec.id, now_ms);
            let deleted = valid.iter().filter(|valid| **valid).count();
            self.count_acks(cell, Protocol::Cmq, deleted);
            valid
        });
        self.send_letters_of(applied)
    }

    /// Makes the lease of a handle end this long from now, sooner or later than before; then the message is
    /// ready again at its old place. Returns the new end, `None` if the handle is not valid; and the batch
    /// that makes it durable.
    pub fn prolong(
        &self,
        handle: ReceiptHandle,
        lasts: Duration,
    ) -> (Option<Moment>, Option<Ticket>) {
        let length_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let prolonged =
            self.act(|machine, now_ms, fx| machine.prolong(now_ms, handle, length_ms, fx));
        let (ends_ms, ticket) = prolonged.unwrap_or_default();
        (ends_ms.map(Moment::from_ms), ticket)
    }
}

/// A waiting receive. Its wait ends when this is dropped.
struct Waiting<'a> {
    queue: &'a Queue,
    receive: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Waiting<'_> {
    /// Stops waiting. Returns an answer that came just before; if the caller drops it, its messages return.
    fn stop(&mut self) -> Option<ReceivedBatch> {
        if let Some(cell) = self.queue.lock_unless_deleted()
            && cell.receives.contains_key(&self.receive)
        {
            let applied = self.queue.turn(cell, |cell, now_ms| {
                cell.receives.remove(&self.receive);
                let in_vain = HandedOut {
                    get_empty: 1,
                    ..HandedOut::default()
                };
                self.queue.count_handed_out(cell, Protocol::Cmq, &in_vain);
                let (machine, fx) = cell.machine();
                machine.stop_waiting(now_ms, self.receive, fx);
                cell.answer_permits(self.queue.spec.id, now_ms);
            });
            self.queue.send_letters_of(applied);
        }
        let answer = self.answer.try_recv().ok()?;
        Some(ReceivedBatch::new(self.queue.me.upgrade(), answer))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        drop(self.stop());
    }
}
