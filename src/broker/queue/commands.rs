//! What connections ask of a queue.

use std::sync::Arc;

use crate::model::stream::StreamOffset;
use crate::model::{ConsumerId, Lease, Message, Ticket};
use crate::store::Op;

use super::channel_limiter::ChannelLimiter;
use super::consumer::{ConsumeError, ConsumerInfo, Credit, NewConsumer};
use super::counts::Counts;
use super::durability::Durability;
use super::effects::{Admission, Effects, Get, Got, Settle};
use super::machine::Machine;
use super::shell::{Cell, Queue, QueueGone};

/// What became of a run of publishes.
#[derive(Debug, Default)]
pub struct Published {
    /// When this is durable, the run may be confirmed; `None` if nothing has to be waited for.
    pub ticket: Option<Ticket>,
    /// Indexes in the run that `x-overflow` refused.
    pub rejected: Vec<u32>,
}

impl Queue {
    /// Whether a restart would find this message in the queue: whether its confirm waits for the disk.
    pub fn keeps(&self, message: &Message) -> bool {
        self.durability().covers(message)
    }

    pub(super) fn durability(&self) -> Durability {
        Durability::of(self.spec.durable, self.spec.arguments.kind)
    }

    /// Enqueues a run of messages, in order; of a run for which there is not room enough, what there is room for.
    pub fn publish(&self, run: &[Arc<Message>]) -> Published {
        self.publish_as(run, Admission::Each)
    }

    /// Enqueues a run of messages, in order, if there is room for all of them; else none.
    pub fn publish_whole(&self, run: &[Arc<Message>]) -> Published {
        self.publish_as(run, Admission::Whole)
    }

    /// Registers a consumer; deliveries may reach its sink before this returns.
    pub fn consume(&self, mut consumer: NewConsumer) -> Result<(), ConsumeError> {
        if let Some(start) = &mut consumer.stream
            && let StreamOffset::Time(wall_ms) = start.offset
        {
            start.offset = StreamOffset::Time(self.services.clock.moment_of(wall_ms).ms());
        }
        self.run(|state, now_ms, fx| state.consume(now_ms, consumer, fx))
            .unwrap_or(Err(ConsumeError::Gone))
    }

    /// Takes a consumer out. What it holds stays leased until it is settled.
    pub fn cancel(&self, consumer: ConsumerId) {
        let was_last = self.run(|state, now_ms, fx| state.cancel(now_ms, consumer, fx));
        self.look_if_unused(was_last);
    }

    /// These consumers are about to [`Queue::leave`]: they are given nothing from now on, and keep their places.
    pub fn halt(&self, consumers: &[ConsumerId]) {
        self.run(|state, _, _| state.halt(consumers));
    }

    /// Consumers leave, and these leases end, because their channels do: the messages are back before anybody is given
    /// one.
    pub fn leave(&self, consumers: &[ConsumerId], leases: &[Lease]) {
        let was_last = self.run(|state, now_ms, fx| state.leave(now_ms, consumers, leases, fx));
        self.look_if_unused(was_last);
    }

    fn look_if_unused(&self, was_last: Option<bool>) {
        if was_last == Some(true) && self.spec.auto_delete {
            self.tell_owner(|owner, queue| owner.queue_unused(queue));
        }
    }

    /// Grants credit to consumers.
    pub fn credit(&self, credit: &[(ConsumerId, Credit)]) {
        self.run(|state, now_ms, fx| state.grant(now_ms, credit, fx));
    }

    /// A channel's shared limiter has room again, of which this much is for this queue.
    pub fn poke(&self, limiter: &Arc<ChannelLimiter>, share: u32) {
        self.run(|state, now_ms, fx| state.poke(now_ms, limiter, share, fx));
    }

    /// Ends leases and grants the credit that this frees. Leases that have ended already are passed over. The ticket tells when it is durable; `None` if there is
    /// nothing to write.
    pub fn settle(
        &self,
        how: Settle,
        leases: &[Lease],
        credit: &[(ConsumerId, Credit)],
    ) -> Option<Ticket> {
        let settle = |state: &mut Machine, now_ms, fx: &mut Effects| {
            state.settle(now_ms, how, leases, credit, fx)
        };
        let (_, ticket) = self.act(settle)?;
        ticket
    }

