//! A load from beginning to end.

use std::thread;
use std::time::{Duration, Instant};

use super::consumer::{Consumed, Timing};
use super::crew::Crew;
use super::leader::{TICK, lead};
use super::outcome::Outcome;
use super::plan::Load;
use super::producer::Produced;
use super::progress::Progress;
use super::stage::Phase;
use crate::broker::sleep_precisely;
use crate::error::BenchError;
use crate::witness::Witness;

/// How long consumers may receive nothing before missing messages count as lost.
pub(crate) const DRAIN_STALL: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });

impl Load<'_> {
    pub(crate) fn run(&self, progress: Progress) -> Result<Outcome, BenchError> {
        sleep_precisely();
        let mut crew = Crew::start(self)?;
        let led = lead(self, &crew, progress);
        crew.stage.enter(Phase::Drain);
        let produced = crew.join_producers();
        let sent = produced.as_deref().map(|produced| self.sent(produced));
        if let (Ok(_), Ok((sent, refused)), Some(_)) = (&led, &sent, self.consume) {
            let expected = sent.iter().sum::<u64>().saturating_sub(*refused);
            await_rest(&crew, expected * self.setup.layout.copies() as u64);
        }
        crew.stage.enter(Phase::End);
        let consumed = crew.join_consumers();
        // The error of a worker explains more than that of its leader.
        let (produced, consumed) = (produced?, consumed?);
        let mut outcome = led?;
        (outcome.sent, outcome.refused) = self.sent(&produced);
        for produced in &produced {
            outcome.confirms.merge(&produced.confirms);
        }
        if self.consume.is_some() {
            self.conclude(&mut outcome, consumed);
        }
        Ok(outcome)
    }

    /// Messages sent by stream, those of earlier loads included, and the number of refused ones.
    fn sent(&self, produced: &[Produced]) -> (Vec<u64>, u64) {
        let mut sent = self.sent_before.clone();
        sent.resize(self.setup.layout.streams(), 0);
        for (stream, count) in produced.iter().flat_map(|produced| &produced.sent) {
            if let Some(total) = sent.get_mut(*stream) {
                *total += count;
            }
        }
        (sent, produced.iter().map(|produced| produced.refused).sum())
    }

    /// Adds the results of the consumers.
    fn conclude(&self, outcome: &mut Outcome, consumed: Vec<Consumed>) {
        let mut witnesses = Vec::new();
        for Consumed { witness, timing } in consumed {
            witnesses.push(witness);
            match timing {
                Timing::Ignored => {}
                Timing::Latencies(latencies) => outcome.latencies.merge(&latencies),
                Timing::Lateness(lateness) => {
                    outcome.lateness.get_or_insert_default().merge(&lateness);
                }
            }
        }
        let findings = Witness::conclude(witnesses, &self.setup.layout, &outcome.sent);
        outcome.findings = Some(findings);
    }
}

/// Waits until consumers have received `expected` messages, or no more come.
fn await_rest(crew: &Crew, expected: u64) {
    let (mut moved, mut received) = (Instant::now(), crew.totals().received);
    while received < expected && moved.elapsed() < DRAIN_STALL && !crew.has_lost_a_consumer() {
        thread::sleep(TICK);
        let now = crew.totals().received;
        if now != received {
            (moved, received) = (Instant::now(), now);
        }
    }
}
