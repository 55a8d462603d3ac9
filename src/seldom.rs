//! Limits log lines that a peer can cause as often as it likes: a few pass in each interval, the others are
//! counted.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets a few lines pass in each interval.
#[derive(Debug)]
pub struct Seldom {
    at_once: u64,
    every: Duration,
    now: Mutex<Stretch>,
}

#[derive(Debug, Default)]
struct Stretch {
    begun: Option<Instant>,
    /// Lines in this interval, passed or not.
    lines: u64,
}

/// Number of suppressed lines before this one. Its text can be added to the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsaid(pub u64);

impl Seldom {
    /// Lets `at_once` lines pass in each interval of length `every`.
    pub const fn new(at_once: u64, every: Duration) -> Seldom {
        Seldom {
            at_once,
            every,
            now: Mutex::new(Stretch {
                begun: None,
                lines: 0,
            }),
        }
    }

    /// Whether to write a line now; `None` if it is only counted.
    pub fn passes(&self, now: Instant) -> Option<Unsaid> {
        let mut stretch = self.now.lock();
        let is_over = stretch
            .begun
            .is_none_or(|begun| now.duration_since(begun) >= self.every);
        let unsaid = match is_over {
            true => {
                let unsaid = stretch.lines.saturating_sub(self.at_once);
                *stretch = Stretch {
                    begun: Some(now),
                    lines: 0,
                };
                unsaid
            }
            false => 0,
        };
        stretch.lines += 1;
        (stretch.lines <= self.at_once).then_some(Unsaid(unsaid))
    }
}

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn a_few_lines_pass_and_others_are_counted() {
        let begun = monotonic();
        let at = |secs| begun + Duration::from_secs(secs);
        let seldom = Seldom::new(2, Duration::from_secs(10));
        let passed: Vec<_> = [0, 1, 2, 9, 10, 11, 12, 40, 41]
            .into_iter()
            .map(|secs| seldom.passes(at(secs)).map(|unsaid| unsaid.0))
            .collect();
        let expected = [
            Some(0),
            Some(0),
            None,
            None,
            Some(2),
            Some(0),
            None,
            Some(1),
            Some(0),
        ];
        assert_eq!(passed, expected);
    }
}
