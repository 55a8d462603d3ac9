//! Lateness of messages that are due at random times. Reads no clock.

use crate::latencies::Latencies;
use crate::message::PAST;

/// Messages that consumers received, by their due times. All times are on the wall clock.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    /// Messages that came before they were due.
    pub(crate) early: u64,
    /// Messages that were due before they were published.
    pub(crate) published_late: u64,
    /// Messages that were due before their consumer was there.
    pub(crate) due_unattended: u64,
    /// Lateness of the others.
    pub(crate) late: Latencies,
}

impl Lateness {
    /// Counts a message that came at `now_ns` to a consumer that has been there since `attached_ns`.
    pub(crate) fn note(&mut self, due_ns: u64, attached_ns: u64, now_ns: u64) {
        if due_ns == PAST {
            self.published_late += 1;
        } else if now_ns < due_ns {
            self.early += 1;
        } else if due_ns < attached_ns {
            self.due_unattended += 1;
        } else {
            self.late.record_ns(now_ns - due_ns);
        }
    }

    /// Adds the messages of another consumer.
    pub(crate) fn merge(&mut self, other: &Lateness) {
        self.early += other.early;
        self.published_late += other.published_late;
        self.due_unattended += other.due_unattended;
        self.late.merge(&other.late);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_counts_once() {
        let (mut one, mut other) = <(Lateness, Lateness)>::default();
        let ms = |ms: u64| ms * 1_000_000;
        for (due_ms, now_ms) in [(100, 100), (100, 103), (50, 51), (104, 103), (99, 103)] {
            one.note(ms(due_ms), ms(100), ms(now_ms));
        }
        other.note(PAST, ms(100), ms(200));
        other.note(ms(150), ms(100), ms(250));
        one.merge(&other);
        assert_eq!(
            (one.early, one.published_late, one.due_unattended),
            (1, 1, 2)
        );
        assert_eq!(one.late.len(), 3);
        let late = one.late.percentiles().unwrap();
        assert!((100.0..100.1).contains(&late.max));
    }
}
