//! The samples of everything that operators have looked at lately. Bounded: what was not looked at for some minutes has
//! none. Pure.

use std::collections::HashMap;

use super::samples::{Sample, Series};
use super::subject::Subject;

/// How long samples are taken after the last look.
const LOOKED_FOR_MS: u64 = 5 * 60 * 1_000;
/// Maximum number of subjects with a rate only.
const RATES_MAX: usize = 10_000;
/// Maximum number of subjects with a whole history. A further one replaces the one that was not looked at for longest.
const HISTORIES_MAX: usize = 32;

/// How much of the past a look needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The last two samples.
    Rate,
    /// Up to a day.
    History,
}

/// The samples of all subjects.
#[derive(Debug)]
pub(in crate::views) struct Watched {
    /// The whole broker, which always has samples.
    node: Series,
    rates: HashMap<Subject, Watch<Latest>>,
    histories: HashMap<Subject, Watch<Series>>,
}

#[derive(Debug)]
struct Watch<S> {
    samples: S,
    looked_ms: u64,
}

/// The last two samples.
#[derive(Debug)]
struct Latest {
    before: Option<Sample>,
    last: Sample,
}

impl Watched {
    pub(in crate::views) fn new() -> Watched {
        Watched {
            node: Series::new(),
            rates: HashMap::new(),
            histories: HashMap::new(),
        }
    }

    /// The samples of a subject, oldest first; `None` if it has none of that depth yet.
    pub(super) fn look(
        &mut self,
        subject: &Subject,
        depth: Depth,
        now_ms: u64,
    ) -> Option<Vec<Sample>> {
        if *subject == Subject::Node {
            return Some(self.node.all());
        }
        if let Some(watch) = self.histories.get_mut(subject) {
            watch.looked_ms = now_ms;
            return Some(watch.samples.all());
        }
        let watch = self.rates.get_mut(subject)?;
        watch.looked_ms = now_ms;
        match depth {
            Depth::Rate => Some(watch.samples.all()),
            Depth::History => None,
        }
    }

    /// Begins to take samples of a subject. Does nothing if too many others have samples.
    pub(super) fn begin(&mut self, subject: &Subject, depth: Depth, first: Sample) {
        let looked_ms = first.at_ms;
        match depth {
            Depth::Rate if self.rates.len() < RATES_MAX => {
                let samples = Latest {
                    before: None,
                    last: first,
                };
                let watch = Watch { samples, looked_ms };
                self.rates.insert(subject.clone(), watch);
            }
            Depth::Rate => {}
            Depth::History => {
                if self.histories.len() >= HISTORIES_MAX {
                    self.drop_longest_unlooked();
                }
                let mut samples = Series::new();
                // The samples of an earlier look at the rate are a beginning.
                let earlier = self.rates.remove(subject);
                let earlier = earlier.map_or_else(Vec::new, |watch| watch.samples.all());
                earlier.into_iter().for_each(|sample| samples.push(sample));
                samples.push(first);
                let watch = Watch { samples, looked_ms };
                self.histories.insert(subject.clone(), watch);
            }
        }
    }

    fn drop_longest_unlooked(&mut self) {
        let histories = self.histories.iter();
        let longest = histories.min_by_key(|(_, watch)| watch.looked_ms);
        if let Some(subject) = longest.map(|(subject, _)| subject.clone()) {
            self.histories.remove(&subject);
        }
    }

    /// All subjects that need a sample now. Forgets those that were not looked at lately.
    pub(super) fn subjects(&mut self, now_ms: u64) -> Vec<Subject> {
        let is_recent = |looked_ms: u64| now_ms < looked_ms.saturating_add(LOOKED_FOR_MS);
        self.rates.retain(|_, watch| is_recent(watch.looked_ms));
        self.histories.retain(|_, watch| is_recent(watch.looked_ms));
        if self.rates.is_empty() {
            self.rates = HashMap::new();
        }
        let others = self.rates.keys().chain(self.histories.keys());
        std::iter::once(&Subject::Node)
            .chain(others)
            .cloned()
            .collect()
    }

    /// Adds a sample; `None` forgets a subject that does not exist any more.
    pub(super) fn put(&mut self, subject: &Subject, sample: Option<Sample>) {
        let Some(sample) = sample else {
            self.rates.remove(subject);
            self.histories.remove(subject);
            return;
        };
        if *subject == Subject::Node {
            self.node.push(sample);
        } else if let Some(watch) = self.histories.get_mut(subject) {
            watch.samples.push(sample);
        } else if let Some(watch) = self.rates.get_mut(subject) {
            watch.samples.before = Some(watch.samples.last);
            watch.samples.last = sample;
        }
    }
}

impl Latest {
    fn all(&self) -> Vec<Sample> {
        self.before.into_iter().chain([self.last]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ConnectionId;
    use crate::views::history::Values;

    fn subject(id: usize) -> Subject {
        Subject::Connection(ConnectionId(id as u64))
    }

    fn sample(at_ms: u64) -> Sample {
        Sample {
            at_ms,
            values: Values::default(),
        }
    }

    fn times(samples: Option<Vec<Sample>>) -> Option<Vec<u64>> {
        samples.map(|samples| samples.iter().map(|sample| sample.at_ms).collect())
    }

    #[test]
    fn a_look_begins_the_samples_and_a_rate_keeps_two_of_them() {
        let mut watched = Watched::new();
        assert_eq!(watched.look(&subject(1), Depth::Rate, 0), None);
        watched.begin(&subject(1), Depth::Rate, sample(0));
        for at_ms in [5_000, 10_000] {
            watched.put(&subject(1), Some(sample(at_ms)));
        }
        let rate = watched.look(&subject(1), Depth::Rate, 10_000);
        assert_eq!(times(rate), Some(vec![5_000, 10_000]));
        // A deeper look begins with these.
        assert_eq!(watched.look(&subject(1), Depth::History, 15_000), None);
        watched.begin(&subject(1), Depth::History, sample(15_000));
        let history = watched.look(&subject(1), Depth::History, 15_000);
        assert_eq!(times(history), Some(vec![5_000, 10_000, 15_000]));
        watched.put(&subject(1), None);
        assert_eq!(watched.look(&subject(1), Depth::Rate, 20_000), None);
    }

    #[test]
    fn what_is_not_looked_at_any_more_has_no_samples() {
        let mut watched = Watched::new();
        watched.begin(&subject(1), Depth::Rate, sample(0));
        watched.begin(&subject(2), Depth::History, sample(0));
        watched.begin(&subject(3), Depth::History, sample(0));
        watched.look(&subject(3), Depth::Rate, 1_000);
        assert_eq!(watched.subjects(LOOKED_FOR_MS - 1).len(), 4);
        let left = watched.subjects(LOOKED_FOR_MS);
        assert_eq!(left, [Subject::Node, subject(3)]);
    }

    #[test]
    fn the_number_of_subjects_with_samples_is_bounded() {
        let mut watched = Watched::new();
        for id in 0..=RATES_MAX {
            watched.begin(&subject(id), Depth::Rate, sample(0));
        }
        assert_eq!(watched.rates.len(), RATES_MAX);
        let mut watched = Watched::new();
        for id in 0..=HISTORIES_MAX {
            watched.begin(&subject(id), Depth::History, sample(id as u64));
        }
        assert_eq!(watched.histories.len(), HISTORIES_MAX);
        assert_eq!(watched.look(&subject(0), Depth::History, 100), None);
        assert!(watched.look(&subject(1), Depth::History, 100).is_some());
    }
}
