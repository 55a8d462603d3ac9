//! How long a run measures.

use std::time::Duration;

/// The longest time that can be asked for, in seconds.
const SECONDS_MAX: f64 = 1e9;

/// A time.
#[derive(Debug, clap::Args)]
pub(crate) struct TimeOptions {
    /// Seconds to measure.
    #[arg(long, default_value = "5", value_parser = some_seconds)]
    pub(crate) seconds: Duration,
    /// Seconds before measuring starts.
    #[arg(long, default_value = "1.5", value_parser = seconds)]
    pub(crate) warm_up: Duration,
}

/// A time, or a number of messages.
#[derive(Debug, clap::Args)]
pub(crate) struct LengthOptions {
    #[command(flatten)]
    pub(crate) time: TimeOptions,
    /// Measure this number of messages, all queues together, instead of a time.
    #[arg(long, conflicts_with_all = ["seconds", "warm_up"], value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Reads a time that is not zero.
pub(crate) fn some_seconds(text: &str) -> Result<Duration, String> {
    let time = seconds(text)?;
    if time.is_zero() {
        return Err("must be more than 0".to_owned());
    }
    Ok(time)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if seconds > SECONDS_MAX {
        return Err(format!("must not be more than {SECONDS_MAX}"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
