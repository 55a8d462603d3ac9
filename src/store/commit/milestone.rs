//! A milestone on the way of batches: the last ticket that has reached it, and who waits for later ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Waiter;
use crate::model::Ticket;

/// The committer was shut down before the ticket was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store was closed before the change was durable")]
pub struct StoreFailed;

#[derive(Default)]
pub(super) struct Milestone {
    reached: AtomicU64,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    by_ticket: BTreeMap<Ticket, Vec<Arc<dyn Waiter>>>,
    closed: bool,
}

impl Milestone {
    /// The last ticket that has reached it.
    pub(super) fn reached(&self) -> Ticket {
        Ticket(self.reached.load(Ordering::Acquire))
    }

    /// Calls the waiter when the ticket has reached it, on this thread if it has already.
    pub(super) fn when(&self, ticket: Ticket, waiter: Arc<dyn Waiter>) {
        let mut waiters = self.waiters.lock();
        // Read under the lock: `report` stores the ticket before it takes the lock, so none is left behind.
        let reached = self.reached();
        if reached < ticket {
            if !waiters.closed {
                waiters.by_ticket.entry(ticket).or_default().push(waiter);
            }
            return;
        }
        drop(waiters);
        waiter.reached(reached);
    }

    /// Waits until the ticket has reached it.
    pub(super) async fn wait(&self, ticket: Ticket) -> Result<(), StoreFailed> {
        if self.reached() >= ticket {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        self.when(ticket, Arc::new(OneWaiter(Mutex::new(Some(sender)))));
        receiver.await.map_err(|_| StoreFailed)
    }

    /// Calls the waiters of tickets up to this one.
    pub(super) fn report(&self, upto: Ticket) {
        self.reached.fetch_max(upto.0, Ordering::AcqRel);
        let later = Ticket(upto.0 + 1);
        let mut waiters = self.waiters.lock();
        let waiting = waiters.by_ticket.split_off(&later);
        let served = std::mem::replace(&mut waiters.by_ticket, waiting);
        drop(waiters);
        for waiter in served.into_values().flatten() {
            waiter.reached(upto);
        }
    }

    /// Drops all waiters: no ticket reaches the milestone any more.
    pub(super) fn close(&self) {
        let mut waiters = self.waiters.lock();
        waiters.closed = true;
        let abandoned = std::mem::take(&mut waiters.by_ticket);
        drop(waiters);
        drop(abandoned);
    }
}

/// A waiter behind [`Milestone::wait`].
struct OneWaiter(Mutex<Option<oneshot::Sender<()>>>);

impl Waiter for OneWaiter {
    fn reached(&self, _upto: Ticket) {
        if let Some(sender) = self.0.lock().take()
            && sender.send(()).is_err()
        {
            // The caller of `wait` has gone away.
        }
    }
}
