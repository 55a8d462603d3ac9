//! What a step of a schedule does to the world.

use amq_protocol::types::FieldTable;

use crate::broker::queue::consumer::{Credit, NewConsumer};
use crate::broker::queue::effects::{Acknowledgement, Get};
use crate::broker::queue::receive::receipt_handle::ReceiptHandle;
use crate::broker::queue::rewind::plan::RewindError;
use crate::broker::queue::rewind::rewind_to::RewindTo;
use crate::model::stream::{StreamOffset, StreamStart};
use crate::model::{ConnectionId, ConsumerId, Lease};

use super::checked::{Checked, ensure};
use super::contents::Holder;
use super::queues::{QUORUM, REWINDABLE, STREAM};
use super::reads::{UnderWay, Work};
use super::step::Step;
use super::world::World;

/// So much that bytes are no limit.
const CREDIT_BYTES: u64 = 1 << 40;

impl World {
    pub(super) fn apply(&mut self, step: Step) -> Checked {
        match step {
            Step::Publish {
                queue,
                count,
                transient,
                priority,
                delay_ms,
                expiration_ms,
            } => {
                let dies = self.queues[queue].arguments.dead_letter_exchange.is_some();
                self.publish(queue, count, |message| {
                    message.persistent = !transient;
                    message.priority = priority;
                    // The oracle does not know in which order a stream appends what is delayed.
                    message.delay_ms = delay_ms.filter(|_| queue != STREAM);
                    // What expires must not vanish.
                    message.expiration_ms = expiration_ms.filter(|_| dies);
                })
            }
            Step::Consume {
                queue,
                no_ack,
                credit,
                priority,
                from,
            } => self.consume(queue, no_ack, credit, priority, from),
            Step::Grant { consumer, credit } => self.grant(consumer, credit),
            Step::Acknowledge { how, lease, count } => self.acknowledge(how, lease, count),
            Step::AnswerLate { how, lease } => self.answer_late(how, lease),
            Step::TimeOut { lease, count } => self.time_out(lease, count),
            Step::Leave { consumer } => self.leave(consumer, true),
            Step::Cancel { consumer } => self.leave(consumer, false),
            Step::Get { queue, no_ack } => self.get(queue, no_ack),
            Step::Receive { queue, max, hasty } => self.receive(queue, max, hasty),
            Step::StopWaiting { receive } => self.stop_waiting(receive),
            Step::DeleteReceived { handle } => self.delete_received(handle),
            Step::Prolong { handle, ms } => self.prolong(handle, ms),
            Step::GiveBack { handle } => self.give_back(handle),
            Step::Rewind { offset } => self.begin_rewind(offset),
            Step::Purge { queue } => self.purge(queue),
            Step::PublishLetters { queue, max } => self.publish_letters(queue, max).map(|_| ()),
            Step::Advance { ms, late } => self.advance(ms, late),
            Step::Collect => self.collect(),
            Step::Commit => {
                self.disk.commit();
                Ok(())
            }
            Step::Sync => self.sync(),
            Step::Answer { read } => match pick(&self.ready_to_go_on(), read) {
                Some((queue, index)) => self.go_on(queue, index),
                None => Ok(()),
            },
            Step::Evict { queue, bytes } => {
                let committed = self.disk.committed();
                self.queues[queue].machine.evict(bytes, committed);
                Ok(())
            }
            Step::Crash { survivors } => self.crash(survivors),
        }
    }

    pub(super) fn consume(
        &mut self,
        queue: usize,
        no_ack: bool,
        credit: u32,
        priority: i32,
        from: Option<u64>,
    ) -> Checked {
        let id = ConsumerId(self.next_consumer);
        self.next_consumer += 1;
        let new = NewConsumer {
            id,
            tag: "c".into(),
            no_ack,
            exclusive: false,
            priority,
            credit: Credit {
                messages: credit,
                bytes: CREDIT_BYTES,
            },
            visibility_timeout_ms: None,
            stream: Some(StreamStart {
                offset: from.map_or(StreamOffset::Next, StreamOffset::Offset),
                filter: None,
            }),
            prefetch_count: 0,
            arguments: FieldTable::default(),
            connection: ConnectionId(1),
            channel: 1,
        };
        let next = from.unwrap_or(self.oracle.now.stream.len() as u64);
        self.oracle.registered(queue, &new, next);
        let consumed = self.command(queue, |machine, now_ms, fx| {
            machine.consume(now_ms, new, None, fx)
        });
        ensure!(consumed.is_ok(), "{consumed:?}");
        self.carry_out(queue)
    }

    fn consumers(&self) -> Vec<(ConsumerId, usize)> {
        let consumers = self.oracle.consumers.iter();
        consumers
            .map(|(id, consumer)| (*id, consumer.queue))
            .collect()
    }

