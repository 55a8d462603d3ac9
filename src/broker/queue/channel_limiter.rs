//! The prefetch limit that all consumers of a channel share (`basic.qos` with `global`), and the queues that
//! wait for it. Queues take places under their own locks; the channel gives places back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::model::QueueId;

/// The limit of one channel.
#[derive(Debug)]
pub struct ChannelLimiter {
    free: AtomicI64,
    /// Queues whose consumers were refused, each once, in the order of the refusals.
    waiting: Mutex<VecDeque<QueueId>>,
}

impl ChannelLimiter {
    /// A limiter with `limit` messages to give.
    pub fn new(limit: i64) -> Self {
        ChannelLimiter {
            free: AtomicI64::new(limit),
            waiting: Mutex::default(),
        }
    }

    /// Asks for one delivery from this queue. With `takes` the delivery takes a place until the client
    /// acknowledges it; without (no-ack), it only needs a free place to exist. A refused queue joins those
    /// that [`ChannelLimiter::next_waiting`] names.
    pub(super) fn admit(&self, takes: bool, queue: QueueId) -> bool {
        if self.try_take(takes) {
            return true;
        }
        let mut waiting = self.waiting();
        // A place that came back before the lock was taken would not find the queue on the list: try again.
        if self.try_take(takes) {
            return true;
        }
        if !waiting.contains(&queue) {
            waiting.push_back(queue);
        }
        false
    }

    /// Whether a limit is set. Without one a channel has more places than its queues can ever take.
    pub(super) fn is_set(&self) -> bool {
        self.free.load(Ordering::Acquire) < i64::from(u32::MAX)
    }

    /// Takes places unconditionally, while no limit is set.
    pub(super) fn take(&self, places: usize) {
        let places = i64::try_from(places).unwrap_or(i64::MAX);
        self.free.fetch_sub(places, Ordering::AcqRel);
    }

    /// Puts a queue among those that wait, although there may be room: it has used its share.
    pub(super) fn wait(&self, queue: QueueId) {
        let mut waiting = self.waiting();
        if !waiting.contains(&queue) {
            waiting.push_back(queue);
        }
    }

    /// Gives `n` places back (or, negative, takes them: the limit was lowered).
    pub fn give_back(&self, n: i64) {
        self.free.fetch_add(n, Ordering::AcqRel);
    }

    /// Number of waiting queues and the share of each, while there is room.
    pub fn round(&self) -> Option<(usize, u32)> {
        let queues = self.waiting().len();
        let share = self.room().checked_div(queues as u64)?;
        let share = u32::try_from(share.max(1)).unwrap_or(u32::MAX);
        (self.room() > 0).then_some((queues, share))
    }

    /// Removes the queue that has waited longest, while there is room.
    pub fn next_waiting(&self) -> Option<QueueId> {
        let mut waiting = self.waiting();
        let has_room = self.room() > 0;
        waiting.pop_front_if(|_| has_room)
    }

    fn room(&self) -> u64 {
        u64::try_from(self.free.load(Ordering::Acquire)).unwrap_or(0)
    }

    fn try_take(&self, takes: bool) -> bool {
        if !takes {
            return self.free.load(Ordering::Acquire) > 0;
        }
        self.free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| {
                (free > 0).then_some(free - 1)
            })
            .is_ok()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<QueueId>> {
        self.waiting.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_waiting_queue_is_next_and_each_queue_has_a_share() {
        let limiter = ChannelLimiter::new(1);
        let [a, b, c] = [1, 2, 3].map(QueueId);
        assert!(limiter.admit(false, b) && limiter.admit(true, a));
        for queue in [b, a, b, c] {
            assert!(!limiter.admit(queue != b, queue));
        }
        assert_eq!((limiter.round(), limiter.next_waiting()), (None, None));
        limiter.give_back(7);
        assert_eq!(limiter.round(), Some((3, 2)));
        assert_eq!(limiter.next_waiting(), Some(b));
        limiter.wait(b);
        assert_eq!(limiter.next_waiting(), Some(a));
        assert_eq!(limiter.next_waiting(), Some(c));
        assert_eq!(limiter.round(), Some((1, 7)));
        assert_eq!(limiter.next_waiting(), Some(b));
        assert_eq!((limiter.round(), limiter.next_waiting()), (None, None));
        // The limit drops below the number of unacked deliveries: no queue delivers until enough places are
        // back.
        limiter.give_back(-8);
        assert!(!limiter.admit(false, a));
        limiter.give_back(1);
        assert_eq!((limiter.round(), limiter.next_waiting()), (None, None));
        limiter.give_back(1);
        assert_eq!(limiter.round(), Some((1, 1)));
        assert_eq!(limiter.next_waiting(), Some(a));
    }
}
