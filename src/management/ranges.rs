//! How much of the past a client asks for: `lengths_age` and `lengths_incr`, and the like.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiError;
use super::path::Query;
use crate::views::Window;

/// Samples of one number in one answer, as in RabbitMQ.
const SAMPLES_MAX: u64 = 500;

/// How much of the past to show.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RangeQuery {
    /// Show samples of the lengths of queues of these last seconds,
    lengths_age: Option<String>,
    /// one for so many seconds.
    lengths_incr: Option<String>,
    /// The same for counters of messages.
    msg_rates_age: Option<String>,
    msg_rates_incr: Option<String>,
    /// The same for bytes of connections.
    data_rates_age: Option<String>,
    data_rates_incr: Option<String>,
    /// The same for memory, disk and file descriptors of the node.
    node_stats_age: Option<String>,
    node_stats_incr: Option<String>,
}

/// The windows of samples that a client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    pub(super) lengths: Option<Window>,
    pub(super) msg_rates: Option<Window>,
    pub(super) data_rates: Option<Window>,
    pub(super) node_stats: Option<Window>,
}

impl<S: Send + Sync> FromRequestParts<S> for Ranges {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Ranges, ApiError> {
        let Query(query) = Query::<RangeQuery>::from_request_parts(parts, state).await?;
        Ranges::parse(&query)
    }
}

impl Ranges {
    fn parse(query: &RangeQuery) -> Result<Ranges, ApiError> {
        Ok(Ranges {
            lengths: window(&query.lengths_age, &query.lengths_incr)?,
            msg_rates: window(&query.msg_rates_age, &query.msg_rates_incr)?,
            data_rates: window(&query.data_rates_age, &query.data_rates_incr)?,
            node_stats: window(&query.node_stats_age, &query.node_stats_incr)?,
        })
    }
}

/// `None` unless both are integers.
fn window(age: &Option<String>, incr: &Option<String>) -> Result<Option<Window>, ApiError> {
    let integer = |text: &Option<String>| text.as_ref()?.parse::<i64>().ok();
    let (Some(age), Some(incr)) = (integer(age), integer(incr)) else {
        return Ok(None);
    };
    let positive = |number| u64::try_from(number).ok().filter(|number| *number > 0);
    match (positive(age), positive(incr)) {
        (Some(age_secs), Some(incr_secs)) if age_secs / incr_secs <= SAMPLES_MAX => {
            Ok(Some(Window {
                age_secs,
                incr_secs,
            }))
        }
        _ => Err(ApiError::InvalidPage {
            error: "invalid_range_parameters",
            reason: format!("Invalid range parameters: age {age}, incr {incr}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_need_two_positive_numbers() {
        let parse = |age: Option<&str>, incr: Option<&str>| {
            window(&age.map(str::to_owned), &incr.map(str::to_owned))
        };
        let expected = Window {
            age_secs: 60,
            incr_secs: 5,
        };
        assert_eq!(parse(Some("60"), Some("5")), Ok(Some(expected)));
        for (age, incr) in [(Some("60"), None), (None, None), (Some("x"), Some("5"))] {
            assert_eq!(parse(age, incr), Ok(None));
        }
        for (age, incr) in [("0", "5"), ("60", "0"), ("-60", "5"), ("2505", "5")] {
            assert!(parse(Some(age), Some(incr)).is_err(), "{age} {incr}");
        }
    }
}
