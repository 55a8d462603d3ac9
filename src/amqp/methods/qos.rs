//! `basic.qos`: how many deliveries may wait for their answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::channel::Channel;
use super::super::cx::{Cx, Handled};
use super::super::error::{Code, Refusal};
use crate::broker::queue::ChannelLimiter;
use crate::wire::AMQPClass;
use crate::wire::protocol::basic::{AMQPMethod, Qos, QosOk};

/// What a limiter starts with that limits nothing: more than can ever be unanswered.
const NO_LIMIT: i64 = 1 << 40;

impl Channel {
    /// `basic.qos`. Without `global` it is for the consumers to come, with it for all of the channel together, those
    /// there are included (RabbitMQ's meaning of the flag); either takes the place of a limit for all. The size in `payload` is refused unless it is zero; the
    /// parsed method does not have it.
    pub(crate) fn basic_qos(&mut self, cx: &mut Cx<'_>, payload: &[u8], m: Qos) -> Handled {
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
            true => self.limit_together(m.prefetch_count),
            false => {
                self.prefetch = m.prefetch_count;
                self.limit_together(0);
            }
        }
        cx.send(self.number, AMQPClass::Basic(AMQPMethod::QosOk(QosOk {})));
        Ok(())
    }

    /// The limiter of the channel's consumers. They all have one, since a limit may be set after they were registered.
    pub(crate) fn limiter(&mut self) -> Arc<ChannelLimiter> {
        let limit = places(self.global_prefetch);
        Arc::clone(
            self.limiter
                .get_or_insert_with(|| Arc::new(ChannelLimiter::new(limit))),
        )
    }

    /// Whether the channel has a limit for all its consumers.
    pub(crate) fn is_limited(&self) -> bool {
        self.global_prefetch > 0
    }

    /// The queues that the limit has held back deliver in turn while there is room: each its share, who has waited longest
    /// first. Shares grow from round to round, so that consumers without acknowledgements, which use no room up, do
    /// not make many rounds of it.
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

    /// Queues deliver without asking while a channel has no limit.
    fn tell_queues_of_limit(&self, limiter: &Arc<ChannelLimiter>) {
        let sources = self
            .consumers
            .iter()
            .filter_map(|(_, consumer)| consumer.source.as_ref());
        let queues: BTreeSet<u32> = sources.map(|source| source.queue).collect();
        for queue in queues
            .into_iter()
            .filter_map(|queue| self.queues.get(queue))
        {
            queue.limit_changed(limiter);
        }
    }

    fn limit_together(&mut self, prefetch: u16) {
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
        0 => NO_LIMIT,
        count => i64::from(count),
    }
}
