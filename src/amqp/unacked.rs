//! The unacked deliveries of one channel, by delivery tag. Pure: knows neither queues nor frames.

use std::collections::VecDeque;

use super::queue_handles::QueueHandle;
use crate::model::{ConsumerId, Lease};

/// A delivery that the client has not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnackedDelivery {
    pub(crate) queue: QueueHandle,
    /// `None` for `basic.get`.
    pub(crate) consumer: Option<ConsumerId>,
    pub(crate) lease: Lease,
    pub(crate) time: AckTime,
}

/// The time that the client has for its answer, in milliseconds on the connection's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckTime {
    /// It was delivered at this time. The broker's own timeout closes the channel.
    Since(u64),
    /// The message goes back to its queue at this time.
    Until(u64),
    /// The message has gone back.
    Over,
}

/// No unacked delivery of the channel has this tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownTag(pub(crate) u64);

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u64,
    /// `None` once it is acknowledged.
    delivery: Option<UnackedDelivery>,
}

/// Tags are given out in order from 1. Acknowledgements may come in any order.
#[derive(Debug)]
pub(crate) struct Unacked {
    entries: VecDeque<Entry>,
    next_tag: u64,
    /// Number of entries with a delivery.
    len: usize,
}

impl Default for Unacked {
    fn default() -> Self {
        Unacked {
            entries: VecDeque::new(),
            next_tag: 1,
            len: 0,
        }
    }
}

impl Unacked {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The delivery that is unacked longest of those with the broker's timeout, and when it was delivered.
    pub(crate) fn oldest(&self) -> Option<(&UnackedDelivery, u64)> {
        let deliveries = self
            .entries
            .iter()
            .filter_map(|entry| entry.delivery.as_ref());
        deliveries
            .filter_map(|delivery| match delivery.time {
                AckTime::Since(at_ms) => Some((delivery, at_ms)),
                AckTime::Until(_) | AckTime::Over => None,
            })
            .next()
    }

    /// Ends the time of deliveries that are overdue. Returns these, and when the next one is.
    pub(crate) fn end_overdue(&mut self, now_ms: u64) -> (Vec<UnackedDelivery>, Option<u64>) {
        let (mut overdue, mut next_ms) = (Vec::new(), None);
        for delivery in self
            .entries
            .iter_mut()
            .filter_map(|entry| entry.delivery.as_mut())
        {
            let AckTime::Until(due_ms) = delivery.time else {
                continue;
            };
            if due_ms <= now_ms {
                overdue.push(*delivery);
                delivery.time = AckTime::Over;
            } else {
                next_ms = Some(next_ms.map_or(due_ms, |next: u64| next.min(due_ms)));
            }
        }
        (overdue, next_ms)
    }

    /// The tag of a delivery that needs no acknowledgement.
    pub(crate) fn skip_tag(&mut self) -> u64 {
        let tag = self.next_tag;
        self.next_tag += 1;
        tag
    }

    /// Adds a delivery and returns its tag.
    pub(crate) fn push(&mut self, delivery: UnackedDelivery) -> u64 {
        let tag = self.skip_tag();
        self.entries.push_back(Entry {
            tag,
            delivery: Some(delivery),
        });
        self.len += 1;
        tag
    }

    /// Moves the deliveries that the client acknowledges to `out`, in order: one tag or, with `multiple`, all
    /// up to and including it; tag 0 with `multiple` means all. As in RabbitMQ the tag itself must be
    /// unacked, also with `multiple`.
    pub(crate) fn take(
        &mut self,
        tag: u64,
        multiple: bool,
        out: &mut Vec<(u64, UnackedDelivery)>,
    ) -> Result<(), UnknownTag> {
        if multiple && tag == 0 {
            self.take_all(out);
            return Ok(());
        }
        let index = self.position(tag).ok_or(UnknownTag(tag))?;
        if multiple {
            for entry in self.entries.drain(..=index) {
                if let Some(delivery) = entry.delivery {
                    self.len -= 1;
                    out.push((entry.tag, delivery));
                }
            }
        } else if let Some(entry) = self.entries.get_mut(index)
            && let Some(delivery) = entry.delivery.take()
        {
            self.len -= 1;
            out.push((tag, delivery));
        }
        self.shrink();
        Ok(())
    }

