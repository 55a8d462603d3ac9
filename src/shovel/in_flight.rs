//! The messages between publish and ack: which of them the destination has, and so what the source may be told. Pure.

use std::collections::VecDeque;

/// What the source is told about its deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The destination has this message; with `multiple` also all before it that have no answer yet.
    Ack { tag: u64, multiple: bool },
    /// The destination has refused this message: the source takes it back.
    Requeue { tag: u64 },
}

/// A confirm for a message that was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the destination confirms message {0}, which it was never sent")]
pub struct UnknownConfirm(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Published,
    /// The destination has it; the source does not know yet.
    Confirmed,
    /// The destination has refused it; the source does not know yet.
    Refused,
    /// The source has its answer.
    Answered,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The delivery tag at the source.
    tag: u64,
    mark: u64,
    state: State,
}

/// Messages in the order of their publishes. The destination counts them from 1.
#[derive(Debug)]
pub struct InFlight {
    /// Sequence number of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    /// Sequence numbers of entries that the source knows nothing about yet.
    unanswered: Vec<u64>,
    published: usize,
    confirmed: u64,
    refused: u64,
    settled_mark: Option<u64>,
}

impl Default for InFlight {
    fn default() -> InFlight {
        InFlight {
            first: 1,
            entries: VecDeque::new(),
            unanswered: Vec::new(),
            published: 0,
            confirmed: 0,
            refused: 0,
            settled_mark: None,
        }
    }
}

impl InFlight {
    /// The next message is published. `mark` is the caller's number for it.
    pub fn publish(&mut self, tag: u64, mark: u64) {
        self.published += 1;
        self.entries.push_back(Entry {
            tag,
            mark,
            state: State::Published,
        });
    }

    /// The destination has a message, or with `multiple` all up to it.
    pub fn confirm(&mut self, seq: u64, multiple: bool) -> Result<(), UnknownConfirm> {
        self.confirmed += self.settle(seq, multiple, State::Confirmed)?;
        Ok(())
    }

    /// The destination refuses a message, or with `multiple` all up to it.
    pub fn refuse(&mut self, seq: u64, multiple: bool) -> Result<(), UnknownConfirm> {
        self.refused += self.settle(seq, multiple, State::Refused)?;
        Ok(())
    }

