//! Checks the argument values of a new queue, one by one in RabbitMQ's order.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::fault::ArgumentFault;
use super::kind::{
    CONSUMER_DISCONNECTED_TIMEOUT, CONSUMER_TIMEOUT, DEAD_LETTER_EXCHANGE, DEAD_LETTER_ROUTING_KEY,
    MESSAGE_TTL, REWIND_SECONDS, SEGMENT_SIZE, VISIBILITY_TIMEOUT,
};
use super::value::{age_ms, integer_value, type_name};

/// Maximum time to live or expiry: ten years of 365 days, in milliseconds.
const DURATION_MS_MAX: i64 = 315_360_000_000;

/// Maximum `x-max-priority`.
const MAX_PRIORITY_MAX: i64 = 255;

type Check = fn(&AMQPValue, &FieldTable) -> Result<(), ArgumentFault>;

/// The checks, in RabbitMQ's order.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("x-expires", check_expires),
    (MESSAGE_TTL, check_duration),
    (DEAD_LETTER_EXCHANGE, check_dead_letter_exchange),
    (DEAD_LETTER_ROUTING_KEY, check_dead_letter_routing_key),
    ("x-dead-letter-strategy", |value, _| {
        check_word(
            value,
            &["at-most-once", "at-least-once"],
            "invalid_dlx_strategy",
        )
    }),
    ("x-max-length", check_non_negative),
    ("x-max-length-bytes", check_non_negative),
    ("x-max-in-memory-length", check_non_negative),
    ("x-max-in-memory-bytes", check_non_negative),
    ("x-max-priority", check_max_priority),
    ("x-overflow", |value, _| {
        check_word(
            value,
            &[
                "drop-head",
                "reject-publish",
                "reject-publish-dlx",
                "block-publish",
            ],
            "invalid_overflow",
        )
    }),
    ("x-max-age", check_max_age),
    (SEGMENT_SIZE, check_non_negative),
    ("x-initial-cluster-size", check_positive),
    ("x-queue-mode", check_queue_mode),
    ("x-queue-version", check_queue_version),
    ("x-single-active-consumer", check_bool),
    ("x-quorum-initial-group-size", check_positive),
    ("x-queue-leader-locator", |value, _| {
        check_word(
            value,
            &["client-local", "balanced", "random", "least-leaders"],
            "invalid_queue_locator_arg",
        )
    }),
    (CONSUMER_TIMEOUT, check_non_negative),
    (CONSUMER_DISCONNECTED_TIMEOUT, check_non_negative),
    // Leveret's own arguments. A visibility timeout of 0 would end each lease immediately, so it is refused.
    (VISIBILITY_TIMEOUT, check_expires),
    (REWIND_SECONDS, check_seconds),
];

fn non_negative(value: &AMQPValue) -> Result<i64, ArgumentFault> {
    match integer_value(value) {
        None => Err(ArgumentFault::NotInteger(type_name(value))),
        Some(value) if value < 0 => Err(ArgumentFault::Negative(value)),
        Some(value) => Ok(value),
    }
}

pub(super) fn check_non_negative(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
    non_negative(value).map(drop)
}

fn check_positive(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
    match non_negative(value)? {
        0 => Err(ArgumentFault::Zero(0)),
        _ => Ok(()),
    }
}

fn check_duration(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
    match non_negative(value)? {
        value if value > DURATION_MS_MAX => Err(ArgumentFault::TooLarge(value)),
        _ => Ok(()),
    }
}

pub(super) fn check_expires(value: &AMQPValue, table: &FieldTable) -> Result<(), ArgumentFault> {
    check_positive(value, table)?;
    check_duration(value, table)
}

fn check_seconds(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
    match non_negative(value)? {
        value if value > DURATION_MS_MAX / 1000 => Err(ArgumentFault::TooLarge(value)),
        _ => Ok(()),
    }
}

fn check_max_priority(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
    match non_negative(value)? {
        value if value > MAX_PRIORITY_MAX => Err(ArgumentFault::MaxValueExceeded(value)),
        _ => Ok(()),
    }
}

fn check_dead_letter_exchange(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
    match value {
        AMQPValue::LongString(_) => Ok(()),
        other => Err(ArgumentFault::ExchangeNameType(type_name(other))),
    }
}

fn check_dead_letter_routing_key(
    value: &AMQPValue,
    table: &FieldTable,
) -> Result<(), ArgumentFault> {
    match value {
        AMQPValue::LongString(_) if table.contains_key(DEAD_LETTER_EXCHANGE) => Ok(()),
        AMQPValue::LongString(_) => Err(ArgumentFault::Invalid("routing_key_but_no_dlx_defined")),
        other => Err(ArgumentFault::UnacceptableType(type_name(other))),
    }
}

fn check_word(value: &AMQPValue, words: &[&str], fault: &'static str) -> Result<(), ArgumentFault> {
    match value {
        AMQPValue::LongString(text) if words.iter().any(|w| w.as_bytes() == text.as_bytes()) => {
            Ok(())
        }
        AMQPValue::LongString(_) => Err(ArgumentFault::Invalid(fault)),
        other => Err(ArgumentFault::UnacceptableType(type_name(other))),
    }
}

fn check_max_age(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
    match value {
        AMQPValue::LongString(text) => match age_ms(text.as_bytes()) {
            Some(_) => Ok(()),
            None => Err(ArgumentFault::Invalid("invalid_max_age")),
        },
        other => Err(ArgumentFault::UnacceptableType(type_name(other))),
    }
}

fn check_queue_mode(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
    match value {
        AMQPValue::LongString(text) => match text.as_bytes() {
            b"default" | b"lazy" => Ok(()),
            _ => Err(ArgumentFault::Unsupported("queue mode", text.to_string())),
        },
        other => Err(ArgumentFault::UnacceptableType(type_name(other))),
    }
}

fn check_queue_version(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
    match non_negative(value)? {
        1 | 2 => Ok(()),
        other => Err(ArgumentFault::Unsupported(
            "queue version",
            other.to_string(),
        )),
    }
}

fn check_bool(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
    match value {
        AMQPValue::Boolean(_) => Ok(()),
        other => Err(ArgumentFault::UnacceptableType(type_name(other))),
    }
}
