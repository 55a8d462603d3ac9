//! What holds after each step: the numbers of the queues are those of the oracle, and no queue is stuck.

use super::checked::{Checked, ensure};
use super::queues::{QUEUES, REWINDABLE, STREAM};
use super::reads::UnderWay;
use super::world::World;

impl World {
    /// Compares the numbers of the queues with those of the oracle.
    pub(super) fn check(&mut self) -> Checked {
        for queue in 0..QUEUES {
            let counts = self.queues[queue].machine.counts();
            let (died, buried) = self.queues[queue].machine.deaths();
            self.note(counts);
            let there = counts.ready + counts.unacked + counts.delayed + (died - buried);
            let expected = match queue {
                STREAM => self.oracle.now.stream.len() as u64,
                _ => self.oracle.now.count(queue),
            };
            ensure!(
                there == expected,
                "queue {queue} should have {expected} messages: {counts:?}"
            );
            let leased = self.oracle.now.leases_of(queue).count() as u64;
            ensure!(
                counts.unacked == leased,
                "queue {queue} should have {leased} leases: {counts:?}"
            );
            ensure!(
                counts.damaged == 0,
                "queue {queue} has lost messages: {counts:?}"
            );
            self.check_progress(queue, counts.ready)?;
        }
        let rewindable = self.queues[REWINDABLE].machine.counts().rewindable;
        let acked = self.oracle.now.acked();
        ensure!(
            rewindable == acked,
            "{rewindable} messages are rewindable of {acked}"
        );
        Ok(())
    }

    /// A queue that waits for nothing has handed out what it can.
    fn check_progress(&self, queue: usize, ready: u64) -> Checked {
        let simulated = &self.queues[queue];
        if simulated.under_way.iter().any(UnderWay::holds_up) {
            return Ok(());
        }
        let consumers = self.oracle.consumers.iter();
        let consumers = consumers.filter(|(id, _)| self.oracle.is_on_time(**id));
        let consumers = consumers.map(|(_, consumer)| consumer);
        let mut own = consumers.filter(|consumer| consumer.queue == queue);
        if queue == STREAM {
            let durable = self.oracle.stream_durable;
            let stuck = own.find(|it| it.credit > 0 && it.next < durable);
            ensure!(stuck.is_none(), "{stuck:?} is not served");
            return Ok(());
        }
        let max = simulated.arguments.max_length.unwrap_or(u64::MAX);
        ensure!(ready <= max, "queue {queue} is longer than it may be");
        let credits: Vec<bool> = own.map(|consumer| consumer.credit > 0).collect();
        let could = match simulated.arguments.single_active_consumer {
            true => !credits.is_empty() && credits.iter().all(|has| *has),
            false => credits.contains(&true),
        };
        ensure!(
            ready == 0 || (!could && simulated.waiting.is_empty()),
            "queue {queue} has {ready} messages, and does not hand them out"
        );
        Ok(())
    }
}
