//! Random due times of delayed messages: `--due`. Pure, except for the clock at the end.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::random::Random;

/// Latest end of a window: an `x-delay` in milliseconds has 31 bits.
const END_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// Due time in the stamp of a message that was published too late.
pub(crate) const PAST: u64 = 0;

/// The time within which messages are due, from the beginning of publishing on. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DueWindow {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

/// The same on the wall clock, in Unix ms, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DueSpan {
    from_ms: u64,
    to_ms: u64,
}

/// The due time of a message, as it stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Unix time in ns, in whole milliseconds; or `PAST`.
    pub(crate) stamp_ns: u64,
    /// The `x-delay` of the message, in ms.
    pub(crate) delay_ms: i32,
}

/// The due times of one producer's messages, evenly distributed over the span.
#[derive(Debug)]
pub(crate) struct DueTimes {
    span: DueSpan,
    random: Random,
}

impl FromStr for DueWindow {
    type Err = String;

    /// Reads `FROM..TO`, in seconds.
    fn from_str(text: &str) -> Result<DueWindow, String> {
        let (from, to) = text.split_once("..").ok_or("expected FROM..TO")?;
        let seconds = |text: &str| {
            let seconds = text.parse().map_err(|_| format!("{text}: not a number"))?;
            let time = Duration::try_from_secs_f64(seconds);
            time.map_err(|error| format!("{text}: {error}"))
        };
        let (from, to) = (seconds(from)?, seconds(to)?);
        if to > END_MAX {
            return Err(format!("TO must not be more than {}", END_MAX.as_secs()));
        }
        if to < from + Duration::from_millis(1) {
            return Err("TO must be more than FROM".to_owned());
        }
        Ok(DueWindow { from, to })
    }
}

impl DueWindow {
    /// The span of a run that begins to publish at `now_ms`.
    pub(crate) fn starting_at(self, now_ms: u64) -> DueSpan {
        DueSpan {
            from_ms: now_ms + whole_ms(self.from),
            to_ms: now_ms + whole_ms(self.to),
        }
    }
}

impl DueSpan {
    /// Time until the first message may be due; zero if that is past.
    pub(crate) fn begins_in(self, now_ms: u64) -> Duration {
        Duration::from_millis(self.from_ms.saturating_sub(now_ms))
    }

    pub(crate) fn length(self) -> Duration {
        Duration::from_millis(self.to_ms - self.from_ms)
    }

    /// Number of messages that are due per second.
    pub(crate) fn per_second(self, messages: u64) -> u64 {
        let per_second =
            u128::from(messages) * 1000 / u128::from((self.to_ms - self.from_ms).max(1));
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }
}

impl DueTimes {
    /// For the `nth` producer.
    pub(crate) fn new(span: DueSpan, nth: usize) -> DueTimes {
        DueTimes {
            span,
            random: Random::new(nth as u64),
        }
    }

    /// The due time of the next message, which is published at `now_ms`.
    pub(crate) fn draw(&mut self, now_ms: u64) -> Due {
        let DueSpan { from_ms, to_ms } = self.span;
        let due_ms = from_ms + self.random.below(to_ms - from_ms);
        // The broker adds the delay to the time of arrival, which is later than `now_ms`. Since both round
        // down, the sum is never before the due time.
        match due_ms.saturating_sub(now_ms) {
            0 => Due {
                stamp_ns: PAST,
                delay_ms: 1,
            },
            delay_ms => Due {
                stamp_ns: due_ms * 1_000_000,
                delay_ms: i32::try_from(delay_ms).unwrap_or(i32::MAX),
            },
        }
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Unix time in ns.
pub(crate) fn wall_clock_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Unix time in ms.
pub(crate) fn wall_clock_ms() -> u64 {
    wall_clock_ns() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: DueSpan = DueSpan {
        from_ms: 1_000_000,
        to_ms: 1_010_000,
    };

    #[test]
    fn windows_are_read() {
        let window: DueWindow = "1.5..20".parse().unwrap();
        assert_eq!(window.from, Duration::from_millis(1500));
        let span = window.starting_at(100_000);
        assert_eq!((span.from_ms, span.to_ms), (101_500, 120_000));
        assert_eq!(span.length(), Duration::from_millis(18_500));
        assert_eq!(span.per_second(37_000), 2000);
        assert_eq!(span.begins_in(101_000), Duration::from_millis(500));
        assert_eq!(span.begins_in(130_000), Duration::ZERO);
        for wrong in [
            "5",
            "5..5",
            "6..5",
            "5..5.0001",
            "-1..5",
            "a..5",
            "5..",
            "0..inf",
            "0..NaN",
            "0..2147484",
        ] {
            assert!(wrong.parse::<DueWindow>().is_err(), "{wrong}");
        }
        assert!("0..2147483".parse::<DueWindow>().is_ok());
    }

    #[test]
    fn due_times_are_spread_evenly_and_the_same_each_time() {
        let draw = |nth| {
            let mut times = DueTimes::new(SPAN, nth);
            move || times.draw(900_000)
        };
        let (mut one, mut again, mut other) = (draw(0), draw(0), draw(1));
        let (mut tenths, mut same) = ([0u32; 10], 0);
        for _ in 0..10_000 {
            let due = one();
            assert_eq!(due, again());
            same += u32::from(due == other());
            let due_ms = due.stamp_ns / 1_000_000;
            assert_eq!(due.stamp_ns % 1_000_000, 0);
            assert_eq!(
                u64::try_from(due.delay_ms).unwrap(),
                due_ms - 900_000,
                "{due:?}"
            );
            tenths[usize::try_from((due_ms - SPAN.from_ms) / 1000).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (800..1200).contains(count)));
        assert!(same < 100, "producers have times of their own: {same}");
    }

    #[test]
    fn a_time_that_is_past_is_marked() {
        let mut times = DueTimes::new(SPAN, 0);
        let past = Due {
            stamp_ns: PAST,
            delay_ms: 1,
        };
        assert!((0..100).all(|_| times.draw(SPAN.to_ms - 1) == past));
        // In the middle about half of them.
        let count = (0..1000).filter(|_| times.draw(1_005_000) == past).count();
        assert!((400..600).contains(&count), "{count}");
    }
}
