//! Log lines that a peer can bring about as often as it likes: a few are let through at once, the others are counted.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets so many lines through in each stretch of time.
#[derive(Debug)]
pub struct Seldom {
    at_once: u64,
    every: Duration,
    now: Mutex<Stretch>,
}

#[derive(Debug, Default)]
struct Stretch {
    begun: Option<Instant>,
    /// Lines that came in it, let through or not.
    lines: u64,
}

/// How many lines before this one were not let through. As text, what to add to the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsaid(pub u64);

impl Seldom {
    /// `at_once` lines in each stretch of `every`.
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

    /// Whether a line may be written now; `None` if it is only counted.
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
    fn a_few_lines_pass_and_the_others_are_counted() {
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
