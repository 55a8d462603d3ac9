//! The queues with their store and the oracle, and how the effects of commands are carried out.

use std::fmt::{Debug, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use crate::broker::queue::durability::Durability;
use crate::broker::queue::effects::{Admission, Effect, Effects};
use crate::broker::queue::kind::Kind;
use crate::broker::queue::machine::Machine;
use crate::broker::queue::rewind::plan::RewindPosition;
use crate::broker::queue::rewind::rewind_to::RewindTo;
use crate::broker::queue::work_queue::tests::rig::with;
use crate::model::arguments::QueueArguments;
use crate::model::{LogId, Message};

use super::checked::{Checked, ensure};
use super::contents::Number;
use super::disk::{Disk, decoded};
use super::oracle::Oracle;
use super::queues::{self, QUEUES, REWINDABLE, id_of, letters_of};
use super::reads::{Outcome, UnderWay};

const START_MS: u64 = 1_000;

/// One queue.
pub(super) struct Simulated {
    pub(super) machine: Kind,
    pub(super) fx: Effects,
    pub(super) arguments: Arc<QueueArguments>,
    /// Reads that are under way.
    pub(super) under_way: Vec<UnderWay>,
    /// Receives that wait, by number.
    pub(super) waiting: Vec<u64>,
    /// What the timer knows of the machine's deadline.
    deadline_ms: Option<u64>,
}

/// Everything.
pub(super) struct World {
    pub(super) queues: Vec<Simulated>,
    pub(super) disk: Disk,
    pub(super) oracle: Oracle,
    pub(super) now_ms: u64,
    next_message: Number,
    pub(super) next_consumer: u64,
    pub(super) next_receive: u64,
    digest: Digest,
}

impl World {
    pub(super) fn new() -> World {
        let arguments = queues::all();
        let queue = |(queue, arguments): (usize, &Arc<QueueArguments>)| Simulated {
            machine: Kind::new(id_of(queue), true, arguments.clone(), Vec::new(), START_MS),
            fx: Effects::default(),
            arguments: arguments.clone(),
            under_way: Vec::new(),
            waiting: Vec::new(),
            deadline_ms: None,
        };
        World {
            queues: arguments.iter().enumerate().map(queue).collect(),
            disk: Disk::new(),
            oracle: Oracle::new(arguments),
            now_ms: START_MS,
            next_message: 0,
            next_consumer: 1,
            next_receive: 1,
            digest: Digest(DefaultHasher::new()),
        }
    }

    /// A hash of everything that the machines did.
    pub(super) fn digest(&self) -> u64 {
        self.digest.0.finish()
    }

    /// Notes a result, so that two runs can be compared.
    pub(super) fn note(&mut self, result: impl Debug) {
        write!(self.digest, "{result:?};").expect("a hash");
    }

    /// Gives a command to a machine. The caller then tells the oracle, and ends with [`World::carry_out`].
    pub(super) fn command<R: Debug>(
        &mut self,
        queue: usize,
        command: impl FnOnce(&mut dyn Machine, u64, &mut Effects) -> R,
    ) -> R {
        self.oracle.end_due(queue, self.now_ms);
        let simulated = &mut self.queues[queue];
        let result = command(&mut *simulated.machine, self.now_ms, &mut simulated.fx);
        self.note(&result);
        result
    }

    /// Carries out what a command wants done: delivers, answers, and begins to read.
    pub(super) fn carry_out(&mut self, queue: usize) -> Checked {
        let now_ms = self.now_ms;
        let simulated = &mut self.queues[queue];
        let deliveries = std::mem::take(&mut simulated.fx.deliveries);
        let effects = std::mem::take(&mut simulated.fx.others);
        let permit = simulated.fx.permit;
        self.note((&deliveries, &effects));
        ensure!(permit.is_none(), "no channel has a limit: {permit:?}");
        for delivery in &deliveries {
            self.oracle.delivered(queue, delivery, now_ms)?;
        }
        let simulated = &mut self.queues[queue];
        for effect in effects {
            match effect {
                Effect::Answer { receive, messages } => {
                    let index = simulated.waiting.iter().position(|it| *it == receive);
                    let Some(index) = index else {
                        return Err(format!("receive {receive} is answered, and does not wait"));
                    };
                    simulated.waiting.remove(index);
                    for received in &messages {
                        self.oracle.received(queue, received, now_ms)?;
                    }
                }
                Effect::Read { log, from } => {
                    let mut others = simulated.under_way.iter();
                    let is_read = others.any(|other| other.reads(log, from));
                    ensure!(!is_read, "{log:?} is read twice from {from}");
                    simulated.under_way.extend(UnderWay::of(effect));
                }
                Effect::Pick(_) | Effect::Seek(_) => {
                    simulated.under_way.extend(UnderWay::of(effect));
                }
                Effect::AwaitRound(_) => return Err(format!("no channel has a limit: {effect:?}")),
            }
        }
        let deadline = simulated.machine.deadline_ms(now_ms);
        simulated.deadline_ms = [simulated.deadline_ms, deadline]
            .into_iter()
            .flatten()
            .min();
        Ok(())
    }

    /// Publishes messages; the first one of them has the next number.
    pub(super) fn publish(
        &mut self,
        queue: usize,
        count: usize,
        change: impl Fn(&mut Message),
    ) -> Checked {
        let mut run = Vec::new();
        for _ in 0..count {
            let number = self.next_message;
            self.next_message += 1;
            let message = with(&format!("m{number}"), &change);
            self.oracle.published(queue, number, &message, self.now_ms);
            run.push(message);
        }
        let enqueued = self.command(queue, |machine, now_ms, fx| {
            machine.publish(now_ms, &run, Admission::Each, fx)
        });
        let mut persistent = run.iter().map(|message| message.persistent);
        let persisted = persistent.any(|persistent| self.oracle.survives(queue, persistent));
        ensure!(
            enqueued.seen == count && enqueued.rejected.is_empty(),
            "{enqueued:?}"
        );
        ensure!(enqueued.persisted == persisted, "{enqueued:?}");
        self.carry_out(queue)
    }

    /// Publishes up to `max` dead letters of a queue at their target, all in one batch.
    pub(super) fn publish_letters(&mut self, queue: usize, max: usize) -> Checked<usize> {
        let Some(target) = letters_of(queue) else {
            return Ok(0);
        };
        let dead = self.queues[queue].machine.take_letters(max, 1_000);
        if dead.is_empty() {
            return Ok(0);
        }
        let mut run = Vec::new();
        for dead in &dead {
            self.note(dead);
            self.oracle.dead_lettered(queue, target, &dead.message)?;
            run.push(Arc::new(Message {
                expiration_ms: None,
                dead_lettered: true,
                ..Message::clone(&dead.message)
            }));
        }
        self.command(target, |machine, now_ms, fx| {
            machine.publish(now_ms, &run, Admission::Each, fx)
        });
        self.carry_out(target)?;
        self.command(queue, |machine, now_ms, fx| {
            machine.bury(now_ms, run.len(), fx)
        });
        self.carry_out(queue)?;
        Ok(run.len())
    }

    /// Moves the time on, and has the machines look at it whose deadline has come.
    pub(super) fn advance(&mut self, ms: u64, late: bool) -> Checked {
        self.now_ms += ms;
        if late {
            return Ok(());
        }
        for queue in 0..QUEUES {
            if self.queues[queue]
                .deadline_ms
                .is_some_and(|due| due <= self.now_ms)
            {
                self.tick(queue)?;
            }
            let mut leases = self.oracle.now.leases_of(queue);
            let over = leases.find(|(_, held)| held.ends_ms.is_some_and(|ms| ms <= self.now_ms));
            ensure!(
                over.is_none(),
                "no deadline came for {over:?} of queue {queue}"
            );
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, queue: usize) -> Checked {
        self.queues[queue].deadline_ms = None;
        self.command(queue, |machine, now_ms, fx| machine.tick(now_ms, fx));
        self.carry_out(queue)
    }

    /// One batch takes what all queues have to write.
    pub(super) fn collect(&mut self) -> Checked {
        let ticket = self.disk.next();
        let queues = &mut self.queues;
        self.disk.collect(|ticket, batch| {
            for queue in queues.iter_mut() {
                if queue.machine.is_dirty() {
                    queue.machine.collect(ticket, batch);
                }
            }
        });
        self.oracle.collected(ticket);
        let dirty = self
            .queues
            .iter()
            .position(|queue| queue.machine.is_dirty());
        ensure!(
            dirty.is_none(),
            "queue {dirty:?} has to write after a batch has taken all"
        );
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Checked {
        self.disk.sync();
        let synced = self.disk.synced();
        self.oracle.synced(synced);
        for queue in 0..QUEUES {
            if self.queues[queue].machine.awaits_durability() {
                self.command(queue, |machine, now_ms, fx| {
                    machine.durable_up_to(now_ms, synced, fx);
                });
                self.carry_out(queue)?;
            }
        }
        Ok(())
    }

    /// What is under way and can go on now: queue and index.
    pub(super) fn ready_to_go_on(&self) -> Vec<(usize, usize)> {
        let mut ready = Vec::new();
        for (queue, simulated) in self.queues.iter().enumerate() {
            for (index, under_way) in simulated.under_way.iter().enumerate() {
                if under_way.after <= self.disk.synced() {
                    ready.push((queue, index));
                }
            }
        }
        ready
    }

    /// Has one thing that is under way go on.
    pub(super) fn go_on(&mut self, queue: usize, index: usize) -> Checked {
        let simulated = &mut self.queues[queue];
        let under_way = simulated.under_way.remove(index);
        let machine = &simulated.machine;
        let durability = Durability::of(true, simulated.arguments.kind);
        let expects = |log: LogId, offset| machine.expects(log, offset);
        let is_persistent = |message: &Message| durability.covers(message);
        let outcome = match under_way.proceed(&mut self.disk, expects, is_persistent)? {
            Ok(outcome) => outcome,
            Err(rest) => {
                simulated.under_way.insert(index, rest);
                return Ok(());
            }
        };
        match outcome {
            Outcome::Loaded { log, from, chunks } => self.command(queue, |machine, now_ms, fx| {
                machine.loaded(now_ms, log, from, chunks, fx);
            }),
            Outcome::Picked(picked) => self.command(queue, |machine, now_ms, fx| {
                machine.picked(now_ms, picked, fx);
            }),
            Outcome::Sought(seek, offset) => self.command(queue, |machine, now_ms, fx| {
                machine.sought(now_ms, seek.consumer, offset, fx);
            }),
            Outcome::Found(to, found) => self.end_rewind(to, &found)?,
        }
        self.carry_out(queue)
    }

    fn end_rewind(&mut self, to: RewindTo, found: &[RewindPosition]) -> Checked {
        let rewound = self.command(REWINDABLE, |machine, now_ms, fx| {
            machine.rewind(now_ms, found, fx)
        });
        let (_, count) = rewound.map_err(|error| error.to_string())?;
        let acked = self.oracle.rewound(to);
        ensure!(
            count == acked,
            "{count} messages came back of {acked}, from {to} on"
        );
        Ok(())
    }

    /// The broker crashes and starts again with what the store has then.
    pub(super) fn crash(&mut self, survivors: usize) -> Checked {
        let last = self.disk.crash(survivors);
        self.oracle.crashed(last, self.now_ms);
        let mut logs = self.disk.logs();
        for (queue, simulated) in self.queues.iter_mut().enumerate() {
            let id = id_of(queue);
            let own = logs.extract_if(.., |(log, _)| log.queue() == id).collect();
            let arguments = simulated.arguments.clone();
            simulated.machine = Kind::new(id, true, arguments, own, self.now_ms);
            simulated.fx = Effects::default();
            simulated.under_way.clear();
            simulated.waiting.clear();
            while let Some((log, from)) = simulated.machine.next_to_restore(self.now_ms) {
                let chunks = decoded(self.disk.read(log, from, 1));
                simulated.machine.restore(log, chunks);
            }
        }
        for queue in 0..QUEUES {
            self.tick(queue)?;
        }
        Ok(())
    }
}

/// Hashes what is written.
struct Digest(DefaultHasher);

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
