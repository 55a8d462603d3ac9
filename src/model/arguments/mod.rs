//! Queue arguments (`x-*`): parses them once, refuses invalid values and compares two declarations. Pure;
//! knows no queue and no reply code.
//!
//! The arguments of each queue type, the order of the checks and all texts are those of RabbitMQ 4.0.

mod checks;
mod fault;
mod inequivalence;
mod kind;
#[cfg(test)]
mod tests;
mod value;

use std::sync::{Arc, LazyLock};

use amq_protocol::types::{AMQPValue, FieldTable};
use serde::{Deserialize, Serialize};

use super::Name;

use checks::{CHECKS, check_expires, check_non_negative};
use kind::{
    DEAD_LETTER_ROUTING_KEY, DELAYED_RETRY_MAX, DELAYED_RETRY_MIN, DELAYED_RETRY_TYPE, FILTER_SIZE,
    SEGMENT_SIZE, refusable_argument,
};
use value::bytes_value;

pub use fault::{ArgumentError, ArgumentFault, PropertyRefused};
pub use inequivalence::{Inequivalence, inequivalence};
pub use kind::{
    CONSUMER_TIMEOUT, DEAD_LETTER_EXCHANGE, DELIVERY_LIMIT, MESSAGE_TTL, QUEUE_TYPE, QueueKind,
    REWIND_SECONDS, VISIBILITY_TIMEOUT,
};
pub use value::{age_ms, integer_value, quoted_string, term, text_value, type_name};

/// Segment size of a stream without `x-stream-max-segment-size-bytes`, in bytes.
const SEGMENT_BYTES_DEFAULT: u64 = 500_000_000;
/// Maximum `x-stream-max-segment-size-bytes`.
const SEGMENT_BYTES_MAX: i64 = 3_000_000_000;
/// Accepted `x-stream-filter-size-bytes`.
const FILTER_BYTES: std::ops::RangeInclusive<i64> = 16..=255;
/// Delivery limit of a quorum queue without `x-delivery-limit`.
const DELIVERY_LIMIT_DEFAULT: u32 = 20;

/// `x-overflow`: what happens to a message that exceeds a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The queue drops its oldest message.
    #[default]
    DropHead,
    /// The queue rejects the publish.
    RejectPublish,
    /// The queue rejects the publish and dead-letters the message.
    RejectPublishDlx,
    /// The queue holds the publisher back until it has room. Leveret's own.
    BlockPublish,
}

/// `x-delayed-retry-type`: which returned messages of a quorum queue wait before their next delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DelayedRetryType {
    #[default]
    Disabled,
    /// All returns.
    All,
    /// Returns that raise the delivery count: basic.reject, and the end of a channel.
    Failed,
    /// Returns that do not: basic.nack, basic.recover, and the consumer timeout.
    Returned,
}

impl DelayedRetryType {
    /// The type of this name; `None` for any other word.
    pub fn from_word(word: &[u8]) -> Option<DelayedRetryType> {
        match word {
            b"disabled" => Some(DelayedRetryType::Disabled),
            b"all" => Some(DelayedRetryType::All),
            b"failed" => Some(DelayedRetryType::Failed),
            b"returned" => Some(DelayedRetryType::Returned),
            _ => None,
        }
    }
}

impl Overflow {
    /// The value of `x-overflow`.
    pub fn as_str(self) -> &'static str {
        match self {
            Overflow::DropHead => "drop-head",
            Overflow::RejectPublish => "reject-publish",
            Overflow::RejectPublishDlx => "reject-publish-dlx",
            Overflow::BlockPublish => "block-publish",
        }
    }
}

