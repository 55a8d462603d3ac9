//! Checks that every queue delivers every message once and in order. Pure: consumers report each message
//! here.

use std::mem;

use crate::findings::Findings;
use crate::layout::Layout;
use crate::stamp::Stamp;

/// The order in which a consumer gets the messages of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// All messages, by sequence number.
    #[default]
    Whole,
    /// By sequence number, with gaps: other consumers read the same queues. `Witness::conclude` fills the
    /// gaps.
    Shared,
    /// Any order, since messages are due at different times.
    Any,
}

impl Order {
    /// The order of messages without a delay.
    pub(crate) fn of(layout: &Layout) -> Order {
        if layout.is_shared() {
            Order::Shared
        } else {
            Order::Whole
        }
    }
}

/// The messages that one consumer has seen.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    queues: Vec<QueueView>,
    order: Order,
    findings: Findings,
}

#[derive(Debug, Default)]
struct QueueView {
    queue: usize,
    streams: Vec<StreamView>,
    /// Index of the last message's stream. Producers use their routes in turn, so the next message likely
    /// belongs to the same stream or to the one after it.
    cursor: usize,
}

#[derive(Debug, Default)]
struct StreamView {
    stream: usize,
    /// The sequence number after the highest seen.
    next: u64,
    /// A bit for each sequence number that was seen; empty for `Order::Whole`.
    seen: Vec<u64>,
}

impl Witness {
    /// For a consumer that reads `queues`. Its queue 0 is the first of them.
    pub(crate) fn new(queues: &[usize], order: Order) -> Witness {
        let view = |queue: &usize| QueueView {
            queue: *queue,
            ..QueueView::default()
        };
        Witness {
            queues: queues.iter().map(view).collect(),
            order,
            findings: Findings::default(),
        }
    }

    /// Checks a message from the consumer's `nth` queue.
    pub(crate) fn see(&mut self, nth: usize, stamp: Stamp, redelivered: bool) {
        self.findings.redelivered += u64::from(redelivered);
        let Some(queue) = self.queues.get_mut(nth) else {
            self.findings.astray += 1;
            return;
        };
        let sequence = stamp.sequence;
        let view = queue.stream(usize::try_from(stamp.stream).unwrap_or(usize::MAX));
        let wrong = match self.order {
            Order::Whole => {
                self.findings.missing += sequence.saturating_sub(view.next);
                sequence < view.next
            }
            Order::Shared => !view.mark(sequence) || sequence < view.next,
            Order::Any => !view.mark(sequence),
        };
        self.findings.repeated_or_late += u64::from(wrong && !redelivered);
        view.next = view.next.max(sequence + 1);
    }

    /// Merges the views of all consumers and compares them with the numbers of sent messages, by stream.
    pub(crate) fn conclude(witnesses: Vec<Witness>, layout: &Layout, sent: &[u64]) -> Findings {
        let mut findings = Findings::default();
        let mut whole: Vec<QueueView> = Vec::new();
        whole.resize_with(layout.queues, QueueView::default);
        let mut seen_by_two = 0u64;
        for witness in witnesses {
            findings.add(witness.findings);
            for view in witness.queues {
                if let Some(queue) = whole.get_mut(view.queue) {
                    seen_by_two += queue.absorb(view, witness.order);
                }
            }
        }
        findings.repeated_or_late += seen_by_two.saturating_sub(findings.redelivered);
        for (number, queue) in whole.iter_mut().enumerate() {
            for (stream, sent) in sent.iter().enumerate().filter(|(_, sent)| **sent > 0) {
                if layout.reaches(stream, number) {
                    let view = queue.stream(stream);
                    findings.missing += match view.seen.is_empty() {
                        true => sent.saturating_sub(view.next),
                        false => sent - (*sent).min(view.count_seen()),
                    };
                }
            }
            let strayed = |view: &&StreamView| !layout.reaches(view.stream, number);
            findings.astray += queue
                .streams
                .iter()
                .filter(strayed)
                .map(|view| view.next)
                .sum::<u64>();
        }
        findings
    }
}

impl QueueView {
    fn stream(&mut self, stream: usize) -> &mut StreamView {
        let is_it = |at: usize| {
            self.streams
                .get(at)
                .is_some_and(|view| view.stream == stream)
        };
        let next = if self.cursor + 1 < self.streams.len() {
            self.cursor + 1
        } else {
            0
        };
        self.cursor = if is_it(self.cursor) {
            self.cursor
        } else if is_it(next) {
            next
        } else {
            let found = self.streams.iter().position(|view| view.stream == stream);
            found.unwrap_or_else(|| {
                self.streams.push(StreamView {
                    stream,
                    ..StreamView::default()
                });
                self.streams.len() - 1
            })
        };
        #[expect(clippy::indexing_slicing, reason = "found or pushed above")]
        &mut self.streams[self.cursor]
    }

    /// Adds the messages of another consumer of the same queue. Returns the number of messages that both have
    /// seen.
    fn absorb(&mut self, other: QueueView, order: Order) -> u64 {
        let mut both = 0;
        for theirs in other.streams {
            let mine = self.stream(theirs.stream);
            mine.next = mine.next.max(theirs.next);
            if order != Order::Whole {
                let (mut longer, shorter) = if mine.seen.len() > theirs.seen.len() {
                    (mem::take(&mut mine.seen), theirs.seen)
                } else {
                    (theirs.seen, mem::take(&mut mine.seen))
                };
                for (word, more) in longer.iter_mut().zip(shorter) {
                    both += u64::from((*word & more).count_ones());
                    *word |= more;
                }
                mine.seen = longer;
            }
        }
        both
    }
}

