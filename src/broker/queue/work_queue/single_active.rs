//! The choice of a single active consumer: the first consumer of the highest priority, until it leaves. On
//! quorum queues a consumer of higher priority takes over: the active one gets no more messages, and hands
//! over when it has no unacked ones. A consumer that misses the deadline of a lease (`x-visibility-timeout`)
//! goes behind the others until it has acknowledged that lease. Knows consumers by their ids and messages by
//! their leases.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ConsumerId, Lease};

/// The active consumer of one queue, and the leases that the choice depends on.
#[derive(Debug)]
pub(super) struct SingleActive {
    /// A consumer of higher priority takes over.
    takes_over: bool,
    active: Option<ConsumerId>,
    /// The active consumer gets no more messages, since one of higher priority waits.
    is_quiescing: bool,
    /// Holders of leases, where the choice may depend on them.
    held: BTreeMap<Lease, ConsumerId>,
    /// Number of leases that the active consumer holds.
    active_holds: usize,
    /// Leases that ended at their deadlines, and that their consumers have not acknowledged since.
    overdue: BTreeMap<Lease, ConsumerId>,
    /// The choice may have changed.
    is_unsettled: bool,
}

impl SingleActive {
    pub(super) fn new(takes_over: bool) -> SingleActive {
        SingleActive {
            takes_over,
            active: None,
            is_quiescing: false,
            held: BTreeMap::new(),
            active_holds: 0,
            overdue: BTreeMap::new(),
            is_unsettled: false,
        }
    }

    pub(super) fn active(&self) -> Option<ConsumerId> {
        self.active
    }

    /// The active consumer, unless it gets no more messages.
    pub(super) fn served(&self) -> Option<ConsumerId> {
        self.active.filter(|_| !self.is_quiescing)
    }

    /// Whether [`SingleActive::elect`] may have another result than the last time.
    pub(super) fn is_unsettled(&self) -> bool {
        self.is_unsettled
    }

    /// Notes that a consumer got a message, whose lease may have a deadline.
    pub(super) fn handed_out(&mut self, lease: Lease, to: ConsumerId, has_deadline: bool) {
        if self.takes_over || has_deadline {
            self.held.insert(lease, to);
            self.active_holds += usize::from(self.active == Some(to));
        }
    }

    /// Notes that a lease was acknowledged, in time or not, or ended with its channel.
    pub(super) fn answered(&mut self, lease: Lease) {
        self.end(lease);
        if self.overdue.remove(&lease).is_some() {
            self.is_unsettled = true;
        }
    }

    /// Notes that a lease has ended at its deadline.
    pub(super) fn timed_out(&mut self, lease: Lease) {
        if let Some(holder) = self.end(lease) {
            self.overdue.insert(lease, holder);
            self.is_unsettled = true;
        }
    }

    pub(super) fn left(&mut self, consumer: ConsumerId) {
        self.overdue.retain(|_, late| *late != consumer);
        self.is_unsettled = true;
        if self.active == Some(consumer) {
            self.active = None;
        }
    }

    /// The consumers to choose among have changed.
    pub(super) fn changed(&mut self) {
        self.is_unsettled = true;
    }

