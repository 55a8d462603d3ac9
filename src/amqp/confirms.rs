//! Publisher confirms of one channel: sequence numbers, what each waits for, and folding what is resolved into few
//! `basic.ack` and `basic.nack`. Pure: a ticket is a number that becomes durable.

use std::collections::VecDeque;

use crate::model::Ticket;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Acknowledged when this ticket is durable.
    Waits(Ticket),
    Acked,
    Nacked,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    last: u64,
    fate: Fate,
}

/// One frame to the publisher. It answers every number up to `seq` that has not been answered (`multiple`), or `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirm {
    /// The publisher's sequence number.
    pub(crate) seq: u64,
    /// Whether it stands for more than one message.
    pub(crate) multiple: bool,
    /// `basic.ack`, else `basic.nack`.
    pub(crate) ack: bool,
}

/// The ledger of a channel in confirm mode. A run of messages costs one entry. What waits for the disk, and what was
/// refused, is answered in order, so that nearly every answer can be `multiple`. What waits for nothing does not wait
/// for those before it either: it is acknowledged by itself if any of them is still open.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// What is not answered to the end, in order.
    runs: VecDeque<Run>,
    /// Highest number given out.
    last: u64,
    /// Up to this number everything is answered.
    answered: u64,
    /// Up to this number everything that waits for nothing is answered.
    told: u64,
    /// The highest number that waits for nothing and came after one that may.
    overtaking: u64,
    /// How many numbers above `answered` are answered.
    ahead: u64,
}

impl Confirms {
    /// The next message's number.
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Messages that wait for their answer.
    pub(crate) fn outstanding(&self) -> u64 {
        self.last - self.answered - self.ahead
    }

    /// The numbers up to `last`, from where the previous call ended, wait for `ticket`; `None`: for nothing.
    pub(crate) fn accept(&mut self, last: u64, ticket: Option<Ticket>) {
        self.push(last, ticket.map_or(Fate::Acked, Fate::Waits));
    }

    /// The numbers up to `last`, from where the previous call ended, were refused by a queue.
    pub(crate) fn refuse(&mut self, last: u64) {
        self.push(last, Fate::Nacked);
    }

    /// The lowest ticket that the next answer waits for.
    pub(crate) fn waits_for(&self) -> Option<Ticket> {
        match self.runs.front()?.fate {
            Fate::Waits(ticket) => Some(ticket),
            Fate::Acked | Fate::Nacked => None,
        }
    }

    /// The next frame to send, given what is durable.
    pub(crate) fn pop(&mut self, durable: Ticket) -> Option<Confirm> {
        self.in_order(durable).or_else(|| self.overtake())
    }

    /// Answers the oldest, and those after them with the same answer.
    fn in_order(&mut self, durable: Ticket) -> Option<Confirm> {
        while self.runs.front().is_some_and(|run| self.is_told(*run)) {
            self.pass();
        }
        let before = self.answered;
        let ack = resolved(self.runs.front()?.fate, durable)?;
        let mut seq = before;
        while let Some(run) = self.runs.front().copied() {
            if resolved(run.fate, durable) != Some(ack) {
                break;
            }
            if !self.is_told(run) {
                seq = run.last;
            }
            self.pass();
        }
        if self.runs.is_empty() && self.runs.capacity() > 256 {
            self.runs = VecDeque::new();
        }
        // RabbitMQ sets the bit in every nack, which is as true here: all before have been answered.
        let multiple = !ack || seq - before > 1;
        Some(Confirm { seq, multiple, ack })
    }

    /// Whether all of a run has been answered ahead of those before it.
    fn is_told(&self, run: Run) -> bool {
        run.fate == Fate::Acked && run.last <= self.told
    }

    /// Takes the first run off: it is answered.
    fn pass(&mut self) {
        if let Some(run) = self.runs.pop_front() {
            if run.fate == Fate::Acked {
                self.ahead -= self.told.min(run.last).saturating_sub(self.answered);
            }
            self.answered = run.last;
            self.told = self.told.max(run.last);
        }
    }

