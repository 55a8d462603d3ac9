//! How many requests a second each queue and topic takes of each kind, if an operator says. Knows no request; the
//! numbers are forgotten with each second.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Requests that are counted by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Send,
    BatchSend,
    Receive,
    BatchReceive,
    Delete,
    BatchDelete,
    Publish,
    BatchPublish,
}

impl Kind {
    /// Whether it brings messages; the others may come a tenth more often, so that a queue can be emptied.
    fn brings(self) -> bool {
        match self {
            Kind::Send | Kind::BatchSend | Kind::Publish | Kind::BatchPublish => true,
            Kind::Receive | Kind::BatchReceive | Kind::Delete | Kind::BatchDelete => false,
        }
    }
}

/// The quotas of all queues and topics.
#[derive(Debug)]
pub(crate) struct RateLimits {
    /// Requests a second that bring messages; `None` for any number.
    max: Option<u64>,
    second: Mutex<Second>,
}

/// What came in one second.
#[derive(Debug, Default)]
struct Second {
    number: u64,
    /// By kind and the id of the queue or topic, whose ids have nothing to do with each other, but whose kinds differ.
    counts: HashMap<(Kind, u64), u64>,
}

impl RateLimits {
    /// So many requests a second; 0 for any number.
    pub(crate) fn new(max: u64) -> RateLimits {
        RateLimits {
            max: (max > 0).then_some(max),
            second: Mutex::default(),
        }
    }

    /// Whether one more request of this kind may be carried out; it counts if so.
    pub(crate) fn admits(&self, kind: Kind, id: u64, now_ms: u64) -> bool {
        let Some(max) = self.max else { return true };
        let max = match kind.brings() {
            true => max,
            false => max.saturating_add(max.div_ceil(10)),
        };
        let mut second = self.second.lock();
        let number = now_ms / 1000;
        if second.number != number {
            second.number = number;
            second.counts.clear();
        }
        let count = second.counts.entry((kind, id)).or_default();
        let admitted = *count < max;
        *count += u64::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_number_a_second_and_queue() {
        let quotas = RateLimits::new(5);
        for (kind, id, expected) in [
            (Kind::Send, 1, 5),
            (Kind::Send, 2, 5),
            (Kind::BatchSend, 1, 5),
            (Kind::Receive, 1, 6),
            (Kind::Delete, 1, 6),
            (Kind::Publish, 1, 5),
        ] {
            for second in [7, 8] {
                let admitted = (0..20).filter(|_| quotas.admits(kind, id, second * 1000 + 999));
                assert_eq!(admitted.count(), expected, "{kind:?} {id}");
            }
        }
        assert!(quotas.second.lock().counts.len() <= 6);
    }

    #[test]
    fn without_a_number_all_may_come() {
        let quotas = RateLimits::new(0);
        assert!((0..10_000).all(|_| quotas.admits(Kind::Send, 1, 1)));
        assert!(quotas.second.lock().counts.is_empty());
    }
}