impl StreamView {
    /// Marks a sequence number as seen. False if it was marked before.
    fn mark(&mut self, sequence: u64) -> bool {
        let (word, bit) = (
            usize::try_from(sequence / 64).unwrap_or(0),
            1u64 << (sequence % 64),
        );
        if word >= self.seen.len() {
            self.seen.resize((word + 1).next_power_of_two().max(64), 0);
        }
        match self.seen.get_mut(word) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    fn count_seen(&self) -> u64 {
        self.seen
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Routing;

    const CLEAN: Findings = Findings {
        missing: 0,
        repeated_or_late: 0,
        astray: 0,
        redelivered: 0,
    };

    /// Each consumer sees (queue, stream, sequence, redelivered).
    fn check(
        counts: (usize, usize, usize),
        seen: &[&[(usize, u32, u64, bool)]],
        sent: &[u64],
        expected: Findings,
    ) {
        let layout = Layout::new("t", counts, Routing::Default, 0).unwrap();
        check_order(&layout, Order::of(&layout), seen, sent, expected);
    }

    fn check_order(
        layout: &Layout,
        order: Order,
        seen: &[&[(usize, u32, u64, bool)]],
        sent: &[u64],
        expected: Findings,
    ) {
        let witnesses = seen.iter().enumerate().map(|(nth, seen)| {
            let mut witness = Witness::new(&layout.queues_of(nth), order);
            for &(queue, stream, sequence, redelivered) in *seen {
                let stamp = Stamp {
                    due_ns: 0,
                    stream,
                    sequence,
                };
                witness.see(queue, stamp, redelivered);
            }
            witness
        });
        assert_eq!(
            Witness::conclude(witnesses.collect(), layout, sent),
            expected,
            "{seen:?}"
        );
    }

    #[test]
    fn one_consumer_of_one_queue() {
        let m = |sequence| (0, 0, sequence, false);
        let again = |sequence| (0, 0, sequence, true);
        let one = (1, 1, 1);
        check(one, &[&[m(0), m(1), m(2)]], &[3], CLEAN);
        check(
            one,
            &[&[m(0), m(2)]],
            &[3],
            Findings {
                missing: 1,
                ..CLEAN
            },
        );
        check(
            one,
            &[&[m(0), m(1)]],
            &[3],
            Findings {
                missing: 1,
                ..CLEAN
            },
        );
        check(
            one,
            &[&[m(1), m(2)]],
            &[3],
            Findings {
                missing: 1,
                ..CLEAN
            },
        );
        check(
            one,
            &[&[m(0), m(0), m(1)]],
            &[2],
            Findings {
                repeated_or_late: 1,
                ..CLEAN
            },
        );
        check(
            one,
            &[&[m(0), m(1), again(0), again(1)]],
            &[2],
            Findings {
                redelivered: 2,
                ..CLEAN
            },
        );
        check(
            one,
            &[&[]],
            &[2],
            Findings {
                missing: 2,
                ..CLEAN
            },
        );
    }

    #[test]
    fn streams_interleave_and_stray() {
        // Two producers on two queues: streams 0 and 2 go to queue 0, stream 3 to queue 1.
        let seen = [
            (0, 0, 0, false),
            (0, 2, 0, false),
            (0, 2, 1, false),
            (0, 0, 1, false),
            (1, 3, 0, false),
        ];
        check((2, 1, 2), &[&seen], &[2, 0, 2, 1], CLEAN);
        check(
            (2, 1, 2),
            &[&[(0, 3, 0, false)]],
            &[0, 0, 0, 1],
            Findings {
                astray: 1,
                missing: 1,
                ..CLEAN
            },
        );
    }

    #[test]
    fn consumers_that_share_a_queue() {
        let m = |sequence| (0, 0, sequence, false);
        let two = (1, 2, 1);
        check(two, &[&[m(0), m(2)], &[m(1), m(3)]], &[4], CLEAN);
        check(
            two,
            &[&[m(0), m(2)], &[m(3)]],
            &[4],
            Findings {
                missing: 1,
                ..CLEAN
            },
        );
        check(
            two,
            &[&[m(0), m(2)], &[m(1), m(2)]],
            &[3],
            Findings {
                repeated_or_late: 1,
                ..CLEAN
            },
        );
        check(
            two,
            &[&[m(2), m(0)], &[m(1)]],
            &[3],
            Findings {
                repeated_or_late: 1,
                ..CLEAN
            },
        );
        check(
            two,
            &[&[m(0)], &[m(1), (0, 0, 0, true)]],
            &[2],
            Findings {
                redelivered: 1,
                ..CLEAN
            },
        );
    }

    #[test]
    fn messages_in_any_order() {
        let m = |sequence| (0, 0, sequence, false);
        let layout = |counts| Layout::new("t", counts, Routing::Default, 0).unwrap();
        let any = |counts, seen: &[&[_]], missing, repeated_or_late| {
            let expected = Findings {
                missing,
                repeated_or_late,
                ..CLEAN
            };
            check_order(&layout(counts), Order::Any, seen, &[4], expected);
        };
        let (one, two) = ((1, 1, 1), (1, 2, 1));
        any(one, &[&[m(3), m(0), m(2), m(1)]], 0, 0);
        any(one, &[&[m(3), m(0), m(2)]], 1, 0);
        any(one, &[&[m(3), m(0), m(2), m(0), m(1)]], 0, 1);
        any(two, &[&[m(3), m(0)], &[m(2), m(1)]], 0, 0);
        any(two, &[&[m(3), m(0)], &[m(2), m(0)]], 1, 1);
    }
}
