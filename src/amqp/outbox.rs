//! Deliveries, cancelled consumers and requests to close that the broker has for one connection. Queues put
//! them here under their own lock, so that putting is a swap and a wake; the connection's task takes
//! everything together. The credit that the connection grants bounds its size.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::broker::connections::{
    ChannelStatus, ConnectionControl, ConnectionState, ConnectionStatus,
};
use crate::broker::queue::{Delivery, DeliverySink};
use crate::model::{ConsumerId, Ticket};
use crate::store::commit::Waiter;

/// Anything but a delivery.
#[derive(Debug)]
pub(crate) enum Event {
    /// The queue of this consumer is gone.
    Cancelled(ConsumerId),
    /// The connection has to close: 320 with this reason.
    Close(String),
}

#[derive(Debug, Default)]
struct Inbox {
    deliveries: Vec<Delivery>,
    events: Vec<Event>,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    inbox: Mutex<Inbox>,
    signalled: AtomicBool,
    wake: Notify,
    gauges: Gauges,
}

/// Figures of the connection, for operators.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    received: AtomicU64,
    reads: AtomicU64,
    sent: AtomicU64,
    writes: AtomicU64,
    /// Bytes that wait for the socket.
    pending: AtomicU64,
    state: Mutex<(ConnectionState, Vec<ChannelStatus>)>,
}

impl Outbox {
    /// Waits until something has been put since the last [`Outbox::take`]. Cancel-safe.
    pub(crate) async fn ready(&self) {
        self.wake.notified().await;
    }

    /// Takes everything. Swaps the deliveries with the empty vector, whose capacity the outbox goes on using.
    pub(crate) fn take(&self, deliveries: &mut Vec<Delivery>) -> Vec<Event> {
        // Cleared first, so that a later put wakes again.
        self.signalled.store(false, Ordering::SeqCst);
        let mut inbox = self.lock();
        std::mem::swap(&mut inbox.deliveries, deliveries);
        std::mem::take(&mut inbox.events)
    }

    /// Takes everything but the deliveries.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        self.signalled.store(false, Ordering::SeqCst);
        std::mem::take(&mut self.lock().events)
    }

    /// Takes the deliveries of one consumer.
    pub(crate) fn take_for(&self, consumer: ConsumerId) -> Vec<Delivery> {
        let mut inbox = self.lock();
        let (own, others) = std::mem::take(&mut inbox.deliveries)
            .into_iter()
            .partition(|delivery| delivery.consumer == consumer);
        inbox.deliveries = others;
        own
    }

    /// Whether something waits to be taken.
    pub(crate) fn is_signalled(&self) -> bool {
        self.signalled.load(Ordering::SeqCst)
    }

    pub(crate) fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    pub(crate) fn put_event(&self, event: Event) {
        self.lock().events.push(event);
        self.signal();
    }

    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock()
    }
}

impl Gauges {
    /// Counts one read.
    pub(crate) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts `writes` writes of `bytes` bytes together; `pending` bytes are left.
    pub(crate) fn add_sent(&self, bytes: usize, writes: u64, pending: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.writes.fetch_add(writes, Ordering::Relaxed);
        self.pending.store(pending as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_state(
        &self,
        state: ConnectionState,
        mut channels: Vec<ChannelStatus>,
        now_ms: u64,
    ) {
        let mut known = self.state.lock();
        for channel in &mut channels {
            channel.seen(&known.1, now_ms);
        }
        *known = (state, channels);
    }
}

impl DeliverySink for Outbox {
    fn deliver(&self, run: &mut Vec<Delivery>) {
        let mut inbox = self.lock();
        if inbox.deliveries.is_empty() {
            std::mem::swap(&mut inbox.deliveries, run);
        } else {
            inbox.deliveries.append(run);
        }
        drop(inbox);
        self.signal();
    }

    fn cancelled(&self, consumer: ConsumerId) {
        self.put_event(Event::Cancelled(consumer));
    }
}

impl Waiter for Outbox {
    /// Wakes the connection, which asks the committer for the durable ticket.
    fn reached(&self, _upto: Ticket) {
        self.signal();
    }
}

impl ConnectionControl for Outbox {
    fn close(&self, reason: &str) {
        self.put_event(Event::Close(reason.to_owned()));
    }

    fn status(&self) -> ConnectionStatus {
        let (state, channels) = self.gauges.state.lock().clone();
        ConnectionStatus {
            state,
            received_bytes: self.gauges.received.load(Ordering::Relaxed),
            reads: self.gauges.reads.load(Ordering::Relaxed),
            sent_bytes: self.gauges.sent.load(Ordering::Relaxed),
            writes: self.gauges.writes.load(Ordering::Relaxed),
            pending_bytes: self.gauges.pending.load(Ordering::Relaxed),
            channels,
        }
    }
}

pub(crate) fn sink(outbox: &Arc<Outbox>) -> Arc<dyn DeliverySink> {
    Arc::clone(outbox) as Arc<dyn DeliverySink>
}
