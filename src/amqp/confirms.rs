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

/// The ledger of a channel in confirm mode. Numbers are answered in order, so that nearly every answer can be
/// `multiple`; a run of messages costs one entry.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    runs: VecDeque<Run>,
    /// Highest number given out.
    last: u64,
    /// Highest number answered.
    answered: u64,
}

impl Confirms {
    /// The next message's number.
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Messages that wait for their answer.
    pub(crate) fn outstanding(&self) -> u64 {
        self.last - self.answered
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
        let first = *self.runs.front()?;
        let ack = resolved(first.fate, durable)?;
        let mut seq = first.last;
        self.runs.pop_front();
        while let Some(run) = self.runs.front() {
            if resolved(run.fate, durable) != Some(ack) {
                break;
            }
            seq = run.last;
            self.runs.pop_front();
        }
        // RabbitMQ sets the bit in every nack, which is as true here: all before have been answered.
        let multiple = !ack || seq - self.answered > 1;
        self.answered = seq;
        if self.runs.is_empty() && self.runs.capacity() > 256 {
            self.runs = VecDeque::new();
        }
        Some(Confirm { seq, multiple, ack })
    }

    fn push(&mut self, last: u64, fate: Fate) {
        debug_assert!(last <= self.last, "a number that was not given out");
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
        c.accept(6, None);
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

    proptest! {
        /// Every number is answered exactly once, as its run was, and never before its ticket is durable.
        #[test]
        fn each_once_and_not_too_early(steps in proptest::collection::vec((0u8..4, 1u8..5, 0u64..10), 1..100)) {
            let mut c = Confirms::default();
            let mut fates: Vec<Fate> = Vec::new();
            let mut answered: Vec<Option<bool>> = Vec::new();
            let mut durable = 0;
            for (kind, n, ticket) in steps {
                match kind {
                    0..=2 => {
                        for _ in 0..n { c.next(); }
                        fates.resize(fates.len() + usize::from(n), match kind {
                            0 => Fate::Waits(Ticket(durable + ticket)),
                            1 => Fate::Acked,
                            _ => Fate::Nacked,
                        });
                        answered.resize(fates.len(), None);
                        let last = fates.len() as u64;
                        match kind {
                            0 => c.accept(last, Some(Ticket(durable + ticket))),
                            1 => c.accept(last, None),
                            _ => c.refuse(last),
                        }
                    }
                    _ => durable += u64::from(n),
                }
                while let Some(confirm) = c.pop(Ticket(durable)) {
                    let last = usize::try_from(confirm.seq).unwrap();
                    let open: Vec<usize> = (0..last).filter(|i| answered[*i].is_none()).collect();
                    let stands_for = if confirm.multiple { open } else { vec![last - 1] };
                    for i in stands_for {
                        prop_assert_eq!(answered[i], None);
                        prop_assert_eq!(resolved(fates[i], Ticket(durable)), Some(confirm.ack));
                        answered[i] = Some(confirm.ack);
                    }
                }
            }
            while c.pop(Ticket(u64::MAX)).map(|confirm| {
                for fate in answered.iter_mut().take(usize::try_from(confirm.seq).unwrap()) {
                    if fate.is_none() { *fate = Some(confirm.ack); }
                }
            }).is_some() {}
            prop_assert!(answered.iter().all(Option::is_some));
            prop_assert_eq!(c.outstanding(), 0);
        }
    }
}