    /// Takes the message at the head; with `no_ack` it is settled at once.
    pub async fn get(&self, no_ack: bool) -> Result<Option<Got>, QueueGone> {
        loop {
            let loaded = self.loaded.notified();
            match self.run(|state, now_ms, fx| state.get(now_ms, no_ack, fx)) {
                None => return Err(QueueGone),
                Some(Get::Empty) => return Ok(None),
                Some(Get::Got(got)) => return Ok(Some(got)),
                Some(Get::Loading) => loaded.await,
            }
        }
    }

    /// Drops every message that waits, for a consumer or for its time. What has died before is dead-lettered. The ticket tells when a restart will not bring them back.
    pub fn purge(&self) -> (u64, Option<Ticket>) {
        self.act(|state, now_ms, fx| state.purge(now_ms, fx))
            .unwrap_or_default()
    }

    /// The queue was declared again.
    pub fn touch(&self) {
        self.run(|state, now_ms, _| state.touch(now_ms));
    }

    /// Its numbers.
    pub fn counts(&self) -> Counts {
        self.lock().state.counts()
    }

    /// Its consumers.
    pub fn consumers(&self) -> Vec<ConsumerInfo> {
        self.lock().state.consumer_infos()
    }

    /// Deletes the queue: its consumers are told, what it wrote is removed with the batch of the returned ticket; or, if
    /// there are dead letters still, when these are published. `None` if it was deleted before, or if `only_if` says no to its numbers.
    pub fn delete(&self, only_if: impl FnOnce(&Counts) -> bool) -> Option<(Counts, Ticket)> {
        let mut cell = self.lock();
        let counts = cell.state.counts();
        if cell.deleted || !only_if(&counts) {
            return None;
        }
        cell.deleted = true;
        let consumers = cell.state.drain_consumers();
        let is_dying = cell.state.is_dying();
        let ops = match is_dying {
            true => Vec::new(),
            false => self.remove_logs(&mut cell),
        };
        if is_dying && let Some(me) = self.me.upgrade() {
            self.services.letters.keep(me);
        }
        let deadline = cell.deadline_ms.take();
        self.services
            .timers
            .schedule(&self.me, self.spec.id, deadline, None);
        // Under the lock, so that a batch either collects the queue's last chunks before this or, seeing that the
        // queue is deleted, nothing.
        let ticket = self.services.committer.append(ops);
        drop(cell);
        for consumer in consumers {
            consumer.new.sink.cancelled(consumer.id());
        }
        self.loaded.notify_waiters();
        Some((counts, ticket))
    }

    /// Nothing of the queue is needed any more.
    pub(super) fn remove_logs(&self, cell: &mut Cell) -> Vec<Op> {
        self.services.budget.change(cell.resident_bytes, 0);
        cell.resident_bytes = 0;
        let logs = cell.state.logs().into_iter();
        logs.map(|log| Op::RemoveLog { log }).collect()
    }

    /// Whether it has been deleted.
    pub fn is_deleted(&self) -> bool {
        self.lock().deleted
    }

    fn publish_as(&self, run: &[Arc<Message>], admission: Admission) -> Published {
        let (published, letters) = self.publish_run(run, admission);
        if letters {
            self.send_letters();
        }
        published
    }

    /// Enqueues a run; true if the caller has dead letters to see to.
    pub(super) fn publish_run(
        &self,
        run: &[Arc<Message>],
        admission: Admission,
    ) -> (Published, bool) {
        let mut published = Published::default();
        let applied = self.apply(|state, now_ms, fx| {
            state.publish(now_ms, run, admission, &mut published.rejected, fx);
            fx.persisted
        });
        let letters = applied.as_ref().is_some_and(|applied| applied.letters);
        if let Some(applied) = applied.filter(|applied| applied.result) {
            published.ticket = applied.ticket;
        }
        (published, letters)
    }
}
