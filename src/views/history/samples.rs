//! The samples of one object, and what follows from them: rates, averages, series. Pure.

use std::collections::VecDeque;

use super::subject::Values;
use crate::clock::{Clock, Moment};

/// Interval and number of the samples of the last ten minutes, and of the last day.
const FINE: (u64, usize) = (5_000, 121);
const COARSE: (u64, usize) = (60_000, 1_441);

/// The numbers of an object at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Milliseconds on the broker's time line.
    pub(super) at_ms: u64,
    pub(super) values: Values,
}

/// Samples in the order of their times, a fixed number at most.
#[derive(Debug)]
struct Ring {
    step_ms: u64,
    max: usize,
    samples: VecDeque<Sample>,
}

impl Ring {
    fn new((step_ms, max): (u64, usize)) -> Ring {
        Ring {
            step_ms,
            max,
            samples: VecDeque::new(),
        }
    }

    /// Adds a sample, unless the last one is much less than a step old: ticks are not exact.
    fn push(&mut self, sample: Sample) {
        let due = |last: &Sample| sample.at_ms >= last.at_ms + self.step_ms / 2;
        if self.samples.back().is_none_or(due) {
            if self.samples.len() >= self.max {
                self.samples.pop_front();
            }
            self.samples.push_back(sample);
        }
    }
}

/// All samples of one object.
#[derive(Debug)]
pub(super) struct Series {
    fine: Ring,
    coarse: Ring,
}

impl Series {
    pub(super) fn new() -> Series {
        Series {
            fine: Ring::new(FINE),
            coarse: Ring::new(COARSE),
        }
    }

    pub(super) fn push(&mut self, sample: Sample) {
        self.fine.push(sample);
        let minute = |sample: &Sample| sample.at_ms / COARSE.0;
        let last = self.coarse.samples.back();
        if last.is_none_or(|last| minute(last) < minute(&sample)) {
            self.coarse.push(sample);
        }
    }

    /// The samples in order, the coarse ones up to where the fine ones begin.
    pub(super) fn all(&self) -> Vec<Sample> {
        let begin = self.fine.samples.front().map_or(0, |first| first.at_ms);
        let coarse = self.coarse.samples.iter();
        let before = coarse.take_while(|sample| sample.at_ms < begin);
        before.chain(&self.fine.samples).copied().collect()
    }
}

/// The part of a history to show: its length, and the interval of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub age_secs: u64,
    pub incr_secs: u64,
}

/// What a history says about one number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rated {
    /// Change per second between the last two samples.
    pub rate: f64,
    /// Wall-clock milliseconds and value, newest first.
    pub samples: Vec<(u64, u64)>,
    /// Change per second over the whole window.
    pub avg_rate: f64,
    /// Average value.
    pub avg: f64,
}

/// The samples of one object, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// With wall-clock times.
    samples: Vec<Sample>,
}

impl History {
    pub(super) fn new(mut samples: Vec<Sample>, clock: &Clock) -> History {
        for sample in &mut samples {
            sample.at_ms = clock.wall_ms_at(Moment::from_ms(sample.at_ms));
        }
        History { samples }
    }

    /// The change per second of a number between the last two samples; zero if it has fallen.
    pub fn rate(&self, number: impl Fn(&Values) -> u64) -> f64 {
        match self.samples.as_slice() {
            [.., before, last] => rate(before, last, &number, |now, then| now.saturating_sub(then)),
            [] | [_] => 0.0,
        }
    }

    /// The change per second of a number that may also fall, such as a queue's length.
    pub fn change(&self, number: impl Fn(&Values) -> u64) -> f64 {
        match self.samples.as_slice() {
            [.., before, last] => {
                let rises = number(&last.values) >= number(&before.values);
                let change = rate(before, last, &number, u64::abs_diff);
                if rises { change } else { -change }
            }
            [] | [_] => 0.0,
        }
    }

    /// The samples of a number in a window, and its averages. `None` without samples.
    pub fn within(&self, window: Window, number: impl Fn(&Values) -> u64) -> Option<Rated> {
        let chosen = self.chosen(window);
        let (newest, oldest) = (chosen.first()?, chosen.last()?);
        let series = chosen.iter().map(|sample| {
            let at_ms = sample.at_ms / FINE.0 * FINE.0;
            (at_ms, number(&sample.values))
        });
        let samples: Vec<(u64, u64)> = series.collect();
        let sum: f64 = samples.iter().map(|(_, value)| float(*value)).sum();
        Some(Rated {
            rate: self.rate(&number),
            avg_rate: rate(oldest, newest, &number, |now, then| {
                now.saturating_sub(then)
            }),
            avg: sum / float(samples.len() as u64),
            samples,
        })
    }

