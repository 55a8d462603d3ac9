//! The thread that applies durable batches. A store that is busy with its tables delays no sync.

use parking_lot::MutexGuard;

use super::applying::Next;
use super::shared::{Gate, Shared};
use crate::clock;
use crate::model::Ticket;

impl Shared {
    pub(super) fn apply_loop(&self) {
        let mut gate = self.gate.lock();
        while !gate.closed {
            let next = gate
                .applying
                .next(self.applied.reached(), clock::monotonic());
            match next {
                Next::Now if gate.failure.is_none() => gate = self.apply(gate),
                Next::Within(left) => {
                    self.unapplied.wait_for(&mut gate, left);
                }
                Next::Later | Next::Now => {
                    gate.applying.is_idle = true;
                    self.unapplied.wait(&mut gate);
                    gate.applying.is_idle = false;
                }
            }
        }
    }

    /// The batches up to this one are durable.
    pub(super) fn may_apply(&self, gate: &mut Gate, upto: Ticket) {
        gate.applying.durable(upto, clock::monotonic());
        if gate.applying.is_idle || gate.applying.wanted > self.applied.reached() {
            self.unapplied.notify_all();
        }
    }

    /// A read waits for the batches up to this one.
    pub(super) fn want_applied(&self, ticket: Ticket) {
        if ticket <= self.applied.reached() {
            return;
        }
        let mut gate = self.gate.lock();
        gate.applying.wanted = gate.applying.wanted.max(ticket);
        if gate.applying.upto > self.applied.reached() {
            self.unapplied.notify_all();
        }
    }

    /// Applies what is durable. Does not hold the gate meanwhile.
    pub(super) fn apply<'a>(&'a self, gate: MutexGuard<'a, Gate>) -> MutexGuard<'a, Gate> {
        let upto = gate.applying.upto;
        drop(gate);
        let outcome = self.store.apply();
        if outcome.is_ok() {
            self.applied.report(upto);
        }
        let mut gate = self.gate.lock();
        if let Err(failure) = outcome {
            gate.failure.get_or_insert(failure.to_string());
            self.wake_all();
        }
        gate
    }
}