    /// Acknowledges one that waits for nothing, although some before it do wait.
    fn overtake(&mut self) -> Option<Confirm> {
        while self.told < self.overtaking {
            let index = self.runs.partition_point(|run| run.last <= self.told);
            let run = self.runs.get(index)?;
            if run.fate == Fate::Acked {
                self.told += 1;
                self.ahead += 1;
                return Some(Confirm {
                    seq: self.told,
                    multiple: false,
                    ack: true,
                });
            }
            self.told = run.last;
        }
        None
    }

    fn push(&mut self, last: u64, fate: Fate) {
        debug_assert!(last <= self.last, "a number that was not given out");
        if fate == Fate::Acked && !self.runs.is_empty() {
            self.overtaking = last;
        }
        match self.runs.back_mut() {
            Some(run) if run.fate == fate => run.last = last,
            // A later run with a lower ticket is answered with the one before it, so it may as well wait for it.
            Some(Run {
                last: end,
                fate: Fate::Waits(before),
            }) if matches!(fate, Fate::Waits(after) if after < *before) => {
                *end = last;
            }
            _ => self.runs.push_back(Run { last, fate }),
        }
    }
}

/// `Some(acked)` when the fate is known.
fn resolved(fate: Fate, durable: Ticket) -> Option<bool> {
    match fate {
        Fate::Waits(ticket) => (ticket <= durable).then_some(true),
        Fate::Acked => Some(true),
        Fate::Nacked => Some(false),
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
    fn what_waits_for_nothing_overtakes() {
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
        /// Every number is answered exactly once, as its run was, never before its ticket is durable, and at once if
        /// it waits for nothing.
        #[test]
        fn each_once_and_in_time(steps in proptest::collection::vec((0u8..5, 1u8..5, 0u64..10), 1..100)) {
            let mut c = Confirms::default();
            let mut fates: Vec<Fate> = Vec::new();
            let mut answered: Vec<Option<bool>> = Vec::new();
            let mut durable = 0;
            for (kind, n, ticket) in steps {
                let fate = match kind {
                    0 => Fate::Waits(Ticket(durable + ticket)),
                    1 | 2 => Fate::Acked,
                    3 => Fate::Nacked,
                    _ => { durable += u64::from(n); continue; }
                };
                for _ in 0..n { c.next(); }
                fates.resize(fates.len() + usize::from(n), fate);
                answered.resize(fates.len(), None);
                let last = fates.len() as u64;
                match fate {
                    Fate::Waits(ticket) => c.accept(last, Some(ticket)),
                    Fate::Acked => c.accept(last, None),
                    Fate::Nacked => c.refuse(last),
                }
                // Now and then several runs come before what is due is asked for.
                if ticket % 3 > 0 {
                    answer(&mut c, durable, &fates, &mut answered)?;
                    prop_assert!(fates.iter().zip(&answered).all(|(fate, answer)| *fate != Fate::Acked || *answer == Some(true)));
                    let open = answered.iter().position(Option::is_none);
                    prop_assert_eq!(c.waits_for().is_some(), open.is_some(), "the first open one waits for the disk");
                }
                prop_assert_eq!(c.outstanding(), answered.iter().filter(|answer| answer.is_none()).count() as u64);
            }
            answer(&mut c, u64::MAX, &fates, &mut answered)?;
            prop_assert!(answered.iter().all(Option::is_some));
            prop_assert_eq!(c.outstanding(), 0);
        }
    }

    /// Takes all that is due and checks each frame: it answers what is open and nothing that was answered otherwise.
    fn answer(
        c: &mut Confirms,
        durable: u64,
        fates: &[Fate],
        answered: &mut [Option<bool>],
    ) -> Result<(), TestCaseError> {
        while let Some(confirm) = c.pop(Ticket(durable)) {
            let last = usize::try_from(confirm.seq).unwrap();
            prop_assert_eq!(answered[last - 1], None);
            let from = answered.iter().position(Option::is_none).unwrap();
            let from = if confirm.multiple { from } else { last - 1 };
            for i in from..last {
                prop_assert_eq!(resolved(fates[i], Ticket(durable)), Some(confirm.ack));
                answered[i] = Some(confirm.ack);
            }
        }
        Ok(())
    }
}