    /// Moves all deliveries to `out`, in order.
    pub(crate) fn take_all(&mut self, out: &mut Vec<(u64, UnackedDelivery)>) {
        out.extend(
            self.entries
                .drain(..)
                .filter_map(|entry| entry.delivery.map(|delivery| (entry.tag, delivery))),
        );
        self.len = 0;
        self.entries = VecDeque::new();
    }

    /// Puts back deliveries that were taken: after `tx.rollback` they are unacked again.
    pub(crate) fn put_back(&mut self, mut deliveries: Vec<(u64, UnackedDelivery)>) {
        if deliveries.is_empty() {
            return;
        }
        self.len += deliveries.len();
        deliveries.extend(
            self.entries
                .drain(..)
                .filter_map(|entry| entry.delivery.map(|delivery| (entry.tag, delivery))),
        );
        deliveries.sort_unstable_by_key(|(tag, _)| *tag);
        self.entries = deliveries
            .into_iter()
            .map(|(tag, delivery)| Entry {
                tag,
                delivery: Some(delivery),
            })
            .collect();
    }

    /// Index of the entry of an unacked tag. Tags are usually dense, so the first guess usually fits.
    fn position(&self, tag: u64) -> Option<usize> {
        let front = self.entries.front()?.tag;
        let guess = usize::try_from(tag.checked_sub(front)?).ok();
        let is_it = |index: &usize| self.entries.get(*index).is_some_and(|it| it.tag == tag);
        let index = match guess.filter(is_it) {
            Some(index) => index,
            None => self.entries.binary_search_by_key(&tag, |it| it.tag).ok()?,
        };
        self.entries.get(index)?.delivery.map(|_| index)
    }