    fn settle(&mut self, seq: u64, multiple: bool, state: State) -> Result<u64, UnknownConfirm> {
        let end = self.first + self.entries.len() as u64;
        let (from, to) = match (seq, multiple) {
            // All so far.
            (0, true) => (self.first, end),
            (seq, true) => (self.first, seq.saturating_add(1)),
            (seq, false) => (seq, seq.saturating_add(1)),
        };
        if seq >= end || (seq == 0 && !multiple) {
            return Err(UnknownConfirm(seq));
        }
        let mut settled = 0;
        for seq in from.max(self.first)..to {
            if let Some(entry) = self.entry(seq)
                && entry.state == State::Published
            {
                entry.state = state;
                self.unanswered.push(seq);
                settled += 1;
            }
        }
        self.published = self.published.saturating_sub(settled);
        Ok(settled as u64)
    }

    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(index)
    }

    /// Adds what the source must hear now. One ack covers all messages at the front; refusals come before it, since it
    /// would cover them.
    pub fn answers(&mut self, answers: &mut Vec<Answer>) {
        for seq in std::mem::take(&mut self.unanswered) {
            if let Some(entry) = self.entry(seq)
                && entry.state == State::Refused
            {
                entry.state = State::Answered;
                answers.push(Answer::Requeue { tag: entry.tag });
            }
            self.unanswered.push(seq);
        }
        let mut last_acked = None;
        while let Some(entry) = self
            .entries
            .pop_front_if(|entry| entry.state != State::Published)
        {
            self.first += 1;
            self.settled_mark = Some(entry.mark);
            if entry.state == State::Confirmed {
                last_acked = Some(entry.tag);
            }
        }
        answers.extend(last_acked.map(|tag| Answer::Ack {
            tag,
            multiple: true,
        }));
        for seq in std::mem::take(&mut self.unanswered) {
            if let Some(entry) = self.entry(seq)
                && entry.state == State::Confirmed
            {
                entry.state = State::Answered;
                answers.push(Answer::Ack {
                    tag: entry.tag,
                    multiple: false,
                });
            }
        }
    }

    /// Published messages without a confirm.
    pub fn unconfirmed(&self) -> usize {
        self.published
    }

    /// Messages that memory is held for: those from the first without a confirm on.
    pub fn window(&self) -> usize {
        self.entries.len()
    }

    /// Number of messages that the destination has confirmed.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Number of messages that the destination has refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The mark of the last message before the first that has no confirm.
    pub fn settled_mark(&self) -> Option<u64> {
        self.settled_mark
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ack(tag: u64, multiple: bool) -> Answer {
        Answer::Ack { tag, multiple }
    }

    fn published(tags: std::ops::Range<u64>) -> InFlight {
        let mut in_flight = InFlight::default();
        for tag in tags {
            in_flight.publish(tag, tag * 10);
        }
        in_flight
    }

    fn answers(in_flight: &mut InFlight) -> Vec<Answer> {
        let mut answers = Vec::new();
        in_flight.answers(&mut answers);
        answers
    }

    #[test]
    fn single_confirms_at_the_front_become_one_ack() {
        let mut in_flight = published(5..9);
        in_flight.confirm(2, false).unwrap();
        in_flight.confirm(1, false).unwrap();
        in_flight.confirm(3, false).unwrap();
        assert_eq!(answers(&mut in_flight), [ack(7, true)]);
        assert_eq!(answers(&mut in_flight), []);
        assert_eq!((in_flight.unconfirmed(), in_flight.window()), (1, 1));
        assert_eq!(in_flight.settled_mark(), Some(70));
    }

    #[test]
    fn a_confirm_behind_an_unconfirmed_message_is_acked_alone() {
        let mut in_flight = published(1..5);
        in_flight.confirm(3, false).unwrap();
        assert_eq!(answers(&mut in_flight), [ack(3, false)]);
        assert_eq!(in_flight.settled_mark(), None);
        in_flight.confirm(2, true).unwrap();
        assert_eq!(answers(&mut in_flight), [ack(2, true)]);
        assert_eq!((in_flight.window(), in_flight.confirmed()), (1, 3));
    }

    #[test]
    fn refused_messages_return_before_an_ack_could_cover_them() {
        let mut in_flight = published(1..4);
        in_flight.refuse(2, false).unwrap();
        in_flight.confirm(3, true).unwrap();
        let expected = [Answer::Requeue { tag: 2 }, ack(3, true)];
        assert_eq!(answers(&mut in_flight), expected);
        assert_eq!((in_flight.confirmed(), in_flight.refused()), (2, 1));
        assert_eq!(in_flight.window(), 0);
    }

    #[test]
    fn zero_with_multiple_is_all_and_strangers_are_refused() {
        let mut in_flight = published(1..4);
        assert_eq!(in_flight.confirm(4, false), Err(UnknownConfirm(4)));
        assert_eq!(in_flight.confirm(4, true), Err(UnknownConfirm(4)));
        assert_eq!(in_flight.confirm(0, false), Err(UnknownConfirm(0)));
        in_flight.confirm(0, true).unwrap();
        assert_eq!(answers(&mut in_flight), [ack(3, true)]);
        // Again, as after a race of single confirms.
        in_flight.confirm(2, false).unwrap();
        assert_eq!(answers(&mut in_flight), []);
        assert_eq!(in_flight.confirmed(), 3);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Publish,
        Settle {
            seq: u64,
            multiple: bool,
            accepted: bool,
        },
        Answer,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let settle = (1..40_u64, any::<bool>(), any::<bool>());
        let step = prop_oneof![
            4 => Just(Step::Publish),
            3 => settle.prop_map(|(seq, multiple, accepted)| Step::Settle { seq, multiple, accepted }),
            2 => Just(Step::Answer),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        /// A source that follows the answers forgets exactly the confirmed messages, and takes exactly the refused ones back.
        #[test]
        fn the_source_forgets_what_is_confirmed_and_nothing_else(steps in steps()) {
            let mut in_flight = InFlight::default();
            let mut published = 0;
            let (mut open, mut confirmed, mut refused) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let mut unacked = BTreeSet::new();
            let (mut acked, mut requeued) = (BTreeSet::new(), BTreeSet::new());
            let all = steps.into_iter().chain([Step::Answer]);
            for step in all {
                match step {
                    Step::Publish => {
                        published += 1;
                        in_flight.publish(published + 100, published);
                        open.insert(published);
                        unacked.insert(published);
                    }
                    Step::Settle { seq, multiple, accepted } => {
                        let known = seq <= published;
                        let result = match accepted {
                            true => in_flight.confirm(seq, multiple),
                            false => in_flight.refuse(seq, multiple),
                        };
                        prop_assert_eq!(result.is_ok(), known);
                        if known {
                            let settled: Vec<u64> = match multiple {
                                true => open.range(..=seq).copied().collect(),
                                false => open.get(&seq).copied().into_iter().collect(),
                            };
                            for seq in settled {
                                open.remove(&seq);
                                if accepted { confirmed.insert(seq) } else { refused.insert(seq) };
                            }
                        }
                    }
                    Step::Answer => {
                        for answer in answers(&mut in_flight) {
                            match answer {
                                Answer::Requeue { tag } => {
                                    prop_assert!(unacked.remove(&(tag - 100)));
                                    requeued.insert(tag - 100);
                                }
                                Answer::Ack { tag, multiple: false } => {
                                    prop_assert!(unacked.remove(&(tag - 100)));
                                    acked.insert(tag - 100);
                                }
                                Answer::Ack { tag, multiple: true } => {
                                    prop_assert!(unacked.contains(&(tag - 100)));
                                    let covered: Vec<u64> = unacked.range(..=tag - 100).copied().collect();
                                    for seq in covered {
                                        unacked.remove(&seq);
                                        acked.insert(seq);
                                    }
                                }
                            }
                        }
                        prop_assert_eq!(&acked, &confirmed);
                        prop_assert_eq!(&requeued, &refused);
                        prop_assert_eq!(in_flight.unconfirmed(), open.len());
                        let settled = open.first().map_or(published, |first| first - 1);
                        prop_assert_eq!(in_flight.settled_mark().unwrap_or(0), settled);
                        prop_assert_eq!(in_flight.window() as u64, published - settled);
                    }
                }
            }
        }
    }
}
