//! The position to which a queue is rewound, as text too: `leveret ctl rewind` and requests by AMQP write it
//! alike.

use std::fmt;
use std::str::FromStr;

/// The position to which a queue is rewound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewindTo {
    /// Messages enqueued at or after this time in milliseconds. Clients give wall-clock time; the machines of
    /// the queues get it on the broker's time line.
    Time(u64),
    /// Messages with this offset or a higher one.
    Offset(u64),
}

/// The text is neither a time nor an offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is neither an offset (digits), nor a time (digits and 's' or 'ms' since 1970, or as in \
     2026-01-31T12:00:00Z)"
)]
pub struct InvalidRewindTo(String);

impl fmt::Display for RewindTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RewindTo::Time(ms) => write!(f, "{ms}ms"),
            RewindTo::Offset(offset) => write!(f, "{offset}"),
        }
    }
}

impl FromStr for RewindTo {
    type Err = InvalidRewindTo;

    fn from_str(text: &str) -> Result<RewindTo, InvalidRewindTo> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).unwrap_or(("", text));
        let place = match (number.parse::<u64>(), unit) {
            (Ok(offset), "") => Some(RewindTo::Offset(offset)),
            (Ok(ms), "ms") => Some(RewindTo::Time(ms)),
            (Ok(seconds), "s") => seconds.checked_mul(1000).map(RewindTo::Time),
            _ => rfc3339_ms(text).map(RewindTo::Time),
        };
        place.ok_or_else(|| InvalidRewindTo(text.chars().take(64).collect()))
    }
}

/// Milliseconds since the epoch of an RFC 3339 time from 1970 on. Cuts off finer fractions. A leap second
/// counts as the second before it.
fn rfc3339_ms(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at_checked(zone_at)?;
    let (whole, fraction) = match time.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (time, "0"),
    };
    let [hour, minute, second] = numbers(whole, ':', [2, 2, 2])?;
    let offset_minutes = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign, zone) => {
            let [hours, minutes] = numbers(zone, ':', [2, 2])?;
            let ahead = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
            if sign == "-" { -ahead } else { ahead }
        }
    };
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_minutes)
        * 60
        + second.min(59);
    let millis: String = fraction.chars().chain("00".chars()).take(3).collect();
    u64::try_from(seconds * 1000 + millis.parse::<i64>().ok()?).ok()
}

/// Days from the epoch to a date of the Gregorian calendar. Counts years from March, so that a leap day is
/// the last day of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Parses numbers with the given widths in digits, separated by `between`.
fn numbers<const N: usize>(text: &str, between: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut found = [0; N];
    for (number, width) in found.iter_mut().zip(widths) {
        let part = parts.next()?;
        let is_number = part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| is_number)?;
    }
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_times_differ_in_their_syntax() {
        for (text, expected) in [
            ("0", Some(RewindTo::Offset(0))),
            ("18446744073709551615", Some(RewindTo::Offset(u64::MAX))),
            ("5s", Some(RewindTo::Time(5_000))),
            ("1700000000123ms", Some(RewindTo::Time(1_700_000_000_123))),
            ("1970-01-01T00:00:00Z", Some(RewindTo::Time(0))),
            ("1970-01-01T00:00:01.5Z", Some(RewindTo::Time(1_500))),
            (
                "2000-02-29T23:59:59.999999Z",
                Some(RewindTo::Time(951_868_799_999)),
            ),
            (
                "2026-11-20T14:30:00+02:30",
                Some(RewindTo::Time(1_795_176_000_000)),
            ),
            (
                "2026-11-20 12:00:00z",
                Some(RewindTo::Time(1_795_176_000_000)),
            ),
            ("1969-12-31T23:00:00-01:00", Some(RewindTo::Time(0))),
            (
                "2016-12-31T23:59:60Z",
                Some(RewindTo::Time(1_483_228_799_000)),
            ),
            ("1969-12-31T23:59:59Z", None),
            ("2026-02-29T00:00:00Z", None),
            ("2100-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-1-01T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01T00:00:00+99:00", None),
            ("2026-01-01T00:00:00.Z", None),
            ("2026-01-01T00:00:00+0a:00", None),
            ("2026-01-01", None),
            ("", None),
            ("-1", None),
            ("5 s", None),
            ("5m", None),
            ("18446744073709551616", None),
            ("18446744073709551615s", None),
            ("é", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
        for to in [RewindTo::Offset(7), RewindTo::Time(1_234)] {
            assert_eq!(to.to_string().parse(), Ok(to));
        }
    }

    #[test]
    fn consecutive_days_are_a_day_apart() {
        let mut expected = 0;
        for year in 1970..2110 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let text = format!("{year}-{month:02}-{day:02}T00:00:00Z");
                    if let Some(ms) = rfc3339_ms(&text) {
                        assert_eq!(ms, expected * 86_400_000, "{text}");
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(
            expected,
            140 * 365 + 34,
            "the days of 140 years, 34 of them leap years"
        );
    }
}
