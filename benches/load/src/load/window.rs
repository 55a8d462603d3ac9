//! The confirm window of one producer: messages that were sent and are not confirmed. One thread sends; the
//! same or another takes confirms.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::latencies::Latencies;

#[derive(Debug)]
pub(crate) struct Window {
    size: u64,
    /// Send time of each unconfirmed message by delivery tag, in ns; 0 for none. Twice the size of the
    /// window, since confirms that come out of order leave gaps behind the oldest unconfirmed message.
    sent_ns: Box<[AtomicU64]>,
    sent: AtomicU64,
    confirmed: AtomicU64,
    /// All tags up to this one are confirmed.
    floor: AtomicU64,
    /// The producer sends no more.
    finished: AtomicBool,
}

impl Window {
    pub(crate) fn new(size: u32) -> Window {
        let size = u64::from(size);
        let ring = usize::try_from((size * 2).next_power_of_two()).unwrap_or(1);
        Window {
            size,
            sent_ns: (0..ring).map(|_| AtomicU64::new(0)).collect(),
            sent: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            finished: AtomicBool::new(false),
        }
    }

    /// Number of messages that may be sent now.
    pub(crate) fn room(&self) -> u64 {
        let sent = self.sent.load(Ordering::Relaxed);
        let out = sent - self.confirmed.load(Ordering::Acquire);
        let spread = sent - self.floor.load(Ordering::Acquire);
        (self.size.saturating_sub(out)).min(self.sent_ns.len() as u64 - spread)
    }

    /// Number of unconfirmed messages.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.sent.load(Ordering::Acquire) - self.confirmed.load(Ordering::Acquire)
    }

    /// The producer will send no more.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    /// Whether the producer has finished and everything is confirmed.
    pub(crate) fn is_done(&self) -> bool {
        self.finished.load(Ordering::Acquire) && self.unconfirmed() == 0
    }

    /// The producer is about to send `count` messages, at most `room()`.
    pub(crate) fn send(&self, count: u64, now_ns: u64) {
        let sent = self.sent.load(Ordering::Relaxed);
        for tag in sent + 1..=sent + count {
            if let Some(mark) = self.mark(tag) {
                mark.store(now_ns.max(1), Ordering::Relaxed);
            }
        }
        self.sent.store(sent + count, Ordering::Release);
    }

    /// Takes a confirm of `tag`, or of all tags up to it, and records its latencies if they are wanted.
    /// Returns the number of newly confirmed messages.
    pub(crate) fn confirm(
        &self,
        tag: u64,
        multiple: bool,
        now_ns: u64,
        mut latencies: Option<&mut Latencies>,
    ) -> u64 {
        let sent = self.sent.load(Ordering::Acquire);
        let floor = self.floor.load(Ordering::Relaxed);
        let tag = if multiple && tag == 0 { sent } else { tag };
        if tag > sent || tag <= floor {
            return 0;
        }
        let mut count = 0;
        let first = if multiple { floor + 1 } else { tag };
        for tag in first..=tag {
            let at = self
                .mark(tag)
                .map_or(0, |mark| mark.swap(0, Ordering::Relaxed));
            if at > 0 {
                count += 1;
                if let Some(latencies) = latencies.as_deref_mut() {
                    latencies.record_ns(now_ns.saturating_sub(at));
                }
            }
        }
        let mut new_floor = if multiple { tag } else { floor };
        while new_floor < sent
            && self
                .mark(new_floor + 1)
                .is_some_and(|mark| mark.load(Ordering::Relaxed) == 0)
        {
            new_floor += 1;
        }
        self.floor.store(new_floor, Ordering::Release);
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        self.confirmed.store(confirmed + count, Ordering::Release);
        count
    }

    fn mark(&self, tag: u64) -> Option<&AtomicU64> {
        let at = usize::try_from(tag).unwrap_or(0) & (self.sent_ns.len() - 1);
        self.sent_ns.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiple_and_single_confirms() {
        let window = Window::new(10);
        let mut latencies = Latencies::default();
        assert_eq!(window.room(), 10);
        window.send(10, 100);
        assert_eq!((window.room(), window.unconfirmed()), (0, 10));
        assert_eq!(window.confirm(4, true, 150, Some(&mut latencies)), 4);
        assert_eq!(window.confirm(4, true, 150, Some(&mut latencies)), 0);
        assert_eq!(window.confirm(7, false, 150, Some(&mut latencies)), 1);
        assert_eq!(window.confirm(7, false, 150, Some(&mut latencies)), 0);
        assert_eq!((window.room(), window.unconfirmed()), (5, 5));
        assert_eq!(window.confirm(10, true, 150, Some(&mut latencies)), 5);
        assert_eq!((window.room(), window.unconfirmed()), (10, 0));
        assert_eq!(latencies.len(), 10);
        let median_ms = latencies.percentiles().unwrap().p50;
        assert!((median_ms - 50e-6).abs() < 1e-9);
    }

    #[test]
    fn an_old_unconfirmed_message_stops_the_sender_before_its_mark_is_overwritten() {
        let window = Window::new(4);
        window.send(1, 1);
        for _ in 0..7 {
            assert!(window.room() > 0);
            window.send(1, 1);
            let newest = window.sent.load(Ordering::Relaxed);
            assert_eq!(window.confirm(newest, false, 2, None), 1);
        }
        assert_eq!((window.unconfirmed(), window.room()), (1, 0));
        assert_eq!(window.confirm(1, false, 2, None), 1);
        assert_eq!((window.unconfirmed(), window.room()), (0, 4));
    }

    #[test]
    fn a_confirm_of_an_unsent_message_has_no_effect() {
        let window = Window::new(4);
        window.send(2, 1);
        assert_eq!(window.confirm(9, true, 2, None), 0);
        assert_eq!(window.confirm(0, true, 2, None), 2);
    }
}