    fn grant(&mut self, consumer: usize, messages: u32) -> Checked {
        let Some((id, queue)) = pick(&self.consumers(), consumer) else {
            return Ok(());
        };
        let credit = Credit { messages, bytes: 0 };
        self.oracle.granted(id, messages);
        self.command(queue, |machine, now_ms, fx| {
            machine.grant(now_ms, &[(id, credit)], fx);
        });
        self.carry_out(queue)
    }

    /// Leases of deliveries, with their queues and consumers.
    fn delivered(&self) -> Vec<(usize, Lease, Option<ConsumerId>)> {
        let mut delivered = Vec::new();
        for ((queue, lease), held) in &self.oracle.now.leases {
            match held.holder {
                Holder::Consumer(id) => delivered.push((*queue, *lease, Some(id))),
                Holder::Channel => delivered.push((*queue, *lease, None)),
                Holder::Receiver(_) => {}
            }
        }
        delivered
    }

    fn acknowledge(&mut self, how: Acknowledgement, lease: usize, count: usize) -> Checked {
        let delivered = self.delivered();
        let Some((queue, ..)) = pick(&delivered, lease) else {
            return Ok(());
        };
        self.oracle.end_due(queue, self.now_ms);
        let from = delivered
            .into_iter()
            .skip(lease % self.delivered().len().max(1));
        let taken = from.take(count).filter(|(at, ..)| *at == queue);
        let mut leases = Vec::new();
        let mut credit = Vec::new();
        for (_, lease, consumer) in taken {
            leases.push(lease);
            self.oracle.acknowledged(queue, lease, how, self.now_ms);
            if let Some(id) = consumer {
                self.oracle.granted(id, 1);
                let one = Credit {
                    messages: 1,
                    bytes: 0,
                };
                credit.push((id, one));
            }
        }
        self.command(queue, |machine, now_ms, fx| {
            machine.acknowledge(now_ms, how, &leases, &credit, fx);
        });
        self.carry_out(queue)
    }

    fn time_out(&mut self, lease: usize, count: usize) -> Checked {
        let mut delivered = self.delivered();
        delivered.retain(|(queue, ..)| *queue == QUORUM);
        let Some((queue, _, consumer)) = pick(&delivered, lease) else {
            return Ok(());
        };
        let of_consumer = delivered
            .into_iter()
            .filter(|(.., other)| *other == consumer);
        let leases: Vec<Lease> = of_consumer.map(|(_, lease, _)| lease).take(count).collect();
        self.oracle.end_due(queue, self.now_ms);
        let mut held = 0;
        for lease in &leases {
            held += usize::from(self.oracle.timed_out(queue, *lease, consumer, self.now_ms));
        }
        let returned = self.command(queue, |machine, now_ms, fx| {
            machine.time_out(now_ms, consumer, &leases, fx)
        });
        ensure!(
            returned == held,
            "{returned} of {leases:?} returned, not {held}"
        );
        self.carry_out(queue)
    }

    fn answer_late(&mut self, how: Acknowledgement, lease: usize) -> Checked {
        let Some((queue, lease)) = pick(&self.oracle.ended, lease) else {
            return Ok(());
        };
        self.oracle.unanswered.remove(&lease);
        self.command(queue, |machine, now_ms, fx| {
            machine.acknowledge(now_ms, how, &[lease], &[], fx);
        });
        self.carry_out(queue)
    }

    fn leave(&mut self, consumer: usize, ends_leases: bool) -> Checked {
        match pick(&self.consumers(), consumer) {
            Some((id, queue)) => self.leave_as(id, queue, ends_leases),
            None => Ok(()),
        }
    }

    pub(super) fn leave_as(&mut self, id: ConsumerId, queue: usize, ends_leases: bool) -> Checked {
        self.oracle.end_due(queue, self.now_ms);
        let mut leases = Vec::new();
        if ends_leases {
            let held = self.oracle.now.leases_of(queue);
            let own = held.filter(|(_, held)| held.holder == Holder::Consumer(id));
            leases.extend(own.map(|(lease, _)| lease));
        }
        for lease in &leases {
            if let Some(held) = self.oracle.end(queue, *lease) {
                self.oracle.returned(queue, held.number, self.now_ms);
            }
        }
        self.oracle.left(id);
        let was_last = self.command(queue, |machine, now_ms, fx| {
            machine.leave(now_ms, &[id], &leases, fx)
        });
        let mut others = self.oracle.consumers.values();
        let is_last = !others.any(|other| other.queue == queue);
        ensure!(was_last == is_last, "{id:?} was the last: {was_last}");
        self.carry_out(queue)
    }

    fn get(&mut self, queue: usize, no_ack: bool) -> Checked {
        let now_ms = self.now_ms;
        let simulated = &mut self.queues[queue];
        let get = simulated.machine.get(now_ms, no_ack, &mut simulated.fx);
        self.note(&get);
        if let Get::Got(got) = get {
            self.oracle.end_due(queue, now_ms);
            self.oracle.got(queue, &got, no_ack, now_ms)?;
        }
        self.carry_out(queue)
    }