    /// Drops acknowledged entries at the front, and all of them when they are the majority: one message that
    /// is never acknowledged must not keep the entries of all later ones.
    fn shrink(&mut self) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.delivery.is_none())
        {
            self.entries.pop_front();
        }
        if self.entries.len() > 64 && self.len < self.entries.len() / 2 {
            self.entries.retain(|entry| entry.delivery.is_some());
        }
        if self.len == 0 && self.entries.capacity() > 1024 {
            self.entries = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delivery(offset: u64) -> UnackedDelivery {
        UnackedDelivery {
            queue: QueueHandle::NONE,
            consumer: None,
            lease: Lease {
                offset,
                turn: 0,
                lane: 0,
            },
            time: AckTime::Since(0),
        }
    }

    fn with_deliveries(n: u64) -> Unacked {
        let mut unacked = Unacked::default();
        for offset in 1..=n {
            assert_eq!(unacked.push(delivery(offset)), offset);
        }
        unacked
    }

    fn taken(unacked: &mut Unacked, tag: u64, multiple: bool) -> Result<Vec<u64>, UnknownTag> {
        let mut out = Vec::new();
        unacked.take(tag, multiple, &mut out)?;
        Ok(out.into_iter().map(|(tag, _)| tag).collect())
    }

    #[test]
    fn single_and_multiple() {
        let mut l = with_deliveries(5);
        assert_eq!(taken(&mut l, 2, false), Ok(vec![2]));
        assert_eq!(taken(&mut l, 2, false), Err(UnknownTag(2)));
        // The tag itself has to be outstanding, although 1 and 3 are.
        assert_eq!(taken(&mut l, 2, true), Err(UnknownTag(2)));
        assert_eq!(taken(&mut l, 4, true), Ok(vec![1, 3, 4]));
        assert_eq!(taken(&mut l, 6, true), Err(UnknownTag(6)));
        assert_eq!(taken(&mut l, 0, false), Err(UnknownTag(0)));
        assert_eq!(taken(&mut l, 0, true), Ok(vec![5]));
        assert_eq!(taken(&mut l, 0, true), Ok(vec![]));
    }

    #[test]
    fn overdue_deliveries_stay_unacked_and_are_overdue_once() {
        let mut l = Unacked::default();
        for (offset, time) in (1..).zip([
            AckTime::Until(300),
            AckTime::Since(7),
            AckTime::Until(100),
            AckTime::Until(200),
        ]) {
            l.push(UnackedDelivery {
                time,
                ..delivery(offset)
            });
        }
        let ends = |l: &mut Unacked, now_ms| {
            let (overdue, next_ms) = l.end_overdue(now_ms);
            let offsets: Vec<u64> = overdue.iter().map(|it| it.lease.offset).collect();
            (offsets, next_ms)
        };
        assert_eq!(ends(&mut l, 99), (vec![], Some(100)));
        assert_eq!(ends(&mut l, 200), (vec![3, 4], Some(300)));
        assert_eq!(ends(&mut l, 200), (vec![], Some(300)));
        assert_eq!(
            l.oldest().map(|(it, at_ms)| (it.lease.offset, at_ms)),
            Some((2, 7))
        );
        assert_eq!(taken(&mut l, 3, false), Ok(vec![3]));
        assert_eq!(ends(&mut l, 300), (vec![1], None));
    }

    #[test]
    fn one_old_message_keeps_no_later_entries() {
        let mut l = with_deliveries(1);
        for tag in 2..100_000 {
            l.push(delivery(tag));
            assert_eq!(taken(&mut l, tag, false), Ok(vec![tag]));
        }
        assert_eq!(l.len(), 1);
        assert!(l.entries.len() < 200);
        assert_eq!(taken(&mut l, 1, false), Ok(vec![1]));
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_model(steps in proptest::collection::vec((0u8..6, 0u64..40, any::<bool>()), 1..200)) {
            let mut l = Unacked::default();
            let mut model = std::collections::BTreeMap::new();
            let mut next = 1;
            let mut saved: Vec<(u64, UnackedDelivery)> = Vec::new();
            for (kind, tag, multiple) in steps {
                match kind {
                    0..=2 => {
                        prop_assert_eq!(l.push(delivery(next)), next);
                        model.insert(next, delivery(next));
                        next += 1;
                    }
                    3 => {
                        prop_assert_eq!(l.skip_tag(), next);
                        next += 1;
                    }
                    4 => {
                        l.put_back(std::mem::take(&mut saved));
                        for tag in model.keys().copied().collect::<Vec<_>>() {
                            prop_assert!(model.contains_key(&tag));
                        }
                    }
                    _ => {
                        let mut out = Vec::new();
                        let known = model.contains_key(&tag) || (multiple && tag == 0);
                        prop_assert_eq!(l.take(tag, multiple, &mut out).is_ok(), known);
                        let expected: Vec<u64> = model.keys().copied()
                            .filter(|t| known && (*t == tag || (multiple && (tag == 0 || *t < tag)))).collect();
                        prop_assert_eq!(out.iter().map(|(t, _)| *t).collect::<Vec<_>>(), expected.clone());
                        for t in &expected { model.remove(t); }
                    }
                }
                prop_assert_eq!(l.len(), model.len());
            }
        }

        #[test]
        fn deliveries_that_are_put_back_can_be_taken_again(n in 1u64..50, first in 1u64..50, more in 0u64..10) {
            let first = first.min(n);
            let mut l = with_deliveries(n);
            let mut out = Vec::new();
            l.take(first, true, &mut out).unwrap();
            for _ in 0..more { l.push(delivery(99)); }
            l.put_back(out);
            prop_assert_eq!(taken(&mut l, 0, true), Ok((1..=n + more).collect::<Vec<_>>()));
        }
    }
}