/// The arguments of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueArguments {
    /// As declared, with `x-queue-type` filled in.
    pub raw: FieldTable,
    /// `x-queue-type`.
    pub kind: QueueKind,
    /// `x-message-ttl` in milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// `x-expires` in milliseconds, at least 1.
    pub expires_ms: Option<u64>,
    /// `x-max-length`, in waiting messages.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`, in bytes of waiting messages; for a stream, in bytes of all its messages.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`. A quorum queue treats `reject-publish-dlx` as `drop-head`, as in RabbitMQ.
    pub overflow: Overflow,
    /// `x-dead-letter-exchange`; empty for the default exchange.
    pub dead_letter_exchange: Option<Name>,
    /// `x-dead-letter-routing-key`.
    pub dead_letter_routing_key: Option<Name>,
    /// `x-max-priority`.
    pub max_priority: Option<u8>,
    /// `x-single-active-consumer`.
    pub single_active_consumer: bool,
    /// `x-delivery-limit`, only for quorum queues; `None` is no limit.
    pub delivery_limit: Option<u32>,
    /// `x-consumer-timeout` in milliseconds; `None` leaves the broker's setting. In a quorum queue, 0 returns
    /// each message immediately.
    pub consumer_timeout_ms: Option<u64>,
    /// `x-delayed-retry-type`, only for quorum queues.
    pub delayed_retry_type: DelayedRetryType,
    /// `x-delayed-retry-min` in milliseconds, at least 1; `None` is no delay.
    pub delayed_retry_min_ms: Option<u64>,
    /// `x-delayed-retry-max` in milliseconds, at least 1; `None` is the minimum.
    pub delayed_retry_max_ms: Option<u64>,
    /// `x-visibility-timeout` in milliseconds, at least 1; `None` sets no limit.
    pub visibility_timeout_ms: Option<u64>,
    /// Age in milliseconds at which the queue drops a message without dead-lettering it. Only
    /// [`super::QueueOverrides`] sets it; no argument or policy does.
    pub retention_ms: Option<u64>,
    /// `x-max-age` in milliseconds: a stream drops older segments.
    pub max_age_ms: Option<u64>,
    /// `x-stream-max-segment-size-bytes`.
    pub segment_bytes: u64,
    /// `x-rewind-seconds` in milliseconds, at least 1,000; `None` is no history.
    pub rewind_ms: Option<u64>,
}

impl Default for QueueArguments {
    fn default() -> Self {
        QueueArguments::read(QueueKind::Classic, &FieldTable::default())
    }
}

impl QueueArguments {
    /// As [`QueueArguments::parse`]. Queues without arguments share one value, since there are many.
    ///
    /// # Errors
    /// As [`QueueArguments::parse`].
    pub fn shared(table: &FieldTable) -> Result<Arc<QueueArguments>, ArgumentError> {
        static PLAIN: LazyLock<Arc<QueueArguments>> = LazyLock::new(Arc::default);
        let parsed = QueueArguments::parse(table)?;
        Ok(if parsed.raw == PLAIN.raw {
            Arc::clone(&PLAIN)
        } else {
            Arc::new(parsed)
        })
    }

    /// Checks the arguments of a new queue and reads them.
    pub fn parse(table: &FieldTable) -> Result<QueueArguments, ArgumentError> {
        let kind = queue_kind(table)?;
        let known = kind.arguments();
        for (name, check) in CHECKS {
            if let Some(value) = table.inner().get(*name)
                && known.contains(name)
            {
                check(value, table).map_err(|fault| ArgumentError::new(name, fault))?;
            }
        }
        for (name, _) in table {
            let name = name.as_str();
            if let Some(name) = refusable_argument(name)
                && !known.contains(&name)
            {
                return Err(ArgumentError::new(name, ArgumentFault::NotForKind(kind)));
            }
        }
        Ok(QueueArguments::read(kind, table))
    }

