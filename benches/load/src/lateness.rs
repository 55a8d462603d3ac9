//! How late messages come that are due at random times: what is counted, and what is said of it. Knows no clock.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::due::{DueWindow, PAST};
use super::histogram::Histogram;
use super::report::Percentiles;

/// What consumers have seen of messages and their due times, all of them on the wall clock.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    early: u64,
    published_late: u64,
    due_unattended: u64,
    late_ns: Histogram,
}

impl Lateness {
    /// Counts a message that has come at `now_ns` to a consumer that has been there since `attached_ns`.
    pub(super) fn note(&mut self, due_ns: u64, attached_ns: u64, now_ns: u64) {
        if due_ns == PAST {
            self.published_late += 1;
        } else if now_ns < due_ns {
            self.early += 1;
        } else if due_ns < attached_ns {
            self.due_unattended += 1;
        } else {
            self.late_ns.record(now_ns - due_ns);
        }
    }

    /// Adds what another consumer has seen.
    pub(super) fn merge(&mut self, other: &Lateness) {
        self.early += other.early;
        self.published_late += other.published_late;
        self.due_unattended += other.due_unattended;
        self.late_ns.merge(&other.late_ns);
    }

    /// What is said of messages that were due in this window.
    pub(super) fn report(&self, window: DueWindow, rss_peak_mb: Option<f64>) -> LatenessReport {
        LatenessReport {
            from_seconds: window.from.as_secs_f64(),
            to_seconds: window.to.as_secs_f64(),
            early: self.early,
            published_late: self.published_late,
            due_unattended: self.due_unattended,
            late_ms: Percentiles::of(&self.late_ns),
            rss_peak_mb,
        }
    }
}

/// How late messages came.
#[derive(Debug, Serialize)]
pub(super) struct LatenessReport {
    /// When they were due, in seconds after publishing began.
    from_seconds: f64,
    to_seconds: f64,
    /// Messages that came before they were due. There must be none.
    early: u64,
    /// Messages that were due before they were published, or before anybody consumed: they are not among those that
    /// are measured.
    published_late: u64,
    due_unattended: u64,
    /// From when a message was due to when a consumer had it, the way from the publisher to the broker included.
    late_ms: Option<Percentiles>,
    /// Memory of the broker, the most that it was from the first message that was published to the last that came.
    rss_peak_mb: Option<f64>,
}

impl LatenessReport {
    /// Whether the broker did what it must.
    pub(super) fn is_ok(&self) -> bool {
        self.early == 0
    }
}

impl Display for LatenessReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  due {} to {} s after publishing began: ",
            self.from_seconds, self.to_seconds
        )?;
        match &self.late_ms {
            Some(late_ms) => writeln!(f, "late {late_ms}")?,
            None => writeln!(f, "none measured")?,
        }
        write!(
            f,
            "  {}{} early; not measured: {} published after they were due, {} due before they were consumed",
            if self.is_ok() { "" } else { "FAULTS: " },
            self.early,
            self.published_late,
            self.due_unattended
        )?;
        if let Some(rss) = self.rss_peak_mb {
            write!(f, "; broker {rss:.1} MB at most")?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_counted_as_what_it_is() {
        let (mut one, mut other) = <(Lateness, Lateness)>::default();
        let ms = |ms: u64| ms * 1_000_000;
        for (due_ms, now_ms) in [(100, 100), (100, 103), (50, 51), (104, 103), (99, 103)] {
            one.note(ms(due_ms), ms(100), ms(now_ms));
        }
        other.note(PAST, ms(100), ms(200));
        other.note(ms(150), ms(100), ms(250));
        one.merge(&other);
        let report = one.report("1..2".parse().unwrap(), Some(12.0));
        assert_eq!(
            (report.early, report.published_late, report.due_unattended),
            (1, 1, 2)
        );
        assert!(!report.is_ok());
        assert_eq!(one.late_ns.len(), 3);
        assert!((report.late_ms.unwrap().max - 100.0).abs() < 1e-9);
    }
}
