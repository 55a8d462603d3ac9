//! Deliveries and other events from the outbox, on their way to the channels, and credit for written
//! deliveries.

use super::connection::Connection;
use super::error::{Code, Refusal};
use super::outbox::Event;

impl Connection {
    /// Takes everything out of the outbox, and sends the confirms that have become due.
    pub(super) fn take_outbox(&mut self) {
        if self.state.shared.outbox.is_signalled() || self.delivers_later {
            self.delivers_later = false;
            let events = self.take_deliveries();
            self.take_events(events);
        }
    }

    /// As [`Connection::take_outbox`], but leaves deliveries where they are while their copies for the firehose would
    /// wait for the disk: nothing else bounds these copies.
    pub(super) fn take_outbox_with_room(&mut self) {
        let is_traced = self.state.shared.session.vhost.is_traced();
        if !is_traced || !self.waits_for_committer() {
            self.take_outbox();
        } else if self.state.shared.outbox.is_signalled() {
            self.delivers_later = true;
            let events = self.state.shared.outbox.take_events();
            self.take_events(events);
        }
    }

    /// This node's mandate is over: sends what is durable, delivers nothing more, and closes when the broker says so.
    pub(super) fn take_end(&mut self) {
        if !self.state.shared.outbox.is_signalled() {
            return;
        }
        let mut undelivered = Vec::new();
        let mut events = self.state.shared.outbox.take(&mut undelivered);
        events.retain(|event| matches!(event, Event::Close(_)));
        self.send_confirms();
        self.take_events(events);
    }

    fn take_events(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Cancelled(consumer) => self.cancelled.push(consumer),
                Event::Close(reason) => {
                    let refusal = Refusal::new(Code::ConnectionForced, reason);
                    self.close_connection(&refusal.about_nothing());
                }
            }
        }
        self.end_cancelled_consumers();
        self.status_changed = true;
        self.send_confirms();
    }

    /// Hands the deliveries in the outbox to their channels. Returns the other events.
    pub(super) fn take_deliveries(&mut self) -> Vec<Event> {
        let mut deliveries = std::mem::take(&mut self.deliveries);
        let events = self.state.shared.outbox.take(&mut deliveries);
        let is_traced = self.state.shared.session.vhost.is_traced();
        let before = self.state.out.pending();
        for delivery in deliveries.drain(..) {
            if let Some(number) = self.state.consumers.find(delivery.consumer)
                && let Some((channel, state)) = self.channel(number)
            {
                channel.deliver(state, &delivery);
                if is_traced {
                    channel.trace_delivery(state, &delivery);
                }
            }
        }
        self.delivering_bytes += self.state.out.pending() - before;
        self.deliveries = deliveries;
        events
    }

    /// Ends the consumers whose queue is gone. Not while a method waits: it may be the `queue.delete` that
    /// took the queue, and clients expect its reply first.
    pub(super) fn end_cancelled_consumers(&mut self) {
        if self.state.pending.is_some() {
            return;
        }
        for consumer in std::mem::take(&mut self.cancelled) {
            if let Some(number) = self.state.consumers.find(consumer)
                && let Some((channel, state)) = self.channel(number)
            {
                channel.consumer_cancelled(state, consumer);
            }
        }
    }

    /// The socket has taken most of the output: consumers get credit again.
    pub(super) fn deliveries_written(&mut self) {
        self.delivering_bytes = 0;
        for number in std::mem::take(&mut self.state.delivering) {
            if let Some((channel, state)) = self.channel(number) {
                channel.deliveries_written(state);
            }
        }
    }
}
