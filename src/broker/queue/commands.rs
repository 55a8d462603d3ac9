//! The commands of connections and operators to a queue.

use std::sync::Arc;

use crate::broker::stats::{HandedOut, Protocol};
use crate::clock::Moment;
use crate::model::stream::StreamOffset;
use crate::model::{ConsumerId, Lease, Message, Ticket};
use crate::store::Op;
use crate::wire::PropertiesView;

use super::channel_limiter::ChannelLimiter;
use super::consumer::{ConsumeError, ConsumerInfo, Credit, NewConsumer};
use super::counts::{Counts, StreamExtent};
use super::durability::Durability;
use super::effects::{Acknowledgement, Admission, Enqueued, Get, Got};
use super::outlets::{Outlet, id_of, limit_of};
use super::shell::{Cell, Queue, QueueGone};

/// The result of a run of publishes.
#[derive(Debug, Default)]
pub struct Published {
    /// The run may be confirmed when this batch is durable. `None`: immediately.
    pub ticket: Option<Ticket>,
    /// Indexes in the run that `x-overflow` refused.
    pub rejected: Vec<u32>,
    /// The queue holds the publisher back until [`Queue::room`].
    pub is_full: bool,
}

impl Queue {
    /// Whether a restart would find this message in the queue: whether its confirm waits for the disk.
    pub fn keeps(&self, message: &Message) -> bool {
        self.durability().covers(message)
    }

    pub(super) fn durability(&self) -> Durability {
        Durability::of(self.spec.durable, self.spec.arguments.kind)
    }

    /// Enqueues a run of messages, in order. Refuses messages that do not fit.
    pub fn publish(&self, run: &[Arc<Message>]) -> Published {
        self.publish_as(run, Admission::Each)
    }

    /// Enqueues a run of messages, in order, if all of them fit; else none.
    pub fn publish_whole(&self, run: &[Arc<Message>]) -> Published {
        self.publish_as(run, Admission::Whole)
    }

    fn publish_as(&self, run: &[Arc<Message>], admission: Admission) -> Published {
        let (published, letters) = self.publish_run(run, admission);
        if letters {
            self.send_letters();
        }
        published
    }

    /// Enqueues a run. True if the caller must publish dead letters.
    pub(super) fn publish_run(
        &self,
        run: &[Arc<Message>],
        admission: Admission,
    ) -> (Published, bool) {
        let Some(cell) = self.lock_unless_deleted() else {
            return (Published::default(), false);
        };
        let applied = self.turn(cell, |cell, now_ms| {
            let enqueued = self.enqueue(cell, now_ms, run, admission);
            cell.stats.publish += (run.len() - enqueued.rejected.len()) as u64;
            enqueued
        });
        let enqueued = applied.result;
        let published = Published {
            ticket: applied.ticket.filter(|_| enqueued.persisted),
            rejected: enqueued.rejected,
            is_full: enqueued.is_full,
        };
        (published, applied.letters)
    }

    fn enqueue(
        &self,
        cell: &mut Cell,
        now_ms: u64,
        run: &[Arc<Message>],
        admission: Admission,
    ) -> Enqueued {
        let (machine, fx) = cell.machine();
        let mut all = machine.publish(now_ms, run, admission, fx);
        cell.answer_permits(self.spec.id, now_ms);
        while all.is_paused {
            let rest = run.get(all.seen..).unwrap_or_default();
            let (machine, fx) = cell.machine();
            all = all.and(machine.publish(now_ms, rest, admission, fx));
            cell.answer_permits(self.spec.id, now_ms);
        }
        all
    }

    /// Whether the queue holds its publishers back.
    pub fn is_full(&self) -> bool {
        let cell = self.lock();
        !cell.deleted && cell.machine.is_full()
    }