    /// These arguments with other values for some of them. `raw` stays as declared.
    pub(super) fn with(
        &self,
        changed: impl IntoIterator<Item = (&'static str, AMQPValue)>,
    ) -> QueueArguments {
        let mut table = self.raw.clone();
        for (name, value) in changed {
            table.insert(name.into(), value);
        }
        QueueArguments {
            raw: self.raw.clone(),
            ..QueueArguments::read(self.kind, &table)
        }
    }

    /// Checks the properties of a declaration against the queue type. `durable` is the resulting property: an
    /// exclusive queue is not durable.
    pub fn check_properties(
        &self,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
    ) -> Result<(), PropertyRefused> {
        match self.kind {
            QueueKind::Classic => Ok(()),
            QueueKind::Quorum | QueueKind::Stream if auto_delete => {
                Err(PropertyRefused::AutoDelete)
            }
            QueueKind::Quorum | QueueKind::Stream if exclusive => Err(PropertyRefused::Exclusive),
            QueueKind::Quorum | QueueKind::Stream if !durable => Err(PropertyRefused::NonDurable),
            QueueKind::Quorum | QueueKind::Stream => Ok(()),
        }
    }

    /// Checks the sizes of a new stream, as RabbitMQ does after all other checks. The error is the reply text.
    pub fn check_sizes(&self) -> Result<(), &'static str> {
        let get = |name| self.raw.inner().get(name);
        if self.kind != QueueKind::Stream {
            return Ok(());
        }
        if get(SEGMENT_SIZE).and_then(integer_value) > Some(SEGMENT_BYTES_MAX) {
            return Err("Exceeded max value for x-stream-max-segment-size-bytes");
        }
        if get(FILTER_SIZE).is_some_and(|size| {
            !integer_value(size).is_some_and(|size| FILTER_BYTES.contains(&size))
        }) {
            return Err("Invalid value for  x-stream-filter-size-bytes");
        }
        Ok(())
    }

    /// The first argument in which a declaration with `table` differs from this queue, so that the broker
    /// refuses it. Compares only arguments of this queue's type, and ignores the width of integers.
    pub fn inequivalent(&self, table: &FieldTable) -> Option<Inequivalence> {
        let classic = AMQPValue::LongString(QueueKind::Classic.as_str().into());
        self.kind.arguments().iter().find_map(|name| {
            let current = self.raw.inner().get(*name);
            let received = match table.inner().get(*name) {
                // An absent type means classic, and so does `undefined`, which RabbitMQ writes for "the
                // default".
                None if *name == QUEUE_TYPE => Some(&classic),
                Some(AMQPValue::LongString(value))
                    if *name == QUEUE_TYPE && value.as_bytes() == b"undefined" =>
                {
                    Some(&classic)
                }
                received => received,
            };
            inequivalence(name, current, received)
        })
    }

    /// Reads arguments that have been checked, now or by the run that stored them. Treats an invalid value as
    /// missing.
    fn read(kind: QueueKind, table: &FieldTable) -> QueueArguments {
        let get = |name: &str| table.inner().get(name);
        let integer = |name| get(name).and_then(integer_value);
        let unsigned = |name| integer(name).and_then(|value| u64::try_from(value).ok());
        let mut raw = table.clone();
        raw.insert(
            QUEUE_TYPE.into(),
            AMQPValue::LongString(kind.as_str().into()),
        );
        QueueArguments {
            raw,
            kind,
            message_ttl_ms: unsigned(MESSAGE_TTL),
            expires_ms: unsigned("x-expires"),
            max_length: unsigned("x-max-length"),
            max_length_bytes: unsigned("x-max-length-bytes"),
            overflow: match (kind, get("x-overflow").and_then(bytes_value)) {
                (_, Some(b"reject-publish")) => Overflow::RejectPublish,
                (QueueKind::Classic, Some(b"reject-publish-dlx")) => Overflow::RejectPublishDlx,
                (_, Some(b"block-publish")) => Overflow::BlockPublish,
                _ => Overflow::DropHead,
            },
            dead_letter_exchange: get(DEAD_LETTER_EXCHANGE).and_then(text_value),
            dead_letter_routing_key: get(DEAD_LETTER_ROUTING_KEY).and_then(text_value),
            max_priority: integer("x-max-priority").and_then(|value| u8::try_from(value).ok()),
            single_active_consumer: matches!(
                get("x-single-active-consumer"),
                Some(AMQPValue::Boolean(true))
            ),
            delivery_limit: match (kind, integer(DELIVERY_LIMIT)) {
                (QueueKind::Classic | QueueKind::Stream, _) => None,
                (QueueKind::Quorum, None) => Some(DELIVERY_LIMIT_DEFAULT),
                (QueueKind::Quorum, Some(limit)) if limit < 0 => None,
                (QueueKind::Quorum, Some(limit)) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
            },
            consumer_timeout_ms: unsigned(CONSUMER_TIMEOUT)
                .filter(|timeout| *timeout > 0 || kind == QueueKind::Quorum),
            delayed_retry_type: get(DELAYED_RETRY_TYPE)
                .and_then(bytes_value)
                .and_then(DelayedRetryType::from_word)
                .filter(|_| kind == QueueKind::Quorum)
                .unwrap_or_default(),
            delayed_retry_min_ms: unsigned(DELAYED_RETRY_MIN).filter(|min| *min > 0),
            delayed_retry_max_ms: unsigned(DELAYED_RETRY_MAX).filter(|max| *max > 0),
            visibility_timeout_ms: unsigned(VISIBILITY_TIMEOUT),
            retention_ms: None,
            max_age_ms: get("x-max-age").and_then(bytes_value).and_then(age_ms),
            segment_bytes: unsigned(SEGMENT_SIZE).unwrap_or(SEGMENT_BYTES_DEFAULT),
            rewind_ms: unsigned(REWIND_SECONDS)
                .filter(|seconds| *seconds > 0)
                .map(|seconds| seconds.saturating_mul(1000)),
        }
    }
}

