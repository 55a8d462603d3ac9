//! Queue arguments (`x-*`), parsed once: what a queue is told when it is declared, which values are refused and in
//! which words, and when two declarations mean the same. Pure; knows no queue and no reply code.
//!
//! Which arguments a type knows, the order of the checks and every text are RabbitMQ 4.0's, as it answers them.

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

use checks::{CHECKS, check_expires};
use kind::{DEAD_LETTER_ROUTING_KEY, FILTER_SIZE, SEGMENT_SIZE, known_argument};
use value::bytes_value;

pub use fault::{ArgumentError, ArgumentFault, PropertyRefused};
pub use inequivalence::{Inequivalence, inequivalence};
pub use kind::{
    DEAD_LETTER_EXCHANGE, DELIVERY_LIMIT, MESSAGE_TTL, QUEUE_TYPE, QueueKind, REWIND_SECONDS,
    VISIBILITY_TIMEOUT,
};
pub use value::{age_ms, integer_value, quoted_string, term, text_value, type_name};

/// How large a segment of a stream gets unless told otherwise, in bytes.
const SEGMENT_BYTES_DEFAULT: u64 = 500_000_000;
/// The largest `x-stream-max-segment-size-bytes`.
const SEGMENT_BYTES_MAX: i64 = 3_000_000_000;
/// The `x-stream-filter-size-bytes` that are taken.
const FILTER_BYTES: std::ops::RangeInclusive<i64> = 16..=255;
/// How often a quorum queue delivers a message before it gives it up, unless told otherwise.
const DELIVERY_LIMIT_DEFAULT: u32 = 20;

/// `x-overflow`: what happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The oldest message makes room.
    #[default]
    DropHead,
    /// The publish is refused.
    RejectPublish,
    /// The publish is refused, and the message dead-lettered.
    RejectPublishDlx,
}

/// What a queue was told when it was declared.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueArguments {
    /// As they were declared, with `x-queue-type` filled in.
    pub raw: FieldTable,
    /// `x-queue-type`.
    pub kind: QueueKind,
    /// `x-message-ttl` in milliseconds.
    pub message_ttl_ms: Option<u64>,
    /// `x-expires` in milliseconds, at least 1.
    pub expires_ms: Option<u64>,
    /// `x-max-length` in messages that wait.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes` in bytes of messages that wait; of a stream, in bytes that are kept.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`. On a quorum queue, reject-publish-dlx is taken as drop-head, as RabbitMQ does.
    pub overflow: Overflow,
    /// `x-dead-letter-exchange`; empty for the default exchange.
    pub dead_letter_exchange: Option<Name>,
    /// `x-dead-letter-routing-key`.
    pub dead_letter_routing_key: Option<Name>,
    /// `x-max-priority`.
    pub max_priority: Option<u8>,
    /// `x-single-active-consumer`.
    pub single_active_consumer: bool,
    /// `x-delivery-limit`: only quorum queues have one; `None` is no limit.
    pub delivery_limit: Option<u32>,
    /// `x-consumer-timeout` in milliseconds, if the queue has its own.
    pub consumer_timeout_ms: Option<u64>,
    /// `x-visibility-timeout` in milliseconds, at least 1; `None` is for ever.
    pub visibility_timeout_ms: Option<u64>,
    /// Age in milliseconds at which a message is dropped without being dead-lettered. No argument says so, only
    /// [`super::QueueOverrides`].
    pub retention_ms: Option<u64>,
    /// `x-max-age` in milliseconds: a stream drops segments that are older.
    pub max_age_ms: Option<u64>,
    /// `x-stream-max-segment-size-bytes`.
    pub segment_bytes: u64,
    /// `x-rewind-seconds` in milliseconds, at least 1,000; `None` keeps nothing that was acked.
    pub rewind_ms: Option<u64>,
}

impl Default for QueueArguments {
    fn default() -> Self {
        QueueArguments::read(QueueKind::Classic, &FieldTable::default())
    }
}

impl QueueArguments {
    /// As [`QueueArguments::parse`]; the many queues that are declared without arguments share one value.
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

    /// Checks arguments as a declaration of a new queue does, and reads them.
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
            if let Some(name) = known_argument(name)
                && !known.contains(&name)
            {
                return Err(ArgumentError::new(name, ArgumentFault::NotForKind(kind)));
            }
        }
        Ok(QueueArguments::read(kind, table))
    }

    /// The type that `raw` asks for, and what a declaration with these properties must not say of it.
    /// `durable` is what the queue would be: an exclusive queue is not.
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

    /// The sizes that a new stream is given, which RabbitMQ looks at last. The error is the text.
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

    /// The first argument in which a declaration with `table` means something else than this queue, which then
    /// is refused. Only the arguments that this queue's type knows are looked at; integers of all widths are alike.
    pub fn inequivalent(&self, table: &FieldTable) -> Option<Inequivalence> {
        let classic = AMQPValue::LongString(QueueKind::Classic.as_str().into());
        self.kind.arguments().iter().find_map(|name| {
            let current = self.raw.inner().get(*name);
            let received = match table.inner().get(*name) {
                // Absent means classic; so does `undefined`, which is how RabbitMQ writes "the default".
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

    /// Reads arguments that have been checked, or that an earlier run checked and stored. A value that makes no
    /// sense is none.
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
            consumer_timeout_ms: unsigned("x-consumer-timeout").filter(|timeout| *timeout > 0),
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

/// The type that `table` asks for; classic unless it says otherwise.
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

/// The type, if any, of a `x-dead-letter-exchange` or `alternate-exchange` that is no string. RabbitMQ looks at it
/// before all other checks of a new queue or exchange.
pub fn exchange_name_fault(table: &FieldTable, argument: &str) -> Option<&'static str> {
    table
        .inner()
        .get(argument)
        .filter(|value| !matches!(value, AMQPValue::LongString(_)))
        .map(type_name)
}

/// `x-visibility-timeout` among the arguments of a consumer, in milliseconds.
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
