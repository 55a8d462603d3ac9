//! `basic.ack`, `basic.nack`, `basic.reject` and `basic.recover`. Acks are gathered until the batch of frames
//! ends; then each queue gets them in one step, together with the credit that they free.

use super::super::channel::{Channel, Mode};
use super::super::channel_credit::Grants;
use super::super::connection_state::ConnectionState;
use super::super::error::{Code, Handled, Refusal};
use super::super::gathered_acks::QueueAcks;
use super::super::unacked::UnackedDelivery;
use crate::broker::queue::Acknowledgement;
use crate::model::Ticket;
use crate::model::arguments::QueueKind;
use crate::wire::AMQPClass;
use crate::wire::protocol::basic::{AMQPMethod, RecoverOk};

impl Channel {
    /// `basic.ack`.
    pub(crate) fn basic_ack(
        &mut self,
        connection: &mut ConnectionState,
        tag: u64,
        multiple: bool,
    ) -> Handled {
        let mut deliveries = std::mem::take(&mut self.acknowledged);
        let taken = self.take_unacked(tag, multiple, &mut deliveries);
        if let Mode::Tx(transaction) = &mut self.mode {
            transaction.acknowledge(Acknowledgement::Ack, deliveries)?;
            return taken;
        }
        for (_, delivery) in deliveries.drain(..) {
            self.gather(&delivery);
        }
        self.acknowledged = deliveries;
        self.mark_dirty(connection);
        taken
    }

    /// `basic.nack`, and `basic.reject`, which is a nack of one. `how` is not an ack.
    pub(crate) fn basic_nack(
        &mut self,
        connection: &mut ConnectionState,
        tag: u64,
        multiple: bool,
        how: Acknowledgement,
    ) -> Handled {
        let mut deliveries = Vec::new();
        self.take_unacked(tag, multiple, &mut deliveries)?;
        if let Mode::Tx(transaction) = &mut self.mode {
            return transaction.acknowledge(how, deliveries);
        }
        // Earlier acks and publishes go first, since other consumers may see a requeued message immediately.
        self.flush(connection);
        match how {
            // Together with the credit that this frees, so that waiting messages leave a full queue before a
            // dead letter enters it.
            Acknowledgement::Reject | Acknowledgement::RejectFailed => {
                deliveries
                    .iter()
                    .for_each(|(_, delivery)| self.gather(delivery));
                let grants = self.grants(connection);
                self.acknowledge_gathered(how, grants);
            }
            Acknowledgement::Ack | Acknowledgement::Requeue | Acknowledgement::RequeueFailed => {
                self.acknowledge_now(how, &deliveries);
            }
        }
        self.flush_credit(connection);
        Ok(())
    }

    /// `basic.recover` and `basic.recover-async`: requeues all unacked deliveries.
    pub(crate) fn basic_recover(
        &mut self,
        connection: &mut ConnectionState,
        requeue: bool,
        with_reply: bool,
    ) -> Handled {
        if !requeue {
            return Err(Refusal::new(Code::NotImplemented, "requeue=false"));
        }
        let mut deliveries = Vec::new();
        self.unacked.take_all(&mut deliveries);
        self.acknowledge_now(Acknowledgement::Requeue, &deliveries);
        if with_reply {
            let ok = AMQPMethod::RecoverOk(RecoverOk {});
            connection.send(self.number, AMQPClass::Basic(ok));
        }
        self.flush_credit(connection);
        Ok(())
    }

    /// Acknowledges deliveries to their queues now, in order. Returns the ticket that makes it durable;
    /// `None` if nothing is written.
    pub(crate) fn acknowledge_now(
        &mut self,
        how: Acknowledgement,
        deliveries: &[(u64, UnackedDelivery)],
    ) -> Option<Ticket> {
        if deliveries.is_empty() {
            return None;
        }
        for (_, delivery) in deliveries {
            self.gather(delivery);
        }
        self.acknowledge_gathered(how, Grants::default())
    }

    /// Gives the gathered acks to their queues.
    pub(crate) fn flush_acks(&mut self, connection: &mut ConnectionState) {
        if self.acks.is_empty() {
            return;
        }
        let grants = self.grants(connection);
        self.acknowledge_gathered(Acknowledgement::Ack, grants);
    }

    fn take_unacked(
        &mut self,
        tag: u64,
        multiple: bool,
        deliveries: &mut Vec<(u64, UnackedDelivery)>,
    ) -> Handled {
        let taken = self.unacked.take(tag, multiple, deliveries);
        taken.map_err(|unknown| {
            let text = format!("unknown delivery tag {}", unknown.0);
            Refusal::new(Code::PreconditionFailed, text)
        })
    }

    /// Gathers an acknowledged delivery and removes it from its consumer's account.
    fn gather(&mut self, delivery: &UnackedDelivery) {
        self.acks.push(delivery);
        if let Some(id) = delivery.consumer
            && let Some(consumer) = self.consumers.get_mut(id)
        {
            consumer.account.acknowledged();
            self.touch(id);
        }
    }

    /// Acknowledges the gathered deliveries. The channel's limiter has their places back before the queues
    /// deliver again.
    fn acknowledge_gathered(&mut self, how: Acknowledgement, mut grants: Grants) -> Option<Ticket> {
        let by_queue = self.acks.take();
        let places = self.limited_deliveries(&by_queue);
        if let Some(limiter) = &self.limiter {
            limiter.give_back(i64::try_from(places).unwrap_or(i64::MAX));
        }
        let mut ticket = None;
        for QueueAcks { queue, leases, .. } in by_queue {
            let credit = grants.take(queue);
            if how == Acknowledgement::Ack {
                self.message_stats.ack += leases.len() as u64;
            }
            if let Some(queue) = self.queues.get(queue) {
                ticket = ticket.max(queue.acknowledge(how, &leases, &credit));
            }
            self.queues.release(queue, leases.len());
        }
        self.grant(grants);
        if places > 0 && self.is_limited() {
            self.poke_queues();
        }
        ticket
    }

    /// Number of acknowledged deliveries that the channel's limiter counts: those from classic queues to
    /// consumers.
    fn limited_deliveries(&self, by_queue: &[QueueAcks]) -> usize {
        let is_classic = |acks: &&QueueAcks| {
            let queue = self.queues.get(acks.queue);
            queue.is_some_and(|queue| queue.spec().arguments.kind == QueueKind::Classic)
        };
        let classic = by_queue.iter().filter(is_classic);
        classic.map(|acks| acks.to_consumers).sum()
    }
}
