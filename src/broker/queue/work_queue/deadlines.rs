//! Deadlines of leases (`x-visibility-timeout`). Knows leases and times; callers tell whether a lease still
//! holds.
//!
//! Leases of one length end in the order in which they began, so each length has its own queue with cheap
//! operations at both ends. The entry of a lease that ends in time is not searched for. It is dropped when it
//! comes to the front, or when such entries have become the majority.

use std::collections::{BTreeMap, VecDeque};

use crate::model::Lease;

/// Number of entries that may stay without a lease, so that small queues are not tidied all the time.
const SPARE: usize = 64;

/// A lease and its end.
#[derive(Clone, Copy, Debug)]
struct Due {
    at_ms: u64,
    lease: Lease,
}

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// By length of the lease in milliseconds; no queue is empty.
    by_length: BTreeMap<u64, VecDeque<Due>>,
    len: usize,
    /// New ends of leases whose end was moved; any other entry of such a lease is void.
    put_off: BTreeMap<Lease, u64>,
    /// No lease ends before this. It may be too early, if its lease has ended in time.
    next_ms: Option<u64>,
}

impl Deadlines {
    /// Notes a lease that begins now, and returns its end. Leases of one length do not overtake each other.
    pub(super) fn push(&mut self, now_ms: u64, length_ms: u64, lease: Lease) -> u64 {
        let dues = self.by_length.entry(length_ms).or_default();
        let last_ms = dues.back().map_or(0, |due| due.at_ms);
        let at_ms = now_ms.saturating_add(length_ms).max(last_ms);
        dues.push_back(Due { at_ms, lease });
        self.len += 1;
        self.next_ms = Some(self.next_ms.map_or(at_ms, |next| next.min(at_ms)));
        at_ms
    }

    /// Moves the end of a lease to this long from now, sooner or later than before, and returns the new end.
    pub(super) fn put_off(&mut self, now_ms: u64, length_ms: u64, lease: Lease) -> u64 {
        // Length 0 is for restored leases, which must stay in order.
        let at_ms = self.push(now_ms, length_ms.max(1), lease);
        self.put_off.insert(lease, at_ms);
        at_ms
    }

    /// Takes over leases from before a restart, each with its end.
    pub(super) fn restore(&mut self, mut leases: Vec<(u64, Lease)>) {
        leases.sort_unstable();
        for (at_ms, lease) in leases {
            // The queue of length 0 has only restored leases.
            self.push(at_ms, 0, lease);
        }
    }

    /// When to call [`Deadlines::take_due`] next; never later than the end of the first lease.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.next_ms
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes and returns the leases whose time is over.
    pub(super) fn take_due(&mut self, now_ms: u64, is_held: impl Fn(Lease) -> bool) -> Vec<Lease> {
        let mut taken = Vec::new();
        let put_off = &mut self.put_off;
        for dues in self.by_length.values_mut() {
            while let Some(due) = dues.front() {
                if !counts(put_off, due) {
                    self.len -= 1;
                } else if !is_held(due.lease) {
                    self.len -= 1;
                    put_off.remove(&due.lease);
                } else if due.at_ms <= now_ms {
                    self.len -= 1;
                    put_off.remove(&due.lease);
                    taken.push(due.lease);
                } else {
                    break;
                }
                dues.pop_front();
            }
        }
        self.tidy();
        taken
    }

    /// Drops entries without a lease when there are far more entries than leases.
    pub(super) fn bound(&mut self, leased: u64, is_held: impl Fn(Lease) -> bool) {
        let most = usize::try_from(leased)
            .unwrap_or(usize::MAX)
            .saturating_mul(2)
            .saturating_add(SPARE);
        if self.len <= most {
            return;
        }
        if leased == 0 {
            self.by_length.clear();
        }
        self.put_off.retain(|lease, _| is_held(*lease));
        let put_off = &self.put_off;
        // Most leases end about in the order in which they began.
        for dues in self.by_length.values_mut() {
            while dues
                .front()
                .is_some_and(|due| !counts(put_off, due) || !is_held(due.lease))
            {
                dues.pop_front();
            }
        }
        let left: usize = self.by_length.values().map(VecDeque::len).sum();
        if left > most {
            for dues in self.by_length.values_mut() {
                dues.retain(|due| counts(put_off, due) && is_held(due.lease));
                if dues.capacity() / 8 > dues.len().max(SPARE) {
                    dues.shrink_to_fit();
                }
            }
        }
        self.by_length.retain(|_, dues| !dues.is_empty());
        self.len = self.count();
        // `next_ms` stays: waking too early is harmless, while setting the timer each time is costly.
    }

    fn count(&self) -> usize {
        self.by_length.values().map(VecDeque::len).sum()
    }

    fn tidy(&mut self) {
        self.by_length.retain(|_, dues| !dues.is_empty());
        let firsts = self.by_length.values().filter_map(VecDeque::front);
        self.next_ms = firsts.map(|due| due.at_ms).min();
    }
}

