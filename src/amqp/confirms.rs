//! Publisher confirms of one channel: sequence numbers, the ticket that each waits for, and how resolved ones
//! fold into few `basic.ack` and `basic.nack`. Pure: a ticket is a number that becomes durable.

use std::collections::VecDeque;

use crate::model::Ticket;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Acked when this ticket is durable.
    Waits(Ticket),
    Acked,
    Nacked,
}

/// Consecutive numbers with one outcome, up to `last`.
#[derive(Clone, Copy, Debug)]
struct Span {
    last: u64,
    outcome: Outcome,
}

/// One frame to the publisher. It answers `seq` or, with `multiple`, all unanswered numbers up to `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) seq: u64,
    pub(crate) multiple: bool,
    /// `basic.ack`, otherwise `basic.nack`.
    pub(crate) ack: bool,
}

/// The confirms of a channel. A run of messages costs one entry. Messages that wait for the disk and refused
/// messages are answered in order, so that nearly every answer can be `multiple`. A message that waits for
/// nothing does not wait for earlier ones either: it gets an ack of its own if any of them is unanswered.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// Numbers above `answered`, in order.
    spans: VecDeque<Span>,
    /// The highest number given out.
    last: u64,
    /// All numbers up to this one are answered.
    answered: u64,
    /// All numbers up to this one that wait for nothing are answered.
    overtaken: u64,
    /// The highest number that waits for nothing while an earlier one may wait.
    overtaking: u64,
    /// Number of answered numbers above `answered`.
    ahead: u64,
}

impl Confirms {
    /// The next message's number.
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Number of unanswered messages.
    pub(crate) fn outstanding(&self) -> u64 {
        self.last - self.answered - self.ahead
    }

    /// The numbers after those of the previous call, up to `last`, wait for `ticket`; `None` waits for
    /// nothing.
    pub(crate) fn accept(&mut self, last: u64, ticket: Option<Ticket>) {
        self.push(last, ticket.map_or(Outcome::Acked, Outcome::Waits));
    }

    /// A queue has refused the numbers after those of the previous call, up to `last`.
    pub(crate) fn refuse(&mut self, last: u64) {
        self.push(last, Outcome::Nacked);
    }

    /// The ticket that the next answer waits for.
    pub(crate) fn waits_for(&self) -> Option<Ticket> {
        match self.spans.front()?.outcome {
            Outcome::Waits(ticket) => Some(ticket),
            Outcome::Acked | Outcome::Nacked => None,
        }
    }

    /// The next frame to send when `durable` is durable.
    pub(crate) fn pop(&mut self, durable: Ticket) -> Option<Confirm> {
        self.in_order(durable).or_else(|| self.overtake())
    }

    /// Answers the oldest numbers that have the same answer.
    fn in_order(&mut self, durable: Ticket) -> Option<Confirm> {
        while self
            .spans
            .front()
            .is_some_and(|span| self.is_overtaken(*span))
        {
            self.pass();
        }
        let before = self.answered;
        let ack = resolved(self.spans.front()?.outcome, durable)?;
        let mut seq = before;
        while let Some(span) = self.spans.front().copied() {
            if resolved(span.outcome, durable) != Some(ack) {
                break;
            }
            if !self.is_overtaken(span) {
                seq = span.last;
            }
            self.pass();
        }
        if self.spans.is_empty() && self.spans.capacity() > 256 {
            self.spans = VecDeque::new();
        }
        // RabbitMQ sets the bit in every nack. Here too it is true: all earlier numbers are answered.
        let multiple = !ack || seq - before > 1;
        Some(Confirm { seq, multiple, ack })
    }

    /// Whether a span has been answered before earlier ones.
    fn is_overtaken(&self, span: Span) -> bool {
        span.outcome == Outcome::Acked && span.last <= self.overtaken
    }

    /// Removes the first span, which is answered.
    fn pass(&mut self) {
        if let Some(span) = self.spans.pop_front() {
            if span.outcome == Outcome::Acked {
                self.ahead -= self.overtaken.min(span.last).saturating_sub(self.answered);
            }
            self.answered = span.last;
            self.overtaken = self.overtaken.max(span.last);
        }
    }

    /// Acks a number that waits for nothing, although earlier ones wait.
    fn overtake(&mut self) -> Option<Confirm> {
        while self.overtaken < self.overtaking {
            let index = self
                .spans
                .partition_point(|span| span.last <= self.overtaken);
            let span = self.spans.get(index)?;
            if span.outcome == Outcome::Acked {
                self.overtaken += 1;
                self.ahead += 1;
                return Some(Confirm {
                    seq: self.overtaken,
                    multiple: false,
                    ack: true,
                });
            }
            self.overtaken = span.last;
        }
        None
    }

    fn push(&mut self, last: u64, outcome: Outcome) {
        debug_assert!(last <= self.last, "a number that was not given out");
        if outcome == Outcome::Acked && !self.spans.is_empty() {
            self.overtaking = last;
        }
        match self.spans.back_mut() {
            Some(span) if span.outcome == outcome => span.last = last,
            // A later number with a lower ticket is answered together with the span before it, so it joins
            // that.
            Some(Span {
                last: end,
                outcome: Outcome::Waits(before),
            }) if matches!(outcome, Outcome::Waits(after) if after < *before) => {
                *end = last;
            }
            _ => self.spans.push_back(Span { last, outcome }),
        }
    }
}

