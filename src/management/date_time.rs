//! Times of day in JSON.

use jiff::Timestamp;

/// The time of these Unix milliseconds as RabbitMQ writes it. `None` if it is not within ten thousand years.
pub(super) fn date_time(wall_ms: u64) -> Option<String> {
    let time = Timestamp::from_millisecond(i64::try_from(wall_ms).ok()?).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_of_a_second_and_an_offset() {
        for (wall_ms, expected) in [
            (0, Some("1970-01-01T00:00:00.000+00:00")),
            (951_868_799_999, Some("2000-02-29T23:59:59.999+00:00")),
            (1_795_176_000_010, Some("2026-11-20T12:00:00.010+00:00")),
            (u64::MAX, None),
        ] {
            assert_eq!(date_time(wall_ms).as_deref(), expected);
        }
    }
}
