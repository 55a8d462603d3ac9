//! Super streams: partitions by number or by binding key, and the arguments of their streams.

use std::sync::Arc;

use super::lookup::no_such_vhost;
use crate::broker::session::{Partition, Session};
use crate::config::parse_bytes;
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_SOFTWARE, EX_USAGE};
use crate::ctl::outcome::{Failure, Outcome, Reply};
use crate::ctl::protocol::Request;
use crate::wire::{AMQPValue, FieldTable};

/// Partitions unless their number or binding keys are given.
const PARTITIONS: usize = 3;
/// Maximum number of partitions.
const PARTITIONS_MAX: usize = 1000;

pub(super) async fn add(ctx: &Context, request: &Request) -> Outcome {
    let name = request.arg(0);
    let partitions = partitions(name, request).map_err(invalid)?;
    let arguments = arguments(request).map_err(invalid)?;
    let session = session(ctx, request)?;
    let created = session.create_super_stream(name, &partitions, &arguments);
    match created.await {
        Ok(()) => Ok(Reply::Message(format!(
            "Super stream {name} has been created"
        ))),
        Err(error) => Err(Failure::error(EX_SOFTWARE, error)),
    }
}

pub(super) async fn delete(ctx: &Context, request: &Request) -> Outcome {
    let name = request.arg(0);
    match session(ctx, request)?.delete_super_stream(name).await {
        Ok(()) => Ok(Reply::Message(format!(
            "Super stream {name} has been deleted"
        ))),
        Err(error) => Err(Failure::error(EX_SOFTWARE, error)),
    }
}

fn session(ctx: &Context, request: &Request) -> Result<Session, Failure> {
    let vhost = ctx.broker.vhost(request.vhost());
    let vhost = vhost.ok_or_else(|| no_such_vhost(request.vhost()))?;
    Ok(Session::of_operator(Arc::clone(&ctx.broker), vhost))
}

fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::plain(EX_USAGE, format!("Error (argument validation): {reason}"))
}

fn partitions(name: &str, request: &Request) -> Result<Vec<Partition>, &'static str> {
    let option = |name| request.options.get(name);
    let keys: Vec<String> = match (
        option("partitions"),
        option("binding-keys"),
        option("routing-keys"),
    ) {
        (None, Some(_), Some(_)) => return Err("Specify --binding-keys only."),
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return Err("Specify --partitions or --binding-keys, not both.");
        }
        (None, Some(keys), None) | (None, None, Some(keys)) => {
            let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
            keys.map(str::to_owned).collect()
        }
        (count, None, None) => {
            let count = count.map_or(Ok(PARTITIONS), |count| count.parse());
            match count {
                Ok(count) if count > 0 => (0..count)
                    .take(PARTITIONS_MAX + 1)
                    .map(|n| n.to_string())
                    .collect(),
                Ok(_) | Err(_) => return Err("The partition number must be greater than 0"),
            }
        }
    };
    let mut distinct = keys.clone();
    distinct.sort();
    distinct.dedup();
    match keys.len() {
        0 => Err("There must be a binding key."),
        count if count > PARTITIONS_MAX => Err("A super stream has at most 1000 partitions."),
        count if count > distinct.len() => Err("Binding keys must be unique."),
        _ => Ok(keys
            .iter()
            .map(|key| Partition {
                stream: format!("{name}-{key}").into(),
                binding_key: key.as_str().into(),
            })
            .collect()),
    }
}

/// The arguments of each stream.
fn arguments(request: &Request) -> Result<FieldTable, &'static str> {
    let mut arguments = FieldTable::default();
    let mut set = |argument: &str, value| {
        arguments.insert(argument.into(), value);
    };
    let option = |name| request.options.get(name);
    if let Some(value) = option("max-length-bytes") {
        let bytes = bytes(value)
            .ok_or("Invalid value for --max-length-bytes, valid example values: 100gb, 50mb")?;
        set("x-max-length-bytes", AMQPValue::LongLongInt(bytes));
    }
    if let Some(value) = option("max-age") {
        let seconds = seconds(value).ok_or(
            "Invalid value for --max-age, the value must a ISO 8601 duration, e.g. e.g. PT10M30S for 10 minutes 30 \
             seconds, P5DT8H for 5 days 8 hours.",
        )?;
        set(
            "x-max-age",
            AMQPValue::LongString(format!("{seconds}s").into()),
        );
    }
    if let Some(value) = option("stream-max-segment-size-bytes") {
        let bytes = bytes(value).ok_or(
            "Invalid value for --stream-max-segment-size-bytes, valid example values: 100gb, 50mb",
        )?;
        set(
            "x-stream-max-segment-size-bytes",
            AMQPValue::LongLongInt(bytes),
        );
    }
    if let Some(value) = option("leader-locator") {
        if !["client-local", "balanced", "random", "least-leaders"].contains(&&**value) {
            return Err(
                "Invalid value for --leader-locator, valid values are client-local, balanced.",
            );
        }
        set(
            "x-queue-leader-locator",
            AMQPValue::LongString(value.as_str().into()),
        );
    }
    if let Some(value) = option("initial-cluster-size") {
        match value.parse::<i32>() {
            Ok(size) if size > 0 => set("x-initial-cluster-size", AMQPValue::LongInt(size)),
            Ok(_) => {
                return Err(
                    "Invalid value for --initial-cluster-size, the value must be positive.",
                );
            }
            Err(_) => {
                return Err(
                    "Invalid value for --initial-cluster-size, the value must be a positive integer.",
                );
            }
        };
    }
    Ok(arguments)
}

/// Bytes whose unit may be in any case: `1gb` is 1,000,000,000 of them.
fn bytes(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let text = upper
        .strip_suffix("KB")
        .map_or(upper.clone(), |number| format!("{number}kB"));
    let text = match text.strip_suffix("IB") {
        Some(number) => format!("{number}iB"),
        None => text,
    };
    i64::try_from(parse_bytes(&text)?).ok()
}

/// The seconds of an ISO 8601 duration. Years and months have 365 and 30 days.
fn seconds(text: &str) -> Option<i64> {
    let span: jiff::Span = text.strip_prefix('P').and_then(|_| text.parse().ok())?;
    let days = i64::from(span.get_years()) * 365
        + i64::from(span.get_months()) * 30
        + i64::from(span.get_weeks()) * 7
        + i64::from(span.get_days());
    let seconds = i64::from(span.get_hours()) * 3600 + span.get_minutes() * 60 + span.get_seconds();
    days.checked_mul(86_400)?
        .checked_add(seconds)
        .filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_read_as_in_rabbitmq() {
        for (text, expected) in [
            ("PT10M30S", Some(630)),
            ("P5DT8H", Some(460_800)),
            ("P1Y2M", Some(36_720_000)),
            ("10m", None),
            ("PT0S", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for (text, expected) in [
            ("1gb", Some(1_000_000_000)),
            ("50MB", Some(50_000_000)),
            ("2kb", Some(2000)),
            ("1gib", Some(1 << 30)),
            ("7", Some(7)),
            ("x", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