/// `Some(acked)` once the outcome is final.
fn resolved(outcome: Outcome, durable: Ticket) -> Option<bool> {
    match outcome {
        Outcome::Waits(ticket) => (ticket <= durable).then_some(true),
        Outcome::Acked => Some(true),
        Outcome::Nacked => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn folds_to_one_ack() {
        let mut c = Confirms::default();
        for _ in 0..6 {
            c.next();
        }
        c.accept(3, Some(Ticket(1)));
        c.accept(5, Some(Ticket(2)));
        c.accept(6, Some(Ticket(1)));
        assert_eq!(c.waits_for(), Some(Ticket(1)));
        assert_eq!(c.pop(Ticket(0)), None);
        assert_eq!(
            c.pop(Ticket(2)),
            Some(Confirm {
                seq: 6,
                multiple: true,
                ack: true
            })
        );
        assert_eq!(c.pop(Ticket(2)), None);
        assert_eq!(c.outstanding(), 0);
    }

    #[test]
    fn a_single_one_is_not_multiple() {
        let mut c = Confirms::default();
        c.next();
        c.accept(1, None);
        assert_eq!(
            c.pop(Ticket(0)),
            Some(Confirm {
                seq: 1,
                multiple: false,
                ack: true
            })
        );
    }

    #[test]
    fn nacks_stand_apart() {
        let mut c = Confirms::default();
        for _ in 0..4 {
            c.next();
        }
        c.accept(1, None);
        c.refuse(3);
        c.accept(4, None);
        assert_eq!(
            c.pop(Ticket(0)),
            Some(Confirm {
                seq: 1,
                multiple: false,
                ack: true
            })
        );
        assert_eq!(
            c.pop(Ticket(0)),
            Some(Confirm {
                seq: 3,
                multiple: true,
                ack: false
            })
        );
        assert_eq!(
            c.pop(Ticket(0)),
            Some(Confirm {
                seq: 4,
                multiple: false,
                ack: true
            })
        );
    }

    #[test]
    fn a_message_that_waits_for_nothing_overtakes() {
        let mut c = Confirms::default();
        for _ in 0..7 {
            c.next();
        }
        let said = |c: &mut Confirms, durable| {
            let mut said = Vec::new();
            while let Some(confirm) = c.pop(Ticket(durable)) {
                said.push((confirm.seq, confirm.multiple, confirm.ack));
            }
            said
        };
        c.accept(1, Some(Ticket(1)));
        c.accept(3, None);
        assert_eq!(said(&mut c, 0), [(2, false, true), (3, false, true)]);
        assert_eq!((c.outstanding(), c.waits_for()), (5, Some(Ticket(1))));
        c.refuse(4);
        c.accept(5, None);
        assert_eq!(said(&mut c, 0), [(5, false, true)], "a nack keeps its turn");
        c.refuse(6);
        c.accept(7, Some(Ticket(2)));
        assert_eq!(
            said(&mut c, 1),
            [(1, false, true), (4, true, false), (6, true, false)],
            "no nack spans what was acknowledged"
        );
        assert_eq!((c.outstanding(), c.waits_for()), (1, Some(Ticket(2))));
        assert_eq!(said(&mut c, 2), [(7, false, true)]);
        assert_eq!((c.outstanding(), c.waits_for()), (0, None));
    }

    proptest! {
        /// Every number is answered exactly once, with its own outcome, never before its ticket is durable,
        /// and immediately if it waits for nothing.
        #[test]
        fn each_once_and_in_time(steps in proptest::collection::vec((0u8..5, 1u8..5, 0u64..10), 1..100)) {
            let mut c = Confirms::default();
            let mut outcomes: Vec<Outcome> = Vec::new();
            let mut answered: Vec<Option<bool>> = Vec::new();
            let mut durable = 0;
            for (kind, n, ticket) in steps {
                let outcome = match kind {
                    0 => Outcome::Waits(Ticket(durable + ticket)),
                    1 | 2 => Outcome::Acked,
                    3 => Outcome::Nacked,
                    _ => { durable += u64::from(n); continue; }
                };
                for _ in 0..n { c.next(); }
                outcomes.resize(outcomes.len() + usize::from(n), outcome);
                answered.resize(outcomes.len(), None);
                let last = outcomes.len() as u64;
                match outcome {
                    Outcome::Waits(ticket) => c.accept(last, Some(ticket)),
                    Outcome::Acked => c.accept(last, None),
                    Outcome::Nacked => c.refuse(last),
                }
                // Sometimes several runs arrive between two answers.
                if ticket % 3 > 0 {
                    answer(&mut c, durable, &outcomes, &mut answered)?;
                    prop_assert!(outcomes.iter().zip(&answered).all(|(outcome, answer)| *outcome != Outcome::Acked || *answer == Some(true)));
                    let open = answered.iter().position(Option::is_none);
                    prop_assert_eq!(c.waits_for().is_some(), open.is_some(), "the first open one waits for the disk");
                }
                prop_assert_eq!(c.outstanding(), answered.iter().filter(|answer| answer.is_none()).count() as u64);
            }
            answer(&mut c, u64::MAX, &outcomes, &mut answered)?;
            prop_assert!(answered.iter().all(Option::is_some));
            prop_assert_eq!(c.outstanding(), 0);
        }
    }

    /// Takes all frames that are due and checks that each answers unanswered numbers only, with their
    /// outcome.
    fn answer(
        c: &mut Confirms,
        durable: u64,
        outcomes: &[Outcome],
        answered: &mut [Option<bool>],
    ) -> Result<(), TestCaseError> {
        while let Some(confirm) = c.pop(Ticket(durable)) {
            let last = usize::try_from(confirm.seq).unwrap();
            prop_assert_eq!(answered[last - 1], None);
            let from = answered.iter().position(Option::is_none).unwrap();
            let from = if confirm.multiple { from } else { last - 1 };
            for i in from..last {
                prop_assert_eq!(resolved(outcomes[i], Ticket(durable)), Some(confirm.ack));
                answered[i] = Some(confirm.ack);
            }
        }
        Ok(())
    }
}
