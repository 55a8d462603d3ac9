//! The end of a schedule: everything comes to rest, and what is left is drained and compared with the oracle.

use crate::model::ConsumerId;

use super::checked::{Checked, ensure};
use super::contents::Holder;
use super::queues::{QUEUES, REWINDABLE, STREAM};
use super::reads::UnderWay;
use super::world::{Simulated, World};

/// Longer than any delay and any lease.
const LONG_MS: u64 = 60_000;
/// Each message needs some rounds at most.
const ROUNDS_MAX: usize = 1_000;
const READS_MAX: usize = 10_000;

impl World {
    /// Everything comes to rest, and the queues are drained.
    pub(super) fn end(&mut self) -> Checked {
        self.end_clients()?;
        // Leases that end now let their messages rest.
        self.advance(LONG_MS, false)?;
        self.advance(LONG_MS, false)?;
        self.rest()?;
        // In the order of their dead letters: what expires behind others dies while they are drained.
        for queue in [2, 0, 1, 3, REWINDABLE, STREAM] {
            self.drain(queue)?;
        }
        // Everything that was acked comes once more.
        self.begin_rewind(0)?;
        self.rest()?;
        self.drain(REWINDABLE)?;
        for queue in (0..QUEUES).filter(|queue| *queue != STREAM) {
            let left = self.oracle.now.count(queue);
            ensure!(left == 0, "queue {queue} did not deliver {left} messages");
        }
        Ok(())
    }

    fn end_clients(&mut self) -> Checked {
        let consumers = self.oracle.consumers.iter();
        let consumers: Vec<_> = consumers.map(|(id, it)| (*id, it.queue)).collect();
        for (id, queue) in consumers {
            self.leave_as(id, queue, true)?;
        }
        for queue in 0..QUEUES {
            for receive in self.queues[queue].waiting.clone() {
                self.stop_receive(queue, receive)?;
            }
            let held = self.oracle.now.leases_of(queue);
            let channels = held.filter(|(_, held)| !matches!(held.holder, Holder::Receiver(_)));
            let leases: Vec<_> = channels.map(|(lease, _)| lease).collect();
            for lease in &leases {
                if let Some(held) = self.oracle.end(queue, *lease) {
                    self.oracle.returned(queue, held.number, self.now_ms);
                }
            }
            self.command(queue, |machine, now_ms, fx| {
                machine.leave(now_ms, &[], &leases, fx)
            });
            self.carry_out(queue)?;
        }
        Ok(())
    }

    /// Runs until no step is under way, no change waits for a batch and no message is dying.
    fn rest(&mut self) -> Checked {
        for _ in 0..ROUNDS_MAX {
            let mut is_at_rest = true;
            for queue in 0..QUEUES {
                is_at_rest &= self.publish_letters(queue, 16)? == 0;
            }
            let awaits = |it: &UnderWay| it.after >= self.disk.next();
            let wants_batch =
                |queue: &Simulated| queue.machine.is_dirty() || queue.under_way.iter().any(awaits);
            if self.queues.iter().any(wants_batch) {
                is_at_rest = false;
                self.collect()?;
            }
            self.disk.commit();
            self.sync()?;
            let mut reads = 0;
            while let Some((queue, index)) = self.ready_to_go_on().first().copied() {
                is_at_rest = false;
                reads += 1;
                ensure!(reads < READS_MAX, "queue {queue} reads without an end");
                self.go_on(queue, index)?;
            }
            is_at_rest &= self.queues.iter().all(|queue| queue.under_way.is_empty());
            self.check()?;
            if is_at_rest {
                return Ok(());
            }
        }
        Err("the queues do not come to rest".to_owned())
    }

    fn drain(&mut self, queue: usize) -> Checked {
        let id = ConsumerId(self.next_consumer);
        self.consume(queue, true, u32::MAX, 0, Some(0))?;
        self.rest()?;
        if queue == STREAM {
            let next = self.oracle.consumers.get(&id).map(|reader| reader.next);
            let all = self.oracle.now.stream.len() as u64;
            ensure!(
                next == Some(all),
                "the stream was read to {next:?} of {all}"
            );
        }
        self.leave_as(id, queue, true)
    }
}
