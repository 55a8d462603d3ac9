//! Deliveries of a channel on their way to the client, and the end of consumers whose queue is gone. Where their credit
//! comes from is in `methods/ack` and `credit`.

use super::channel::{Channel, Phase};
use super::cx::Cx;
use super::methods::get::{Extra, put_content};
use super::unacked::Unacked;
use crate::broker::queue::Delivery;
use crate::model::ConsumerId;
use crate::wire::protocol::basic;
use crate::wire::{self, AMQPClass};

impl Channel {
    /// Sends a delivery to the client, or, if the channel is closing, only notes it so that it goes back.
    pub(crate) fn deliver(&mut self, cx: &mut Cx<'_>, delivery: &Delivery) {
        let id = delivery.consumer;
        let Some(consumer) = self.consumers.get_mut(id) else {
            return;
        };
        let message = &delivery.message;
        if !consumer.account.is_under_way() {
            if self.under_way.is_empty() {
                cx.delivering.push(self.number);
            }
            self.under_way.push(id);
        }
        consumer
            .account
            .delivered(message.size() as u64, !consumer.no_ack);
        let mut extra = Extra::Nothing;
        let tag = match consumer.source {
            Some(source) if !consumer.no_ack => {
                self.queues.reuse(source.queue);
                self.ledger.push(Unacked {
                    queue: source.queue,
                    consumer: Some(id),
                    lease: delivery.lease,
                    at_ms: cx.now_ms,
                })
            }
            Some(_) => self.ledger.skip(),
            None => {
                if let Some((_, address)) = &mut self.reply {
                    address.hand_out(message);
                }
                self.ledger.skip()
            }
        };
        if let Some(source) = consumer.source {
            extra = Extra::of(
                source.kind,
                delivery.delivery_count,
                delivery.lease.offset,
                delivery.enqueued.map(|enqueued| cx.wall_ms_at(enqueued)),
            );
        }
        if self.phase != Phase::Open {
            return;
        }
        let origin = &message.origin;
        wire::put_deliver(
            cx.out.buffer(),
            self.number,
            &consumer.tag,
            tag,
            delivery.redelivered,
            &origin.exchange,
            &origin.routing_key,
        );
        put_content(cx.out, cx.shared.frame_max, self.number, message, extra);
    }

    /// The queue of a consumer is gone: the consumer as well.
    pub(crate) fn consumer_cancelled(&mut self, cx: &mut Cx<'_>, id: ConsumerId) {
        let Some(consumer) = self.consumers.remove(id) else {
            return;
        };
        cx.consumers.remove(id);
        if let Some(source) = consumer.source {
            self.queues.release(source.queue, 1);
        }
        self.tell_cancelled(cx, &consumer.tag);
    }

    /// Tells the client that a consumer has been cancelled from this side, if it understands that.
    pub(crate) fn tell_cancelled(&self, cx: &mut Cx<'_>, tag: &str) {
        if cx.shared.client.consumer_cancel_notify && self.phase == Phase::Open {
            let cancel = basic::Cancel {
                consumer_tag: wire::short_string(tag),
                nowait: true,
            };
            cx.send(
                self.number,
                AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)),
            );
        }
    }
}
