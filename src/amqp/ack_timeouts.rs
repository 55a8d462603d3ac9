//! Unacked deliveries whose time is over. A quorum queue or its consumer sets a time by `x-consumer-timeout`: then
//! the messages go back to their queue, and the client hears `basic.cancel`, as in RabbitMQ 4.3. For all others the
//! broker's own timeout closes the channel, as in 4.0.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::channel::{Channel, Phase};
use super::connection::Connection;
use super::connection_state::ConnectionState;
use super::error::{Code, Refusal};
use super::queue_handles::QueueHandle;
use super::unacked::{AckTime, UnackedDelivery};
use crate::model::arguments::QueueKind;
use crate::model::{ConsumerId, Lease};

impl Connection {
    /// When [`Connection::end_overdue`] is next needed.
    pub(super) fn ack_deadline(&self) -> Option<Instant> {
        self.state.ack_deadline()
    }

    /// Gives overdue deliveries back to their queues.
    pub(super) fn end_overdue(&mut self) {
        let now_ms = self.state.now_ms();
        if !self.state.take_ack_due(now_ms) {
            return;
        }
        let numbers: Vec<u16> = self.channels.iter().map(|channel| channel.number).collect();
        for number in numbers {
            if let Some((channel, state)) = self.channel(number)
                && channel.end_overdue(state, now_ms) == Overdue::Closes
            {
                // RabbitMQ knows no more than that some timeout has passed.
                self.fail(number, timed_out(number, -1).into());
            }
        }
    }

    /// Closes channels whose client leaves a delivery unacked for longer than the broker allows.
    pub(super) fn check_consumer_timeouts(&mut self) {
        let default_ms = self.state.shared.front.consumer_timeout_ms();
        let now_ms = self.state.now_ms();
        let exceeded = |channel: &Channel| {
            let timeout_ms = channel.exceeded_timeout(now_ms, default_ms)?;
            Some((channel.number, timeout_ms))
        };
        let late: Vec<(u16, u64)> = self.channels.iter().filter_map(exceeded).collect();
        for (number, timeout_ms) in late {
            let timeout_ms = i64::try_from(timeout_ms).unwrap_or(i64::MAX);
            self.fail(number, timed_out(number, timeout_ms).into());
        }
    }
}

fn timed_out(channel: u16, timeout_ms: i64) -> Refusal {
    let text = format!(
        "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout_ms} ms. \
         This timeout value can be configured, see consumers doc guide to learn more"
    );
    Refusal::new(Code::PreconditionFailed, text).about_nothing()
}

/// What overdue deliveries mean for their channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overdue {
    /// Nothing, or their consumers were told so.
    StaysOpen,
    /// There is no consumer to tell, or the client does not understand.
    Closes,
}

impl Channel {
    /// The time for the answer to a delivery. `timeout_ms` is that of the consumer or queue.
    pub(super) fn ack_time(
        connection: &mut ConnectionState,
        kind: QueueKind,
        timeout_ms: Option<u64>,
    ) -> AckTime {
        let now_ms = connection.now_ms();
        match timeout_ms.filter(|_| kind == QueueKind::Quorum) {
            None => AckTime::Since(now_ms),
            Some(timeout_ms) => {
                let due_ms = now_ms.saturating_add(timeout_ms);
                connection.expect_ack_by(due_ms);
                AckTime::Until(due_ms)
            }
        }
    }

    fn end_overdue(&mut self, connection: &mut ConnectionState, now_ms: u64) -> Overdue {
        let (overdue, next_ms) = self.unacked.end_overdue(now_ms);
        if let Some(next_ms) = next_ms {
            connection.expect_ack_by(next_ms);
        }
        let mut groups: BTreeMap<(QueueHandle, Option<ConsumerId>), Vec<Lease>> = BTreeMap::new();
        for UnackedDelivery {
            queue,
            consumer,
            lease,
            ..
        } in overdue
        {
            groups.entry((queue, consumer)).or_default().push(lease);
        }
        let mut verdict = Overdue::StaysOpen;
        for ((queue, consumer), leases) in groups {
            let tag = consumer.and_then(|id| Some((id, self.consumers.get(id)?.tag.clone())));
            let id = tag.as_ref().map(|(id, _)| *id);
            let Some(queue) = self.queues.get(queue) else {
                continue;
            };
            if queue.time_out(id, &leases) == 0 {
                continue;
            }
            match tag.filter(|_| connection.shared.client.consumer_cancel_notify) {
                Some((_, tag)) => self.send_cancel(connection, &tag),
                None => verdict = Overdue::Closes,
            }
        }
        verdict
    }

    /// The timeout in milliseconds that closes the channel, if the oldest unacked delivery has exceeded it.
    fn exceeded_timeout(&self, now_ms: u64, default_ms: Option<u64>) -> Option<u64> {
        if self.phase != Phase::Open {
            return None;
        }
        let (oldest, since_ms) = self.unacked.oldest()?;
        let queue = self.queues.get(oldest.queue);
        let asked_ms = || {
            let consumer = oldest.consumer.and_then(|id| self.consumers.get(id));
            let of_consumer = consumer.and_then(|consumer| consumer.timeout_ms);
            of_consumer.or_else(|| queue?.arguments().consumer_timeout_ms)
        };
        // A quorum queue that has set a timeout since obeys it for new consumers.
        let is_quorum = queue.is_some_and(|it| it.spec().arguments.kind == QueueKind::Quorum);
        let asked_ms = if is_quorum { None } else { asked_ms() };
        let timeout_ms = asked_ms.or(default_ms)?;
        let waited_ms = now_ms.saturating_sub(since_ms);
        (waited_ms >= timeout_ms).then_some(timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_has_all_its_time() {
        let mut channel = Channel::new(1);
        channel.unacked.push(UnackedDelivery {
            queue: QueueHandle::NONE,
            consumer: None,
            lease: Lease {
                lane: 0,
                offset: 0,
                turn: 0,
            },
            time: AckTime::Since(999),
        });
        assert_eq!(channel.exceeded_timeout(2_498, Some(1_500)), None);
        assert_eq!(channel.exceeded_timeout(2_499, Some(1_500)), Some(1_500));
    }
}
