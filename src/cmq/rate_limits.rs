//! Limits how many requests a second each queue and topic takes of each action (`cmq-requests`). Counts start anew with
//! every second.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::action::Action;

#[derive(Debug)]
pub(super) struct RateLimits {
    /// Requests a second of a sending action; `None` for any number.
    max: Option<u64>,
    second: Mutex<Second>,
}

/// The requests of one second.
#[derive(Debug, Default)]
struct Second {
    number: u64,
    /// By action and id. Ids of queues and topics may be equal, but no action takes both.
    counts: HashMap<(Action, u64), u64>,
}

impl RateLimits {
    /// 0 is any number.
    pub(super) fn new(max: u64) -> RateLimits {
        RateLimits {
            max: (max > 0).then_some(max),
            second: Mutex::default(),
        }
    }

    /// Whether one more request for the queue or topic `id` may be carried out. Counts it if so.
    pub(super) fn admits(&self, action: Action, id: u64, now_ms: u64) -> bool {
        let Some(max) = self.max else { return true };
        let max = match action.sends() {
            true => max,
            // A tenth more receives and deletes, so that a queue can be emptied.
            false => max.saturating_add(max.div_ceil(10)),
        };
        let mut second = self.second.lock();
        let number = now_ms / 1000;
        if second.number != number {
            second.number = number;
            second.counts.clear();
        }
        let count = second.counts.entry((action, id)).or_default();
        let admitted = *count < max;
        *count += u64::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_on_each_queue_has_its_own_limit_a_second() {
        let limits = RateLimits::new(5);
        for (action, id, expected) in [
            (Action::SendMessage, 1, 5),
            (Action::SendMessage, 2, 5),
            (Action::BatchSendMessage, 1, 5),
            (Action::ReceiveMessage, 1, 6),
            (Action::DeleteMessage, 1, 6),
            (Action::PublishMessage, 1, 5),
        ] {
            for second in [7, 8] {
                let admitted = (0..20).filter(|_| limits.admits(action, id, second * 1000 + 999));
                assert_eq!(admitted.count(), expected, "{action:?} {id}");
            }
        }
        assert!(limits.second.lock().counts.len() <= 6);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let limits = RateLimits::new(0);
        assert!((0..10_000).all(|_| limits.admits(Action::SendMessage, 1, 1)));
        assert!(limits.second.lock().counts.is_empty());
    }
}