    /// Waits until the queue holds its publishers back no longer.
    pub async fn room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            {
                let mut cell = self.lock();
                if cell.deleted || !cell.machine.is_full() {
                    return;
                }
                cell.holds_publishers = true;
            }
            room.await;
        }
    }

    /// Registers a consumer; deliveries may reach its sink before this returns.
    pub fn consume(&self, mut new: NewConsumer, outlet: Outlet) -> Result<(), ConsumeError> {
        if let Some(start) = &mut new.stream
            && let StreamOffset::Time(wall_ms) = start.offset
        {
            start.offset = StreamOffset::Time(self.services.clock.moment_of(wall_ms).ms());
        }
        let cell = self.lock_unless_deleted().ok_or(ConsumeError::Gone)?;
        let applied = self.turn(cell, |cell, now_ms| {
            let (id, no_ack, limit) = (new.id, new.no_ack, outlet.limit());
            cell.outlets.add(id, no_ack, outlet);
            let (machine, fx) = cell.machine();
            let consumed = machine.consume(now_ms, new, limit, fx);
            cell.answer_permits(self.spec.id, now_ms);
            if consumed.is_err() {
                cell.outlets.remove(&[id]);
            }
            consumed
        });
        self.send_letters_of(applied).0
    }

    /// Removes a consumer. Its unacked messages stay leased.
    pub fn cancel(&self, consumer: ConsumerId) {
        self.leave(&[consumer], &[]);
    }

    /// Stops deliveries to consumers that are about to [`Queue::leave`]; they keep their places.
    pub fn halt(&self, consumers: &[ConsumerId]) {
        self.run(|machine, _, _| machine.halt(consumers));
    }

    /// Removes consumers and ends leases of channels that end. The messages are back before the queue
    /// delivers any.
    pub fn leave(&self, consumers: &[ConsumerId], leases: &[Lease]) {
        let Some(cell) = self.lock_unless_deleted() else {
            return;
        };
        let applied = self.turn(cell, |cell, now_ms| {
            let (machine, fx) = cell.machine();
            let was_last = machine.leave(now_ms, consumers, leases, fx);
            cell.answer_permits(self.spec.id, now_ms);
            cell.outlets.remove(consumers);
            was_last
        });
        let (was_last, _) = self.send_letters_of(applied);
        if was_last && self.spec.auto_delete {
            self.tell_owner(|owner, queue| owner.queue_unused(queue));
        }
    }

    /// Grants credit to consumers.
    pub fn credit(&self, credit: &[(ConsumerId, Credit)]) {
        self.run(|machine, now_ms, fx| machine.grant(now_ms, credit, fx));
    }

    /// A channel's limiter has room again: the queue may use this share in this round.
    pub fn poke(&self, limiter: &Arc<ChannelLimiter>, share: u32) {
        self.run(|machine, now_ms, fx| machine.poke(now_ms, id_of(limiter), share, fx));
    }

    /// Notes that the limit of a channel was set or removed.
    pub fn limit_changed(&self, limiter: &Arc<ChannelLimiter>) {
        if let Some(cell) = self.lock_unless_deleted() {
            let applied = self.turn(cell, |cell, now_ms| {
                let limit = limit_of(limiter);
                cell.outlets.limit(limit);
                let (machine, fx) = cell.machine();
                machine.limit(now_ms, limit, fx);
                cell.answer_permits(self.spec.id, now_ms);
            });
            self.send_letters_of(applied);
        }
    }

    /// Ends leases and grants the credit that this frees. Skips leases that have already ended. Returns the
    /// batch that makes this durable; `None` if there is nothing to write.
    pub fn acknowledge(
        &self,
        how: Acknowledgement,
        leases: &[Lease],
        credit: &[(ConsumerId, Credit)],
    ) -> Option<Ticket> {
        let mut cell = self.lock_unless_deleted()?;
        if how == Acknowledgement::Ack {
            self.count_acks(&mut cell, Protocol::Amqp, leases.len());
        }
        let applied = self.apply(cell, |machine, now_ms, fx| {
            machine.acknowledge(now_ms, how, leases, credit, fx);
        });
        self.send_letters_of(applied).1
    }

    /// A consumer (`None` if it has left, or for basic.get) has left these leases without an answer for longer than
    /// `x-consumer-timeout`: their messages return, and it gets no more until it has answered them. Returns how many
    /// had not ended.
    pub fn time_out(&self, consumer: Option<ConsumerId>, leases: &[Lease]) -> usize {
        self.run(|machine, now_ms, fx| machine.time_out(now_ms, consumer, leases, fx))
            .unwrap_or_default()
    }

    /// Takes the message at the head; with `no_ack` it is acked as it leaves.
    pub async fn get(&self, no_ack: bool) -> Result<Option<Got>, QueueGone> {
        loop {
            let loaded = self.loaded.notified();
            match self.try_get(no_ack) {
                None => return Err(QueueGone),
                Some(Get::Empty) => return Ok(None),
                Some(Get::Got(got)) => return Ok(Some(got)),
                Some(Get::Loading) => loaded.await,
            }
        }
    }

    fn try_get(&self, no_ack: bool) -> Option<Get> {
        let cell = self.lock_unless_deleted()?;
        let applied = self.turn(cell, |cell, now_ms| {
            let (machine, fx) = cell.machine();
            let result = machine.get(now_ms, no_ack, fx);
            cell.answer_permits(self.spec.id, now_ms);
            self.count_handed_out(cell, Protocol::Amqp, &fetched(&result, no_ack));
            result
        });
        Some(self.send_letters_of(applied).0)
    }

    /// Drops all ready and delayed messages, and returns their number. Dying messages are still
    /// dead-lettered. When the batch of the ticket is durable, a restart does not bring the messages back.
    pub fn purge(&self) -> (u64, Option<Ticket>) {
        self.act(|machine, now_ms, fx| machine.purge(now_ms, fx))
            .unwrap_or_default()
    }

    /// Notes that the queue was declared again, so that `x-expires` starts anew.
    pub fn touch(&self) {
        self.run(|machine, now_ms, _| machine.touch(now_ms));
    }

    pub fn counts(&self) -> Counts {
        self.lock().machine.counts()
    }

    /// When a client, a deadline or an operator last made it do something.
    pub fn last_active(&self) -> Moment {
        Moment::from_ms(self.lock().active_ms)
    }

    /// The `timestamp` property of the first message that is ready or unacked, if that is in memory. Streams have no such
    /// message.
    pub fn head_timestamp(&self) -> Option<u64> {
        let head = self.lock().machine.head_message().cloned()?;
        PropertiesView::parse(&head.properties).ok()?.timestamp()
    }

    /// Where a stream begins and ends; `None` for other queues.
    pub fn stream_extent(&self) -> Option<StreamExtent> {
        self.lock().machine.stream_extent()
    }

    pub fn consumers(&self) -> Vec<ConsumerInfo> {
        self.lock().machine.consumer_infos()
    }

    /// Deletes the queue and cancels its consumers. The batch of the returned ticket removes its logs; with
    /// dying messages left, the logs stay until their dead letters are published. `None` if the queue was
    /// deleted before, or if `only_if` refuses its counts.
    pub fn delete(&self, only_if: impl FnOnce(&Counts) -> bool) -> Option<(Counts, Ticket)> {
        let mut cell = self.lock();
        let counts = cell.machine.counts();
        if cell.deleted || !only_if(&counts) {
            return None;
        }
        cell.deleted = true;
        cell.machine.delete();
        cell.receives.clear();
        let outlets = cell.outlets.drain();
        let is_dying = cell.machine.is_dying();
        let ops = match is_dying {
            true => Vec::new(),
            false => self.remove_logs(&mut cell),
        };
        if is_dying && let Some(me) = self.me.upgrade() {
            self.services.letters.keep(me);
        }
        let deadline = cell.deadline_ms.take();
        self.schedule(deadline, None);
        // Under the lock, so that a batch either collects the queue's last chunks before this, or finds the
        // queue deleted and collects nothing.
        let ticket = self.services.committer.append(ops);
        drop(cell);
        for (consumer, outlet) in outlets {
            outlet.sink.cancelled(consumer);
        }
        self.loaded.notify_waiters();
        self.room.notify_waiters();
        Some((counts, ticket))
    }

    /// Frees the queue's memory in the budget, and returns the removal of its logs.
    pub(super) fn remove_logs(&self, cell: &mut Cell) -> Vec<Op> {
        self.services.budget.change(cell.resident_bytes, 0);
        cell.resident_bytes = 0;
        let logs = cell.machine.logs().into_iter();
        logs.map(|log| Op::RemoveLog { log }).collect()
    }

    pub fn is_deleted(&self) -> bool {
        self.lock().deleted
    }
}

/// The counts of one fetch.
fn fetched(result: &Get, no_ack: bool) -> HandedOut {
    match result {
        Get::Loading => HandedOut::default(),
        Get::Empty => HandedOut {
            get_empty: 1,
            ..HandedOut::default()
        },
        Get::Got(got) => HandedOut {
            get: u64::from(!no_ack),
            get_no_ack: u64::from(no_ack),
            redeliver: u64::from(got.redelivered),
            ..HandedOut::default()
        },
    }
}