/// The queue type in `table`; classic by default.
pub fn queue_kind(table: &FieldTable) -> Result<QueueKind, ArgumentError> {
    let fault = match table.inner().get(QUEUE_TYPE) {
        None => return Ok(QueueKind::Classic),
        Some(AMQPValue::LongString(value)) => match value.as_bytes() {
            b"classic" | b"undefined" => return Ok(QueueKind::Classic),
            b"quorum" => return Ok(QueueKind::Quorum),
            b"stream" => return Ok(QueueKind::Stream),
            other => {
                ArgumentFault::Unsupported("queue type", String::from_utf8_lossy(other).into())
            }
        },
        Some(other) => ArgumentFault::UnacceptableType(type_name(other)),
    };
    Err(ArgumentError::new(QUEUE_TYPE, fault))
}

/// The type of a `x-dead-letter-exchange` or `alternate-exchange` that is not a string. RabbitMQ checks it
/// before all other arguments of a new queue or exchange.
pub fn exchange_name_fault(table: &FieldTable, argument: &str) -> Option<&'static str> {
    table
        .inner()
        .get(argument)
        .filter(|value| !matches!(value, AMQPValue::LongString(_)))
        .map(type_name)
}

/// `x-consumer-timeout` in the arguments of a consumer of a quorum queue, in milliseconds.
///
/// # Errors
/// As for the queue argument.
pub fn consumer_timeout_ms(table: &FieldTable) -> Result<Option<u64>, ArgumentError> {
    let Some(value) = table.inner().get(CONSUMER_TIMEOUT) else {
        return Ok(None);
    };
    check_non_negative(value, table)
        .map_err(|fault| ArgumentError::new(CONSUMER_TIMEOUT, fault))?;
    Ok(integer_value(value).and_then(|value| u64::try_from(value).ok()))
}

/// `x-visibility-timeout` in the arguments of a consumer, in milliseconds.
///
/// # Errors
/// As for the queue argument.
pub fn visibility_timeout_ms(table: &FieldTable) -> Result<Option<u64>, ArgumentError> {
    let Some(value) = table.inner().get(VISIBILITY_TIMEOUT) else {
        return Ok(None);
    };
    check_expires(value, table).map_err(|fault| ArgumentError::new(VISIBILITY_TIMEOUT, fault))?;
    Ok(integer_value(value).and_then(|value| u64::try_from(value).ok()))
}
