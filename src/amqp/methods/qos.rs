//! `basic.qos`: the maximum number of unacked deliveries.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::channel::Channel;
use super::super::connection_state::ConnectionState;
use super::super::error::{Code, Handled, Refusal};
use super::super::queue_handles::QueueHandle;
use crate::broker::queue::ChannelLimiter;
use crate::wire::AMQPClass;
use crate::wire::protocol::basic::{AMQPMethod, Qos, QosOk};

/// Places of a limiter without a limit: more than a channel can ever have unacked deliveries.
const UNLIMITED: i64 = 1 << 40;

impl Channel {
    /// `basic.qos`. Without `global` it applies to each later consumer, with `global` to all consumers of the
    /// channel together, earlier ones included (RabbitMQ's meaning of the flag). Either replaces an earlier
    /// limit for all. The decoded method lacks the prefetch size, so it is read from `payload`; only zero is
    /// supported.
    pub(crate) fn basic_qos(
        &mut self,
        connection: &mut ConnectionState,
        payload: &[u8],
        m: Qos,
    ) -> Handled {
        // The prefetch size comes first, after the ids of class and method.
        let size = payload
            .get(4..8)
            .and_then(|size| size.try_into().ok())
            .map_or(0, u32::from_be_bytes);
        if size != 0 {
            return Err(Refusal::new(
                Code::NotImplemented,
                format!("prefetch_size!=0 ({size})"),
            ));
        }
        match m.global {
            true => self.set_global_prefetch(m.prefetch_count),
            false => {
                self.prefetch = m.prefetch_count;
                self.set_global_prefetch(0);
            }
        }
        connection.send(self.number, AMQPClass::Basic(AMQPMethod::QosOk(QosOk {})));
        Ok(())
    }

    /// The limiter of the channel's consumers. All of them have it, since a limit may be set after their
    /// registration.
    pub(crate) fn limiter(&mut self) -> Arc<ChannelLimiter> {
        let limit = places(self.global_prefetch);
        Arc::clone(
            self.limiter
                .get_or_insert_with(|| Arc::new(ChannelLimiter::new(limit))),
        )
    }

    /// Whether the channel has a limit for all its consumers together.
    pub(crate) fn is_limited(&self) -> bool {
        self.global_prefetch > 0
    }

    /// Lets the queues that the limit has stopped deliver again, in rounds: each gets its share, the one that
    /// waits longest first. Shares grow from round to round, since consumers without acknowledgements use up
    /// no places and would need many rounds.
    pub(crate) fn poke_queues(&self) {
        let Some(limiter) = &self.limiter else {
            return;
        };
        let mut rounds = 0;
        while let Some((queues, share)) = limiter.round() {
            let share = share.saturating_mul(1 << (rounds / 2).min(16));
            for _ in 0..queues {
                let Some(queue) = limiter.next_waiting() else {
                    return;
                };
                if let Some(queue) = self.queues.find(queue) {
                    queue.poke(limiter, share);
                }
            }
            rounds += 1;
        }
    }

    /// While a channel has no limit its queues deliver without asking the limiter, so they learn when that
    /// changes.
    fn tell_queues_of_limit(&self, limiter: &Arc<ChannelLimiter>) {
        let consumers = self.consumers.iter();
        let sources = consumers.filter_map(|(_, consumer)| consumer.source);
        let queues: BTreeSet<QueueHandle> = sources.map(|source| source.queue).collect();
        for queue in queues
            .into_iter()
            .filter_map(|queue| self.queues.get(queue))
        {
            queue.limit_changed(limiter);
        }
    }

    fn set_global_prefetch(&mut self, prefetch: u16) {
        let more = places(prefetch) - places(self.global_prefetch);
        let was_limited = self.is_limited();
        self.global_prefetch = prefetch;
        if let Some(limiter) = &self.limiter {
            limiter.give_back(more);
            if was_limited != self.is_limited() {
                self.tell_queues_of_limit(limiter);
            }
            if more > 0 {
                self.poke_queues();
            }
        }
    }
}

fn places(prefetch: u16) -> i64 {
    match prefetch {
        0 => UNLIMITED,
        count => i64::from(count),
    }
}