    fn receive(&mut self, queue: usize, max: usize, hasty: bool) -> Checked {
        let receive = self.next_receive;
        self.next_receive += 1;
        if queue != STREAM {
            self.queues[queue].waiting.push(receive);
        }
        let waits = self.command(queue, |machine, now_ms, fx| {
            machine.receive(now_ms, receive, max, hasty, fx)
        });
        ensure!(
            waits == (queue != STREAM),
            "queue {queue} takes receives: {waits}"
        );
        self.carry_out(queue)
    }

    fn stop_waiting(&mut self, receive: usize) -> Checked {
        let mut waiting = Vec::new();
        for (queue, simulated) in self.queues.iter().enumerate() {
            waiting.extend(simulated.waiting.iter().map(|receive| (queue, *receive)));
        }
        match pick(&waiting, receive) {
            Some((queue, receive)) => self.stop_receive(queue, receive),
            None => Ok(()),
        }
    }

    pub(super) fn stop_receive(&mut self, queue: usize, receive: u64) -> Checked {
        self.queues[queue].waiting.retain(|other| *other != receive);
        self.command(queue, |machine, now_ms, fx| {
            machine.stop_waiting(now_ms, receive, fx);
        });
        self.carry_out(queue)
    }

    fn delete_received(&mut self, handle: usize) -> Checked {
        let Some((queue, handle, lease)) = self.handle(handle) else {
            return Ok(());
        };
        let valid = self.command(queue, |machine, now_ms, fx| {
            machine.delete_received(now_ms, &[handle], fx)
        });
        ensure!(
            valid == [lease.is_some()],
            "{handle} of {lease:?} was valid: {valid:?}"
        );
        if let Some(lease) = lease
            && let Some(held) = self.oracle.end(queue, lease)
        {
            self.oracle.acked(queue, lease, held.number);
        }
        self.carry_out(queue)
    }

    fn prolong(&mut self, handle: usize, ms: u64) -> Checked {
        let Some((queue, handle, lease)) = self.handle(handle) else {
            return Ok(());
        };
        let ends_ms = self.command(queue, |machine, now_ms, fx| {
            machine.prolong(now_ms, handle, ms, fx)
        });
        ensure!(
            ends_ms.is_some() == lease.is_some(),
            "{lease:?} now ends at {ends_ms:?}"
        );
        if let Some(lease) = lease {
            self.oracle.prolonged(queue, lease, ends_ms);
        }
        self.oracle.end_due(queue, self.now_ms);
        self.carry_out(queue)
    }

    fn give_back(&mut self, handle: usize) -> Checked {
        let Some((queue, _, lease)) = pick(&self.oracle.now.handles, handle) else {
            return Ok(());
        };
        self.oracle.end(queue, lease);
        self.command(queue, |machine, now_ms, fx| {
            machine.give_back(now_ms, &[lease], fx);
        });
        self.carry_out(queue)
    }

    /// A handle that was given, and its lease, if that has not ended.
    fn handle(&mut self, handle: usize) -> Option<(usize, ReceiptHandle, Option<Lease>)> {
        let count = self.oracle.now.handles.len();
        let index = handle.checked_rem(count)?;
        let (queue, ..) = self.oracle.now.received(index)?;
        self.oracle.end_due(queue, self.now_ms);
        self.oracle.now.received(index)
    }

    pub(super) fn begin_rewind(&mut self, offset: u64) -> Checked {
        let to = RewindTo::Offset(offset);
        let now_ms = self.now_ms;
        let simulated = &mut self.queues[REWINDABLE];
        match simulated.machine.plan_rewind(now_ms, to) {
            Ok(searches) => {
                // When this is durable, everything that was enqueued so far can be read.
                let search = UnderWay::new(Work::Search(to, searches), self.disk.next());
                simulated.under_way.push(search);
                Ok(())
            }
            Err(RewindError::NoSuchOffset { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn purge(&mut self, queue: usize) -> Checked {
        // The oracle does not know which messages have died, and a purge takes those that have not.
        while self.publish_letters(queue, 16)? > 0 {}
        self.tick(queue)?;
        while self.publish_letters(queue, 16)? > 0 {}
        if self.queues[queue].machine.is_dying() {
            return Ok(());
        }
        let purged = self.command(queue, |machine, now_ms, fx| machine.purge(now_ms, fx));
        if queue != STREAM {
            let waited = self.oracle.purged(queue);
            ensure!(
                purged == waited,
                "{purged} messages were purged of {waited}"
            );
        }
        self.carry_out(queue)
    }
}

/// The one that a number names, if there are any.
fn pick<T: Clone>(all: &[T], which: usize) -> Option<T> {
    all.get(which.checked_rem(all.len())?).cloned()
}
