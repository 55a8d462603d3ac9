//! When durable batches are applied. Most reads find what they need in memory, so several batches are applied together
//! after a little while, unless a read waits. Pure.

use std::time::{Duration, Instant};

use crate::model::Ticket;

/// How long a durable batch waits for others before it is applied.
const APPLY_WITHIN: Duration = Duration::from_millis(5);

/// What the applying thread has to do.
#[derive(Debug, Default)]
pub(super) struct Applying {
    /// The last batch that can be applied.
    pub(super) upto: Ticket,
    /// A read waits for batches up to this one.
    pub(super) wanted: Ticket,
    /// When batches are applied although no read waits.
    due: Option<Instant>,
    /// The thread waits, without a time.
    pub(super) is_idle: bool,
}

/// When the thread applies batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Now,
    Within(Duration),
    /// When there are durable batches.
    Later,
}

impl Applying {
    /// The batches up to this one are durable.
    pub(super) fn durable(&mut self, upto: Ticket, now: Instant) {
        self.upto = self.upto.max(upto);
        self.due.get_or_insert(now + APPLY_WITHIN);
    }

    /// What the thread does next, at this time, after it has applied everything up to `applied`.
    pub(super) fn next(&mut self, applied: Ticket, now: Instant) -> Next {
        if self.upto <= applied {
            self.due = None;
            return Next::Later;
        }
        let left = match self.due {
            Some(due) if self.wanted <= applied => due.saturating_duration_since(now),
            Some(_) | None => Duration::ZERO,
        };
        if left.is_zero() {
            self.due = None;
            return Next::Now;
        }
        Next::Within(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn batches_wait_for_others_unless_a_read_waits() {
        let now = clock::monotonic();
        let later = now + APPLY_WITHIN;
        let applying = |upto, wanted, due| Applying {
            upto: Ticket(upto),
            wanted: Ticket(wanted),
            due,
            is_idle: false,
        };
        for (mut applying, at, expected) in [
            (applying(5, 0, None), now, Next::Later),
            (applying(5, 9, Some(now)), later, Next::Later),
            (applying(6, 0, Some(later)), now, Next::Within(APPLY_WITHIN)),
            (applying(6, 5, Some(later)), now, Next::Within(APPLY_WITHIN)),
            (applying(6, 6, Some(later)), now, Next::Now),
            (applying(6, 9, Some(later)), now, Next::Now),
            (applying(6, 0, Some(later)), later, Next::Now),
            (applying(6, 0, None), now, Next::Now),
        ] {
            let found = applying.next(Ticket(5), at);
            assert_eq!(found, expected, "{applying:?}");
            let is_due_later = matches!(expected, Next::Within(_));
            assert_eq!(applying.due.is_some(), is_due_later, "{applying:?}");
        }
    }
}
