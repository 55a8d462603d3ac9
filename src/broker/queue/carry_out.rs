//! Carries out the effects of a command, under the queue's lock.

use crate::broker::stats::{HandedOut, Protocol};
use crate::model::Ticket;

use super::effects::Effect;
use super::receive::received::{Answer, Received};
use super::shell::{Cell, Queue};

impl Queue {
    /// Carries out the effects of a command. Returns the ticket of a batch whose durability the machine
    /// awaits.
    pub(super) fn carry_out(&self, cell: &mut Cell) -> Option<Ticket> {
        if !cell.fx.deliveries.is_empty() {
            let delivered = cell.outlets.deliver(&mut cell.fx.deliveries);
            self.count_handed_out(cell, Protocol::Amqp, &delivered);
        }
        if let Some(deaths) = cell.machine.take_death_counts() {
            self.count_deaths(&deaths);
        }
        let mut answers = Vec::new();
        if !cell.fx.others.is_empty() {
            self.carry_out_others(cell, &mut answers);
        }
        // An eviction may write messages anew, so it comes before the queue is marked dirty.
        self.keep_to_budget(cell);
        let mut watched = None;
        if cell.ticket.is_none()
            && cell.machine.is_dirty()
            && !cell.deleted
            && let Some(me) = self.me.upgrade()
        {
            let ticket = self.services.committer.mark_dirty(me);
            watched = Some(ticket).filter(|_| cell.machine.awaits_durability());
            cell.ticket = Some(ticket);
        }
        for (receive, messages) in answers {
            if let Some(sender) = cell.receives.remove(&receive) {
                self.count_handed_out(cell, Protocol::Cmq, &received(&messages));
                let ticket = cell.ticket;
                // Cannot fail: a receive stops waiting before it drops the other end.
                drop(sender.send(Answer { messages, ticket }));
            }
        }
        watched
    }

    fn carry_out_others(&self, cell: &mut Cell, answers: &mut Vec<(u64, Vec<Received>)>) {
        let read_bytes = cell.machine.read_bytes();
        for effect in cell.fx.others.drain(..) {
            match effect {
                Effect::Answer { receive, messages } => answers.push((receive, messages)),
                Effect::Read { log, from } => self.start_load(log, from, read_bytes),
                Effect::Pick(pick) => self.start_pick(pick),
                Effect::Seek(seek) => self.start_seek(seek),
                Effect::AwaitRound(consumer) => cell.outlets.await_round(consumer, self.spec.id),
            }
        }
    }

    fn keep_to_budget(&self, cell: &mut Cell) {
        let budget = &self.services.budget;
        let applied = self.services.committer.applied();
        cell.machine.evict(budget.allowance(), applied);
        let resident = cell.machine.resident_bytes();
        if resident != cell.resident_bytes {
            budget.change(cell.resident_bytes, resident);
            cell.resident_bytes = resident;
        }
    }

    /// Sets the timers' deadline if it is later than the true one. A deadline that is too early may stay: it
    /// only costs one tick.
    pub(super) fn keep_deadline(&self, cell: &mut Cell, now_ms: u64) {
        let Some(deadline) = cell.machine.deadline_ms(now_ms) else {
            return;
        };
        if cell.deadline_ms.is_none_or(|known| deadline < known) {
            self.schedule(cell.deadline_ms, Some(deadline));
            cell.deadline_ms = Some(deadline);
        }
    }
}

/// The counts of an answered receive.
fn received(messages: &[Received]) -> HandedOut {
    let again = messages.iter().filter(|received| received.count > 1);
    HandedOut {
        get: messages.len() as u64,
        redeliver: again.count() as u64,
        get_empty: u64::from(messages.is_empty()),
        ..HandedOut::default()
    }
}