/// Whether this entry is the valid one of its lease.
fn counts(put_off: &BTreeMap<Lease, u64>, due: &Due) -> bool {
    put_off
        .get(&due.lease)
        .is_none_or(|at_ms| *at_ms == due.at_ms)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn lease(offset: u64) -> Lease {
        Lease {
            offset,
            turn: 0,
            lane: 0,
        }
    }

    #[test]
    fn leases_end_in_time_and_settled_ones_are_skipped() {
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.push(1_000, 100, lease(1)), 1_100);
        assert_eq!(deadlines.push(1_010, 20, lease(2)), 1_030);
        assert_eq!(deadlines.push(1_020, 100, lease(3)), 1_120);
        assert_eq!(deadlines.next_ms(), Some(1_030));
        let held = |lease: Lease| lease.offset != 1;
        assert_eq!(deadlines.take_due(1_029, held), []);
        assert_eq!(deadlines.take_due(1_030, held), [lease(2)]);
        assert_eq!(deadlines.next_ms(), Some(1_120));
        assert_eq!(deadlines.take_due(9_999, held), [lease(3)]);
        assert!(deadlines.is_empty() && deadlines.next_ms().is_none());
    }

    #[test]
    fn a_clock_that_is_set_back_ends_no_later_lease_first() {
        let mut deadlines = Deadlines::default();
        deadlines.push(5_000, 100, lease(1));
        assert_eq!(deadlines.push(1_000, 100, lease(2)), 5_100);
    }

    #[test]
    fn an_end_can_be_postponed_and_brought_forward() {
        let mut deadlines = Deadlines::default();
        deadlines.push(1_000, 100, lease(1));
        deadlines.push(1_000, 100, lease(2));
        assert_eq!(deadlines.put_off(1_010, 500, lease(1)), 1_510);
        assert_eq!(deadlines.put_off(1_010, 50, lease(2)), 1_060);
        assert_eq!(deadlines.take_due(1_060, |_| true), [lease(2)]);
        assert_eq!(deadlines.put_off(1_100, 200, lease(1)), 1_300);
        let held = |lease: Lease| lease.offset == 1;
        assert_eq!(deadlines.take_due(1_299, held), []);
        assert_eq!(deadlines.take_due(1_300, held), [lease(1)]);
        assert_eq!(deadlines.take_due(9_999, |held| held.offset > 2), []);
        assert!(deadlines.is_empty() && deadlines.put_off.is_empty());
        for turn in 0..10_000 {
            deadlines.put_off(turn, 10_000, lease(1));
            deadlines.bound(1, |_| true);
            assert!(deadlines.len <= 2 + SPARE && deadlines.put_off.len() == 1);
        }
        assert_eq!(deadlines.take_due(20_000, |_| false), []);
        assert!(deadlines.is_empty() && deadlines.put_off.is_empty());
    }

    #[test]
    fn entries_do_not_pile_up_behind_one_lease_that_is_never_settled() {
        let mut deadlines = Deadlines::default();
        deadlines.push(0, 1_000_000, lease(0));
        for offset in 1..100_000 {
            deadlines.push(offset, 1_000_000, lease(offset));
            deadlines.bound(2, |held| held.offset == 0 || held.offset == offset);
            assert!(deadlines.len <= 2 * 2 + SPARE);
        }
        for length in 1..10_000 {
            deadlines.push(0, length, lease(length));
            deadlines.bound(0, |_| false);
        }
        assert!(deadlines.by_length.len() <= SPARE);
    }

    proptest! {
        #[test]
        fn agree_with_a_list(steps in proptest::collection::vec((0u8..4, 0u64..20, 1u64..4), 1..200)) {
            let mut deadlines = Deadlines::default();
            let mut held: BTreeSet<(u64, Lease)> = BTreeSet::new();
            let mut now_ms = 0;
            for (next, (kind, which, length)) in (0..).zip(steps) {
                let is_held = |set: &BTreeSet<(u64, Lease)>, lease| set.iter().any(|(_, held)| *held == lease);
                match kind {
                    0 | 1 => {
                        let at_ms = deadlines.push(now_ms, length * 10, lease(next));
                        held.insert((at_ms, lease(next)));
                    }
                    2 => {
                        let settled = held.iter().nth(usize::try_from(which).unwrap()).copied();
                        settled.map(|settled| held.remove(&settled));
                        deadlines.bound(held.len() as u64, |lease| is_held(&held, lease));
                        prop_assert!(deadlines.len <= 2 * held.len() + SPARE);
                    }
                    _ => {
                        now_ms += which;
                        let mut due = deadlines.take_due(now_ms, |lease| is_held(&held, lease));
                        due.sort_unstable();
                        let mut expected: Vec<Lease> =
                            held.iter().filter(|(at_ms, _)| *at_ms <= now_ms).map(|(_, lease)| *lease).collect();
                        expected.sort_unstable();
                        prop_assert_eq!(due, expected);
                        held.retain(|(at_ms, _)| *at_ms > now_ms);
                    }
                }
                let first = held.first().map(|(at_ms, _)| *at_ms);
                prop_assert!(deadlines.next_ms().unwrap_or(u64::MAX) <= first.unwrap_or(u64::MAX));
            }
        }
    }
}
