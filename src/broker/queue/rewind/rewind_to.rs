//! The position to which a queue is rewound, and its text, which `leveret ctl rewind` and AMQP requests
//! share.

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
        let to = match (number.parse::<u64>(), unit) {
            (Ok(offset), "") => Some(RewindTo::Offset(offset)),
            (Ok(ms), "ms") => Some(RewindTo::Time(ms)),
            (Ok(seconds), "s") => seconds.checked_mul(1000).map(RewindTo::Time),
            _ => rfc3339_ms(text).map(RewindTo::Time),
        };
        to.ok_or_else(|| InvalidRewindTo(text.chars().take(64).collect()))
    }
}

/// Milliseconds since the epoch of an RFC 3339 time from 1970 on. Cuts off finer fractions. A leap second
/// counts as the second before it.
fn rfc3339_ms(text: &str) -> Option<u64> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(timestamp.as_millisecond()).ok()
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
}
