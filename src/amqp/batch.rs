//! What is done once for many frames: taking what the broker has for the client, giving runs to their queues, sending
//! confirms.

use super::channel::Channel;
use super::connection::Connection;
use super::error::{Code, MethodId, Refusal};
use super::outbox::Event;
use crate::model::Ticket;

impl Connection {
    /// Takes what the broker has for the client.
    pub(super) fn take_outbox(&mut self) {
        if !self.shared.outbox.is_signalled() {
            return;
        }
        for event in self.take_deliveries() {
            match event {
                Event::Cancelled(consumer) => self.channels.cancelled.push(consumer),
                Event::Close(reason) => {
                    self.close_connection(
                        &Refusal::new(Code::ConnectionForced, reason).about_nothing(),
                    );
                }
            }
        }
        self.tell_cancelled();
        self.channels.changed = true;
        self.send_confirms();
    }

    /// Ends the consumers that have lost their queue. What took it may be the method that waits, and a client
    /// expects the answer to `queue.delete` before what follows from it.
    pub(super) fn tell_cancelled(&mut self) {
        if self.later.is_some() {
            return;
        }
        for consumer in std::mem::take(&mut self.channels.cancelled) {
            let Some(number) = self.channels.consumers.find(consumer) else {
                continue;
            };
            self.on_channel(number, MethodId::default(), |channel, cx| {
                channel.consumer_cancelled(cx, consumer);
            });
        }
    }

    pub(super) fn take_deliveries(&mut self) -> Vec<Event> {
        let mut deliveries = std::mem::take(&mut self.deliveries);
        let events = self.shared.outbox.take(&mut deliveries);
        let before = self.out.pending();
        for delivery in deliveries.drain(..) {
            let Some(number) = self.channels.consumers.find(delivery.consumer) else {
                continue;
            };
            self.on_channel(number, MethodId::default(), |channel, cx| {
                channel.deliver(cx, &delivery)
            });
        }
        self.delivering_bytes += self.out.pending() - before;
        self.deliveries = deliveries;
        events
    }

    /// The socket has taken most of what there was: consumers may be given more.
    pub(super) fn deliveries_written(&mut self) {
        self.delivering_bytes = 0;
        for number in std::mem::take(&mut self.channels.delivering) {
            self.on_channel(number, MethodId::default(), Channel::deliveries_written);
        }
    }

    /// Gives the runs of this batch to their queues, and sends the confirms that are due.
    pub(super) fn end_batch(&mut self) {
        while let Some(number) = self.channels.dirty.pop() {
            self.on_channel(number, MethodId::default(), |channel, cx| {
                channel.is_dirty = false;
                channel.flush(cx);
            });
        }
        self.keep_half_received();
        self.send_confirms();
    }

    /// What has not come as a whole in this batch waits for the rest.
    fn keep_half_received(&mut self) {
        while let Some(number) = self.channels.assembling.next_begun() {
            let buffer = self.read_buffer;
            if let Some(channel) = self.channels.get_mut(number) {
                channel.assembly.keep_header(buffer);
            }
        }
        self.share.hold(self.channels.assembling.held());
    }

    /// Sends the confirms that are due, and has the committer wake this task for the next ones.
    fn send_confirms(&mut self) {
        if self.channels.confirming.is_empty() {
            return;
        }
        let durable = self.shared.committer.durable();
        let mut next: Option<Ticket> = None;
        let mut numbers = std::mem::take(&mut self.channels.confirming);
        numbers.retain(|number| {
            let Some(channel) = self.channels.get_mut(*number) else {
                return false;
            };
            channel.send_confirms(&mut self.out, durable);
            let waits_for = channel.waits_for();
            channel.waits_for_confirms = waits_for.is_some();
            next = match (next, waits_for) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            waits_for.is_some()
        });
        self.channels.confirming = numbers;
        // Registered once per ticket, not per message: the committer calls when it is durable.
        if let Some(next) = next
            && self
                .registered
                .is_none_or(|known| known <= durable || next < known)
        {
            self.registered = Some(next);
            self.shared
                .committer
                .when_durable(next, self.shared.outbox.clone());
        }
    }
}
