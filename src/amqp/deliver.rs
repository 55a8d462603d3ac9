//! Deliveries on their way from the outbox to the client, and consumers that end with their queue.

use super::channel::{Channel, Phase};
use super::connection_state::ConnectionState;
use super::consumers::Source;
use super::message_frames::{AddedHeaders, put_content};
use super::unacked::UnackedDelivery;
use crate::broker::queue::Delivery;
use crate::model::ConsumerId;
use crate::wire::protocol::basic;
use crate::wire::{self, AMQPClass};

impl Channel {
    /// Sends a delivery to the client. On a closing channel the delivery only becomes unacked, so that it
    /// goes back to its queue.
    pub(crate) fn deliver(&mut self, connection: &mut ConnectionState, delivery: &Delivery) {
        let id = delivery.consumer;
        let Some(consumer) = self.consumers.get_mut(id) else {
            return;
        };
        let message = &delivery.message;
        if !consumer.account.is_under_way() {
            if self.under_way.is_empty() {
                connection.delivering.push(self.number);
            }
            self.under_way.push(id);
        }
        let needs_ack = !consumer.no_ack;
        let stats = &mut self.message_stats;
        stats.deliver += u64::from(needs_ack);
        stats.deliver_no_ack += u64::from(!needs_ack);
        stats.redeliver += u64::from(delivery.redelivered);
        consumer.account.delivered(message.size() as u64, needs_ack);
        let tag = match consumer.source {
            Some(source) if needs_ack => {
                self.queues.reuse(source.queue);
                self.unacked.push(UnackedDelivery {
                    queue: source.queue,
                    consumer: Some(id),
                    lease: delivery.lease,
                    time: Channel::ack_time(connection, source.kind, consumer.timeout_ms),
                })
            }
            Some(_) => self.unacked.skip_tag(),
            None => {
                if let Some((_, address)) = &mut self.reply_consumer {
                    address.put_into_output(message);
                }
                self.unacked.skip_tag()
            }
        };
        if self.phase != Phase::Open {
            return;
        }
        let added = match consumer.source {
            Some(source) => added_headers(connection, source, delivery),
            None => AddedHeaders::None,
        };
        wire::put_deliver(
            connection.out.buffer(),
            self.number,
            &consumer.tag,
            tag,
            delivery.redelivered,
            &message.origin.exchange,
            &message.origin.routing_key,
        );
        let frame_max = connection.shared.frame_max;
        put_content(&mut connection.out, frame_max, self.number, message, added);
    }

    /// Ends a consumer whose queue is gone.
    pub(crate) fn consumer_cancelled(&mut self, connection: &mut ConnectionState, id: ConsumerId) {
        if let Some(tag) = self.remove_consumer(connection, id) {
            self.send_cancel(connection, &tag);
        }
    }

    /// Tells the client that the broker has cancelled a consumer, if the client understands that.
    pub(crate) fn send_cancel(&self, connection: &mut ConnectionState, tag: &str) {
        if connection.shared.client.consumer_cancel_notify && self.phase == Phase::Open {
            let cancel = basic::Cancel {
                consumer_tag: wire::short_string(tag),
                nowait: true,
            };
            let cancel = basic::AMQPMethod::Cancel(cancel);
            connection.send(self.number, AMQPClass::Basic(cancel));
        }
    }
}

/// The headers that a delivery from a queue gets.
pub(super) fn added_headers(
    connection: &ConnectionState,
    source: Source,
    delivery: &Delivery,
) -> AddedHeaders {
    let enqueued = delivery.enqueued;
    let enqueued_ms = enqueued.map(|enqueued| connection.wall_ms_at(enqueued));
    AddedHeaders::of(
        source.kind,
        delivery.counts,
        delivery.lease.offset,
        enqueued_ms,
    )
}