    /// Chooses again among `consumers`, each with its priority, in the order in which they came.
    pub(super) fn elect(&mut self, consumers: impl Iterator<Item = (ConsumerId, i32)> + Clone) {
        self.is_unsettled = false;
        self.is_quiescing = false;
        let late: BTreeSet<ConsumerId> = self.overdue.values().copied().collect();
        let rank = |(id, priority): (ConsumerId, i32)| (!late.contains(&id), priority);
        let best = consumers
            .clone()
            .max_by_key(|consumer| (rank(*consumer), Reverse(consumer.0)));
        let Some(best) = best else { return };
        let active = self.active;
        let Some(active) = active.and_then(|id| consumers.clone().find(|(own, _)| *own == id))
        else {
            return self.activate(best.0);
        };
        let (is_on_time, priority) = rank(best);
        if is_on_time && late.contains(&active.0) {
            self.activate(best.0);
        } else if is_on_time && self.takes_over && priority > active.1 {
            match self.active_holds {
                0 => self.activate(best.0),
                _ => self.is_quiescing = true,
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = SingleActive::new(self.takes_over);
    }

    fn activate(&mut self, consumer: ConsumerId) {
        self.active = Some(consumer);
        self.active_holds = self.held.values().filter(|id| **id == consumer).count();
    }

    fn end(&mut self, lease: Lease) -> Option<ConsumerId> {
        let holder = self.held.remove(&lease)?;
        if self.active == Some(holder) {
            self.active_holds -= 1;
            self.is_unsettled |= self.is_quiescing && self.active_holds == 0;
        }
        Some(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConsumerId = ConsumerId(1);
    const B: ConsumerId = ConsumerId(2);
    const C: ConsumerId = ConsumerId(3);

    fn lease(offset: u64) -> Lease {
        Lease {
            offset,
            turn: 0,
            lane: 0,
        }
    }

    fn elected(single: &mut SingleActive, consumers: &[(ConsumerId, i32)]) -> Option<ConsumerId> {
        single.elect(consumers.iter().copied());
        single.served()
    }

    #[test]
    fn the_first_of_the_highest_priority_is_active_and_stays() {
        let mut single = SingleActive::new(false);
        assert_eq!(elected(&mut single, &[]), None);
        assert_eq!(elected(&mut single, &[(A, 0), (B, 0)]), Some(A));
        assert_eq!(elected(&mut single, &[(A, 0), (B, 0), (C, 9)]), Some(A));
        single.left(A);
        assert_eq!(elected(&mut single, &[(B, 0), (C, 9)]), Some(C));
    }

    #[test]
    fn higher_priority_takes_over_when_the_active_one_holds_nothing() {
        let mut single = SingleActive::new(true);
        assert_eq!(elected(&mut single, &[(A, 0)]), Some(A));
        single.handed_out(lease(1), A, false);
        single.handed_out(lease(2), A, false);
        assert_eq!(elected(&mut single, &[(A, 0), (B, 5)]), None);
        assert_eq!(single.active(), Some(A));
        single.answered(lease(1));
        assert!(!single.is_unsettled());
        single.answered(lease(2));
        assert!(single.is_unsettled());
        assert_eq!(elected(&mut single, &[(A, 0), (B, 5)]), Some(B));
        // If the one that waits leaves meanwhile, the active one goes on.
        single.handed_out(lease(3), B, false);
        assert_eq!(elected(&mut single, &[(A, 0), (B, 5), (C, 7)]), None);
        single.left(C);
        assert_eq!(elected(&mut single, &[(A, 0), (B, 5)]), Some(B));
        // Leases of consumers that have left do not count.
        single.left(B);
        assert_eq!(elected(&mut single, &[(A, 0)]), Some(A));
        assert_eq!(elected(&mut single, &[(A, 0), (C, 7)]), Some(C));
    }

    #[test]
    fn a_consumer_that_misses_a_deadline_goes_behind_the_others_until_it_acknowledges() {
        let mut single = SingleActive::new(false);
        let both = [(A, 9), (B, 0)];
        assert_eq!(elected(&mut single, &both), Some(A));
        single.handed_out(lease(1), A, true);
        single.handed_out(lease(2), A, true);
        single.timed_out(lease(1));
        assert!(single.is_unsettled());
        assert_eq!(elected(&mut single, &both), Some(B));
        // Both are late: the active one stays.
        single.handed_out(lease(11), B, true);
        single.timed_out(lease(11));
        assert_eq!(elected(&mut single, &both), Some(B));
        single.answered(lease(1));
        assert_eq!(elected(&mut single, &both), Some(A));
        // A late consumer without others stays active.
        let mut single = SingleActive::new(false);
        elected(&mut single, &[(A, 0)]);
        single.handed_out(lease(1), A, true);
        single.timed_out(lease(1));
        assert_eq!(elected(&mut single, &[(A, 0)]), Some(A));
        assert_eq!(elected(&mut single, &[(A, 0), (B, 0)]), Some(B));
        single.answered(lease(1));
        single.left(B);
        assert_eq!(elected(&mut single, &[(A, 0), (C, 0)]), Some(A));
    }
}
