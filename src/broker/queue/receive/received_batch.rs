//! Receiving by handle: leases that no connection holds. A [`ReceivedBatch`] is what one receive brings; whoever keeps it may
//! delete the messages by their [`ReceiptHandle`]s until their time is over. The interface for front doors without
//! connections of their own; what is leased to whom the state machine decides.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::broker::queue::effects::Effects;
use crate::broker::queue::machine::Machine;
use crate::broker::queue::shell::{Queue, QueueGone};
use crate::clock::Moment;
use crate::model::{Lease, Ticket};

use super::receipt_handle::ReceiptHandle;
use super::received::Received;

/// How long a received message is invisible, in milliseconds, if its queue has no `x-visibility-timeout`.
pub const RECEIVE_VISIBILITY_MS_DEFAULT: u64 = 30_000;

/// What a receive brings. Dropped without [`ReceivedBatch::keep`] it goes back at once, and does not count as a receive.
#[derive(Debug)]
pub struct ReceivedBatch {
    /// The messages, in order; none if the time was over.
    pub messages: Vec<Received>,
    /// When it is durable that they are leased: not before that may anybody be told of them. `None` if nothing has
    /// to be waited for.
    pub ticket: Option<Ticket>,
    queue: Option<Arc<Queue>>,
}

impl ReceivedBatch {
    pub(in crate::broker::queue) fn new(
        queue: Option<Arc<Queue>>,
        messages: Vec<Received>,
        ticket: Option<Ticket>,
    ) -> ReceivedBatch {
        ReceivedBatch {
            messages,
            ticket,
            queue,
        }
    }

    /// The messages have arrived where they were to go. From now on only their handles or the end of their time end
    /// the leases.
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
            queue.run_work(|state, now_ms, fx| state.give_back(now_ms, &leases, fx));
        }
    }
}

impl Queue {
    /// Leases up to `max` messages (at most [`super::RECEIVE_MESSAGES_MAX`]) for as long as the queue's visibility
    /// timeout. If none is ready it waits up to `wait` for the first, behind those who wait already, and takes what
    /// there is then. Cancel-safe: what nobody takes goes back at once.
    ///
    /// # Errors
    /// When the queue has been deleted, or is meanwhile; and for streams, of which nothing can be received.
    pub async fn receive(&self, max: usize, wait: Duration) -> Result<ReceivedBatch, QueueGone> {
        let (sender, answer) = oneshot::channel();
        let number = self
            .run_work(|state, now_ms, fx| state.receive(now_ms, max, wait.is_zero(), sender, fx))
            .ok_or(QueueGone)?;
        let mut place = Place {
            queue: self,
            number: Some(number),
            answer,
        };
        let answered = if wait.is_zero() {
            // Only what is on disk is waited for.
            Ok((&mut place.answer).await)
        } else {
            tokio::time::timeout(wait, &mut place.answer).await
        };
        match answered {
            Ok(batch) => {
                place.number = None;
                batch.map_err(|_| QueueGone)
            }
            Err(_) => {
                place.leave();
                let batch = place.answer.try_recv();
                Ok(batch.unwrap_or_else(|_| ReceivedBatch::new(None, Vec::new(), None)))
            }
        }
    }

    /// Deletes messages by the handles of their last receive; for each whether it was valid, which it no longer is
    /// when its time is over. The ticket tells when the deletion is durable; `None` if nothing has to be waited for.
    pub fn delete_received(&self, handles: &[ReceiptHandle]) -> (Vec<bool>, Option<Ticket>) {
        let delete = |machine: &mut Machine, now_ms, fx: &mut Effects| match machine.work() {
            Some(state) => state.delete_received(now_ms, handles, fx),
            None => vec![false; handles.len()],
        };
        self.act(delete)
            .unwrap_or_else(|| (vec![false; handles.len()], None))
    }
}

impl Queue {
    /// Has the lease of a handle last this long from now, whenever it was to end: then the message waits again at its
    /// old place. Returns when that is, `None` if the handle is not valid; and when it is durable.
    pub fn prolong(
        &self,
        handle: ReceiptHandle,
        lasts: Duration,
    ) -> (Option<Moment>, Option<Ticket>) {
        let length_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let prolong = |machine: &mut Machine, now_ms, fx: &mut Effects| {
            let ends_ms = machine.work()?.prolong(now_ms, handle, length_ms, fx)?;
            Some(Moment::from_ms(ends_ms))
        };
        self.act(prolong).unwrap_or_default()
    }
}

/// Somebody's place among those who wait.
struct Place<'a> {
    queue: &'a Queue,
    /// `None` when he has been served.
    number: Option<u64>,
    answer: oneshot::Receiver<ReceivedBatch>,
}

impl Place<'_> {
    /// Gives the place up. An answer that was quicker is in the channel.
    fn leave(&mut self) {
        if let Some(number) = self.number.take() {
            self.queue
                .run_work(|state, now_ms, fx| state.leave(now_ms, number, fx));
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // An answer that is in the channel goes back when that is dropped.
        self.leave();
    }
}