    /// The samples of a window, newest first: for each step back from the newest the nearest one, each once.
    fn chosen(&self, window: Window) -> Vec<&Sample> {
        let Some(newest) = self.samples.last() else {
            return Vec::new();
        };
        let step_ms = window.incr_secs.saturating_mul(1_000).max(FINE.0);
        let begin = newest
            .at_ms
            .saturating_sub(window.age_secs.saturating_mul(1_000));
        let mut chosen: Vec<&Sample> = vec![newest];
        let mut wanted = newest.at_ms;
        for sample in self.samples.iter().rev().skip(1) {
            let next = wanted.saturating_sub(step_ms);
            // Ticks are not exact.
            if sample.at_ms + FINE.0 / 2 < begin {
                break;
            }
            if sample.at_ms <= next + FINE.0 / 2 {
                chosen.push(sample);
                wanted = next.min(sample.at_ms + FINE.0 / 2);
            }
        }
        chosen
    }
}

fn rate(
    before: &Sample,
    last: &Sample,
    number: impl Fn(&Values) -> u64,
    difference: impl Fn(u64, u64) -> u64,
) -> f64 {
    let change = difference(number(&last.values), number(&before.values));
    match last.at_ms.saturating_sub(before.at_ms) {
        0 => 0.0,
        ms => float(change) * 1_000.0 / float(ms),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rates and averages need no exact number"
)]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(secs: u64, ready: u64) -> Sample {
        Sample {
            at_ms: secs * 1_000,
            values: Values {
                ready,
                ..Values::default()
            },
        }
    }

    fn history(samples: impl IntoIterator<Item = Sample>) -> History {
        let mut series = Series::new();
        samples.into_iter().for_each(|sample| series.push(sample));
        History {
            samples: series.all(),
        }
    }

    fn ready(values: &Values) -> u64 {
        values.ready
    }

    #[test]
    fn a_rate_is_the_change_between_the_last_two_samples() {
        let history = history([sample(0, 0), sample(5, 100), sample(10, 150)]);
        assert_eq!(history.rate(ready), 10.0);
        assert_eq!(super::History::default().rate(ready), 0.0);
    }

    #[test]
    fn a_number_that_falls_has_no_rate_but_a_negative_change() {
        let history = history([sample(0, 100), sample(5, 50)]);
        assert_eq!((history.rate(ready), history.change(ready)), (0.0, -10.0));
    }

    #[test]
    fn a_window_has_its_samples_newest_first_and_averages() {
        let history = history((0..=20).map(|n| sample(1_000 + 5 * n, 10 * n)));
        let window = |age_secs, incr_secs| Window {
            age_secs,
            incr_secs,
        };
        let rated = history.within(window(20, 5), ready).unwrap();
        let expected: Vec<(u64, u64)> = (16..=20)
            .rev()
            .map(|n| ((1_000 + 5 * n) * 1_000, 10 * n))
            .collect();
        assert_eq!(rated.samples, expected);
        assert_eq!((rated.rate, rated.avg_rate, rated.avg), (2.0, 2.0, 180.0));
        let rated = history.within(window(60, 20), ready).unwrap();
        let values: Vec<u64> = rated.samples.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [200, 160, 120, 80]);
        // A window without an interval shows every sample, and a long one all there are.
        assert_eq!(
            history.within(window(10, 0), ready).unwrap().samples.len(),
            3
        );
        assert_eq!(
            history
                .within(window(u64::MAX, 5), ready)
                .unwrap()
                .samples
                .len(),
            21
        );
    }

    #[test]
    fn ticks_that_come_late_or_early_leave_no_gap() {
        let at = [0, 5_040, 10_010, 15_990, 20_001, 24_900];
        let samples = at.iter().map(|&at_ms| Sample {
            at_ms,
            ..sample(0, at_ms)
        });
        let window = Window {
            age_secs: 25,
            incr_secs: 5,
        };
        let rated = history(samples).within(window, ready).unwrap();
        assert_eq!(rated.samples.len(), at.len());
    }

    #[test]
    fn a_day_of_samples_is_bounded_and_reaches_back_a_day() {
        let day = 86_400;
        let history = history((0..=2 * day / 5).map(|n| sample(5 * n, 5 * n)));
        assert!(history.samples.len() <= FINE.1 + COARSE.1);
        let window = Window {
            age_secs: day,
            incr_secs: 3_600,
        };
        let rated = history.within(window, ready).unwrap();
        assert_eq!(rated.samples.len(), 25);
        assert_eq!(rated.avg_rate, 1.0);
    }
}
