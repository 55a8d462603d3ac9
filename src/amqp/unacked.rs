//! The delivery tags of one channel: which messages the client has and has not answered yet. Pure: knows no queue
//! and no frame, just places and numbers.

use std::collections::VecDeque;

use crate::model::{ConsumerId, Lease};

/// One delivery that waits for the client's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unacked {
    /// The channel's handle of the queue.
    pub(crate) queue: u32,
    /// `None` for `basic.get`.
    pub(crate) consumer: Option<ConsumerId>,
    /// Which handing-out of which message of that queue.
    pub(crate) lease: Lease,
    /// When it was delivered, in milliseconds on the connection's clock.
    pub(crate) at_ms: u64,
}

/// The tag is not outstanding on this channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownTag(pub(crate) u64);

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u64,
    entry: Option<Unacked>,
}

/// The ledger. Tags are given in order from 1; answers may come in any order.
#[derive(Debug)]
pub(crate) struct Ledger {
    slots: VecDeque<Slot>,
    next_tag: u64,
    outstanding: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            slots: VecDeque::new(),
            next_tag: 1,
            outstanding: 0,
        }
    }
}

impl Ledger {
    /// Number of deliveries that wait.
    pub(crate) fn len(&self) -> usize {
        self.outstanding
    }

    /// The delivery that waits longest.
    pub(crate) fn oldest(&self) -> Option<&Unacked> {
        // Answered slots do not stay at the front.
        self.slots.front()?.entry.as_ref()
    }

    /// The tag for a delivery that needs no answer.
    pub(crate) fn skip(&mut self) -> u64 {
        let tag = self.next_tag;
        self.next_tag += 1;
        tag
    }

    /// Notes a delivery and gives its tag.
    pub(crate) fn push(&mut self, entry: Unacked) -> u64 {
        let tag = self.skip();
        self.slots.push_back(Slot {
            tag,
            entry: Some(entry),
        });
        self.outstanding += 1;
        tag
    }

    /// Takes out what the client answers: one tag, or with `multiple` all up to and including it (tag 0: all there
    /// are). In order of delivery. As in RabbitMQ the tag itself must be outstanding, also with `multiple`; only
    /// "all there are" may be nothing.
    pub(crate) fn take(
        &mut self,
        tag: u64,
        multiple: bool,
        out: &mut Vec<(u64, Unacked)>,
    ) -> Result<(), UnknownTag> {
        if multiple && tag == 0 {
            self.take_all(out);
            return Ok(());
        }
        let index = self.position(tag).ok_or(UnknownTag(tag))?;
        if multiple {
            for slot in self.slots.drain(..=index) {
                if let Some(entry) = slot.entry {
                    self.outstanding -= 1;
                    out.push((slot.tag, entry));
                }
            }
        } else if let Some(entry) = self.slots.get_mut(index).and_then(|slot| slot.entry.take()) {
            self.outstanding -= 1;
            out.push((tag, entry));
        }
        self.tidy();
        Ok(())
    }

    /// Takes everything, in order of delivery: `basic.recover`, or the channel is over.
    pub(crate) fn take_all(&mut self, out: &mut Vec<(u64, Unacked)>) {
        out.extend(
            self.slots
                .drain(..)
                .filter_map(|slot| slot.entry.map(|entry| (slot.tag, entry))),
        );
        self.outstanding = 0;
        self.slots = VecDeque::new();
    }

    /// Puts back entries that were taken (a rolled back transaction leaves them waiting for a new answer).
    pub(crate) fn put_back(&mut self, mut entries: Vec<(u64, Unacked)>) {
        if entries.is_empty() {
            return;
        }
        self.outstanding += entries.len();
        entries.extend(
            self.slots
                .drain(..)
                .filter_map(|slot| slot.entry.map(|entry| (slot.tag, entry))),
        );
        entries.sort_unstable_by_key(|(tag, _)| *tag);
        self.slots = entries
            .into_iter()
            .map(|(tag, entry)| Slot {
                tag,
                entry: Some(entry),
            })
            .collect();
    }

    /// Index of the slot of an outstanding tag. Usually tags are dense, so it is found at once.
    fn position(&self, tag: u64) -> Option<usize> {
        let front = self.slots.front()?.tag;
        let guess = usize::try_from(tag.checked_sub(front)?).ok();
        let index =
            match guess.and_then(|index| self.slots.get(index).map(|slot| (index, slot.tag))) {
                Some((index, found)) if found == tag => index,
                _ => self
                    .slots
                    .binary_search_by_key(&tag, |slot| slot.tag)
                    .ok()?,
            };
        self.slots.get(index)?.entry.map(|_| index)
    }

    /// Drops answered slots at the front, and all of them when they are the majority: one message that is never
    /// answered must not hold the places of all later ones.
    fn tidy(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.entry.is_none()) {
            self.slots.pop_front();
        }
        if self.slots.len() > 64 && self.outstanding < self.slots.len() / 2 {
            self.slots.retain(|slot| slot.entry.is_some());
        }
        if self.outstanding == 0 && self.slots.capacity() > 1024 {
            self.slots = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(offset: u64) -> Unacked {
        Unacked {
            queue: 0,
            consumer: None,
            lease: Lease {
                offset,
                turn: 0,
                lane: 0,
            },
            at_ms: 0,
        }
    }

    fn ledger(n: u64) -> Ledger {
        let mut ledger = Ledger::default();
        for offset in 1..=n {
            assert_eq!(ledger.push(entry(offset)), offset);
        }
        ledger
    }

    fn taken(ledger: &mut Ledger, tag: u64, multiple: bool) -> Result<Vec<u64>, UnknownTag> {
        let mut out = Vec::new();
        ledger.take(tag, multiple, &mut out)?;
        Ok(out.into_iter().map(|(tag, _)| tag).collect())
    }

    #[test]
    fn single_and_multiple() {
        let mut l = ledger(5);
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
    fn one_old_message_does_not_hold_places() {
        let mut l = ledger(1);
        for tag in 2..100_000 {
            l.push(entry(tag));
            assert_eq!(taken(&mut l, tag, false), Ok(vec![tag]));
        }
        assert_eq!(l.len(), 1);
        assert!(l.slots.len() < 200);
        assert_eq!(taken(&mut l, 1, false), Ok(vec![1]));
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_model(steps in proptest::collection::vec((0u8..6, 0u64..40, any::<bool>()), 1..200)) {
            let mut l = Ledger::default();
            let mut model = std::collections::BTreeMap::new();
            let mut next = 1;
            let mut saved: Vec<(u64, Unacked)> = Vec::new();
            for (kind, tag, multiple) in steps {
                match kind {
                    0..=2 => {
                        prop_assert_eq!(l.push(entry(next)), next);
                        model.insert(next, entry(next));
                        next += 1;
                    }
                    3 => {
                        prop_assert_eq!(l.skip(), next);
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
        fn what_is_put_back_can_be_taken_again(n in 1u64..50, first in 1u64..50, more in 0u64..10) {
            let first = first.min(n);
            let mut l = ledger(n);
            let mut out = Vec::new();
            l.take(first, true, &mut out).unwrap();
            for _ in 0..more { l.push(entry(99)); }
            l.put_back(out);
            prop_assert_eq!(taken(&mut l, 0, true), Ok((1..=n + more).collect::<Vec<_>>()));
        }
    }
}
