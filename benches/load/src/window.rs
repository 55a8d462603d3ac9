//! Messages sent and not yet confirmed, of one producer. One thread sends, one (it may be the same) takes confirms.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::histogram::Histogram;

/// The marks of messages that are out, by delivery tag.
#[derive(Debug)]
pub(super) struct Window {
    size: u64,
    /// When the message with a tag was sent, in ns; 0 if it is not out. Twice as long as the window: confirms that come
    /// out of order leave holes behind a message that still waits.
    sent_ns: Box<[AtomicU64]>,
    sent: AtomicU64,
    settled: AtomicU64,
    /// Every tag up to this one is settled.
    floor: AtomicU64,
    /// Nothing more will be sent.
    finished: AtomicBool,
}

impl Window {
    pub(super) fn new(size: u32) -> Window {
        let size = u64::from(size);
        let ring = usize::try_from((size * 2).next_power_of_two()).unwrap_or(1);
        Window {
            size,
            sent_ns: (0..ring).map(|_| AtomicU64::new(0)).collect(),
            sent: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            finished: AtomicBool::new(false),
        }
    }

    /// How many messages may be sent now.
    pub(super) fn room(&self) -> u64 {
        let sent = self.sent.load(Ordering::Relaxed);
        let out = sent - self.settled.load(Ordering::Acquire);
        let spread = sent - self.floor.load(Ordering::Acquire);
        (self.size.saturating_sub(out)).min(self.sent_ns.len() as u64 - spread)
    }

    /// How many messages are out.
    pub(super) fn out(&self) -> u64 {
        self.sent.load(Ordering::Acquire) - self.settled.load(Ordering::Acquire)
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    /// Whether nothing is out and nothing more will be sent.
    pub(super) fn is_done(&self) -> bool {
        self.finished.load(Ordering::Acquire) && self.out() == 0
    }

    /// Notes that `count` messages are about to be sent; at most `room()`.
    pub(super) fn send(&self, count: u64, now_ns: u64) {
        let sent = self.sent.load(Ordering::Relaxed);
        for tag in sent + 1..=sent + count {
            if let Some(mark) = self.mark(tag) {
                mark.store(now_ns.max(1), Ordering::Relaxed);
            }
        }
        self.sent.store(sent + count, Ordering::Release);
    }

    /// Takes a confirm of `tag`, or of everything up to it. Returns how many messages it settles; how long each took is
    /// recorded if a histogram is given.
    pub(super) fn settle(
        &self,
        tag: u64,
        multiple: bool,
        now_ns: u64,
        mut took: Option<&mut Histogram>,
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
                if let Some(took) = took.as_deref_mut() {
                    took.record(now_ns.saturating_sub(at));
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
        let settled = self.settled.load(Ordering::Relaxed);
        self.settled.store(settled + count, Ordering::Release);
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
        let mut took = Histogram::default();
        assert_eq!(window.room(), 10);
        window.send(10, 100);
        assert_eq!((window.room(), window.out()), (0, 10));
        assert_eq!(window.settle(4, true, 150, Some(&mut took)), 4);
        assert_eq!(window.settle(4, true, 150, Some(&mut took)), 0);
        assert_eq!(window.settle(7, false, 150, Some(&mut took)), 1);
        assert_eq!(window.settle(7, false, 150, Some(&mut took)), 0);
        assert_eq!((window.room(), window.out()), (5, 5));
        assert_eq!(window.settle(10, true, 150, Some(&mut took)), 5);
        assert_eq!((window.room(), window.out()), (10, 0));
        assert_eq!((took.len(), took.at(500)), (10, 50));
    }

    #[test]
    fn a_straggler_stops_the_sender_before_its_mark_is_overwritten() {
        let window = Window::new(4);
        window.send(1, 1);
        for _ in 0..7 {
            assert!(window.room() > 0);
            window.send(1, 1);
            let newest = window.sent.load(Ordering::Relaxed);
            assert_eq!(window.settle(newest, false, 2, None), 1);
        }
        assert_eq!((window.out(), window.room()), (1, 0));
        assert_eq!(window.settle(1, false, 2, None), 1);
        assert_eq!((window.out(), window.room()), (0, 4));
    }

    #[test]
    fn a_confirm_of_what_was_not_sent_counts_for_nothing() {
        let window = Window::new(4);
        window.send(2, 1);
        assert_eq!(window.settle(9, true, 2, None), 0);
        assert_eq!(window.settle(0, true, 2, None), 2);
    }
}
