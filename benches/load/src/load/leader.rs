//! The leader of a load: takes the workers through warm-up and measured time, and measures between two
//! moments.

use std::thread;
use std::time::{Duration, Instant};

use super::confirms::STALL;
use super::crew::Crew;
use super::outcome::Outcome;
use super::plan::{Length, Load};
use super::progress::{Line, Progress};
use super::snapshot::{Snapshot, Totals, seconds};
use super::stage::Phase;
use crate::error::BenchError;
use crate::message::DueSpan;

/// How often the leader looks at the workers.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// How often the leader reads the broker's memory.
pub(crate) const RSS_EVERY: Duration = Duration::from_millis(100);

/// Leads the workers to the end of the measured time.
pub(super) fn lead(
    load: &Load<'_>,
    crew: &Crew,
    progress: Progress,
) -> Result<Outcome, BenchError> {
    let mut line = progress.start(load.name, &load.setup.broker.processes);
    let first = begin(load, crew, &mut line);
    let mut watch = Watch::new(load, first.totals);
    loop {
        thread::sleep(TICK);
        let totals = crew.totals();
        watch.look(&totals);
        line.show(&totals);
        if watch.is_done(&totals) || !crew.all_are_at_work() {
            break;
        }
        watch.check_stall(&totals)?;
    }
    let last = crew.snapshot(load);
    let mut outcome = first.until(&last);
    if let Length::Messages(_) = load.length {
        // The leader looks every few milliseconds, but the workers know when the last message moved.
        outcome.seconds = seconds(crew.last_ns().saturating_sub(first.at_ns)).max(1e-6);
    }
    outcome.usage.broker_rss_peak = watch.rss_peak.max(load.setup.broker.processes.rss());
    let sent_before: u64 = load.sent_before.iter().sum();
    let sent = (sent_before + last.totals.published) * load.setup.layout.copies() as u64;
    outcome.backlog = sent.saturating_sub(last.totals.received);
    outcome.course = watch.course;
    Ok(outcome)
}

/// Starts the workers and lets them warm up. Returns the first moment of the measured time.
fn begin(load: &Load<'_>, crew: &Crew, line: &mut Line<'_>) -> Snapshot {
    if load.warm_up.is_zero() {
        // The measured time begins before the workers, so that it contains everything they do.
        crew.stage.enter(Phase::Measure);
        let first = crew.snapshot(load);
        crew.stage.await_start();
        return first;
    }
    crew.stage.await_start();
    let warm_until = Instant::now() + load.warm_up;
    while Instant::now() < warm_until && crew.all_are_at_work() {
        thread::sleep(TICK);
        line.show(&crew.totals());
    }
    crew.stage.enter(Phase::Measure);
    crew.snapshot(load)
}

/// The leader's notes during the measured time.
struct Watch<'a> {
    load: &'a Load<'a>,
    begun: Instant,
    rss_peak: Option<u64>,
    /// Time of the next look at the broker's memory.
    rss_at: Instant,
    /// Totals at the last look, and the time when they last changed.
    totals: Totals,
    moved: Instant,
    course: Vec<(f64, u64)>,
}

impl<'a> Watch<'a> {
    fn new(load: &'a Load<'a>, totals: Totals) -> Watch<'a> {
        let begun = Instant::now();
        Watch {
            load,
            begun,
            rss_peak: None,
            rss_at: begun,
            totals,
            moved: begun,
            course: Vec::new(),
        }
    }

    fn look(&mut self, totals: &Totals) {
        let now = Instant::now();
        if *totals != self.totals {
            (self.moved, self.totals) = (now, *totals);
            let passed = (now - self.begun).as_secs_f64();
            self.course.push((passed, self.counted(totals)));
        }
        if now >= self.rss_at {
            let rss = self.load.setup.broker.processes.rss();
            self.rss_peak = self.rss_peak.max(rss);
            self.rss_at = now + RSS_EVERY;
        }
    }

    fn is_done(&self, totals: &Totals) -> bool {
        match self.load.length {
            Length::Time(time) => self.begun.elapsed() >= time,
            Length::Messages(count) => self.counted(totals) >= count,
        }
    }

    /// The count that `Length::Messages` limits.
    fn counted(&self, totals: &Totals) -> u64 {
        if self.load.consume.is_some() {
            totals.received
        } else {
            totals.published
        }
    }

    fn check_stall(&self, totals: &Totals) -> Result<(), BenchError> {
        // A few messages that are due within a long time leave long gaps.
        let patience = STALL + self.load.due.map_or(Duration::ZERO, DueSpan::length);
        if self.moved.elapsed() <= patience {
            return Ok(());
        }
        Err(BenchError::Stalled {
            seconds: patience.as_secs(),
            what: format!(
                "{} confirmed, {} received",
                totals.published, totals.received
            ),
        })
    }
}
