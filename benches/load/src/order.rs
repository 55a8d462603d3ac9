//! Checks that every queue gives every message once and in order. Pure; fed with what consumers see.

use std::mem;

use super::layout::Layout;

/// In which order a consumer gets a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// In that of its sequence numbers, all of it.
    #[default]
    Whole,
    /// In that order, but others read the same queues: gaps are theirs, until the views are put together.
    Shared,
    /// In none: messages are due at different times.
    Any,
}

/// What was found to be wrong, and what is only worth knowing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Findings {
    /// Messages that were sent and never came.
    pub(super) missing: u64,
    /// Messages that came again, or later than their successors, without being marked as redelivered.
    pub(super) repeated_or_late: u64,
    /// Messages that came to a queue where they do not belong.
    pub(super) astray: u64,
    /// Messages marked as redelivered. Not a fault.
    pub(super) redelivered: u64,
}

impl Findings {
    /// Whether the broker did what it must.
    pub(super) fn is_clean(&self) -> bool {
        self.missing == 0 && self.repeated_or_late == 0 && self.astray == 0
    }
}

/// What one consumer has seen of its queues.
#[derive(Debug, Default)]
pub(super) struct Witness {
    queues: Vec<QueueView>,
    order: Order,
    findings: Findings,
}

#[derive(Debug, Default)]
struct QueueView {
    queue: usize,
    streams: Vec<StreamView>,
    /// Where the stream of the last message is. Producers go through their routes in turn, so the next one is likely
    /// there, or next to it.
    cursor: usize,
}

#[derive(Debug, Default)]
struct StreamView {
    stream: usize,
    /// The sequence number after the highest seen.
    next: u64,
    /// Which were seen, bit by bit, if the rest may come later or to others.
    seen: Vec<u64>,
}

impl Witness {
    /// For a consumer that reads `queues`; what it calls queue 0 is the first of them.
    pub(super) fn new(queues: &[usize], order: Order) -> Witness {
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

    /// Notes a message that came from the consumer's `nth` queue.
    pub(super) fn see(&mut self, nth: usize, stream: usize, sequence: u64, redelivered: bool) {
        self.findings.redelivered += u64::from(redelivered);
        let Some(queue) = self.queues.get_mut(nth) else {
            self.findings.astray += 1;
            return;
        };
        let view = queue.stream(stream);
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

    /// Puts the views of all consumers together and holds them against what was sent, by stream.
    pub(super) fn conclude(witnesses: Vec<Witness>, layout: &Layout, sent: &[u64]) -> Findings {
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

impl Findings {
    fn add(&mut self, other: Findings) {
        self.missing += other.missing;
        self.repeated_or_late += other.repeated_or_late;
        self.astray += other.astray;
        self.redelivered += other.redelivered;
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
        // The cursor was just set to a place that exists.
        #[expect(clippy::indexing_slicing, reason = "found or pushed above")]
        &mut self.streams[self.cursor]
    }

    /// Takes over what another consumer of the same queue has seen; says how many messages both have.
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
    /// Marks a sequence number as seen; false if it was already.
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
    use super::super::layout::Routing;
    use super::*;

    const CLEAN: Findings = Findings {
        missing: 0,
        repeated_or_late: 0,
        astray: 0,
        redelivered: 0,
    };

    /// Each consumer sees (queue, stream, sequence, redelivered).
    fn check(
        counts: (usize, usize, usize),
        seen: &[&[(usize, usize, u64, bool)]],
        sent: &[u64],
        expected: Findings,
    ) {
        let layout = Layout::new("t", counts, Routing::Default, 0).unwrap();
        check_order(&layout, layout.order(), seen, sent, expected);
    }

    fn check_order(
        layout: &Layout,
        order: Order,
        seen: &[&[(usize, usize, u64, bool)]],
        sent: &[u64],
        expected: Findings,
    ) {
        let witnesses = seen.iter().enumerate().map(|(nth, seen)| {
            let mut witness = Witness::new(&layout.queues_of(nth), order);
            for (queue, stream, sequence, redelivered) in *seen {
                witness.see(*queue, *stream, *sequence, *redelivered);
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
    fn messages_in_no_order() {
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
