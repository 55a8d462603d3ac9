//! Queue arguments (`x-*`), parsed once: what a queue is told when it is declared, which values are refused and in
//! which words, and when two declarations mean the same. Pure; knows no queue and no reply code.
//!
//! Which arguments a type knows, the order of the checks and every text are RabbitMQ 4.0's, as it answers them.

use std::sync::{Arc, LazyLock};

use std::fmt;

use amq_protocol::types::{AMQPValue, FieldTable};
use serde::{Deserialize, Serialize};

use super::Name;
use super::stream::{AgeFault, age_ms};

/// The longest time to live or expiry: ten years of 365 days, in milliseconds.
const DURATION_MS_MAX: i64 = 315_360_000_000;
/// The highest `x-max-priority`.
const MAX_PRIORITY_MAX: i64 = 255;
/// How large a segment of a stream gets unless told otherwise, in bytes.
const SEGMENT_BYTES_DEFAULT: u64 = 500_000_000;
/// The largest `x-stream-max-segment-size-bytes`.
const SEGMENT_BYTES_MAX: i64 = 3_000_000_000;
/// The `x-stream-filter-size-bytes` that are taken.
const FILTER_BYTES: std::ops::RangeInclusive<i64> = 16..=255;
/// How often a quorum queue delivers a message before it gives it up, unless told otherwise.
const DELIVERY_LIMIT_DEFAULT: u32 = 20;

/// The argument that names a queue's type.
pub const QUEUE_TYPE: &str = "x-queue-type";
/// The argument that names a queue's dead letter exchange.
pub const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
/// The argument that says how long a message may stay unacked before it goes back to its place, in milliseconds.
pub const VISIBILITY_TIMEOUT: &str = "x-visibility-timeout";
/// The argument that says how often a quorum queue delivers a message at most; below zero is without end.
pub const DELIVERY_LIMIT: &str = "x-delivery-limit";
/// The argument that says for how long acked messages are kept and can be read again, in seconds.
pub const REWIND_SECONDS: &str = "x-rewind-seconds";
/// The argument that says how long a message is kept, in milliseconds.
pub const MESSAGE_TTL: &str = "x-message-ttl";
const DEAD_LETTER_ROUTING_KEY: &str = "x-dead-letter-routing-key";
const SEGMENT_SIZE: &str = "x-stream-max-segment-size-bytes";
const FILTER_SIZE: &str = "x-stream-filter-size-bytes";

/// What a classic queue knows, in the order in which declarations are compared.
const CLASSIC: &[&str] = &[
    "x-expires",
    MESSAGE_TTL,
    DEAD_LETTER_EXCHANGE,
    DEAD_LETTER_ROUTING_KEY,
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    QUEUE_TYPE,
    "x-queue-master-locator",
    "x-queue-leader-locator",
    VISIBILITY_TIMEOUT,
    REWIND_SECONDS,
];

/// What a quorum queue knows, in the order in which declarations are compared.
const QUORUM: &[&str] = &[
    DEAD_LETTER_EXCHANGE,
    DEAD_LETTER_ROUTING_KEY,
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    QUEUE_TYPE,
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    MESSAGE_TTL,
    "x-queue-leader-locator",
    VISIBILITY_TIMEOUT,
    REWIND_SECONDS,
];

/// What a stream knows, in the order in which declarations are compared. `x-stream-filter-size-bytes` is checked and
/// not compared, as in RabbitMQ; it is the size of an approximate index, where Leveret looks at the values themselves.
const STREAM: &[&str] = &[
    "x-max-length-bytes",
    QUEUE_TYPE,
    "x-max-age",
    SEGMENT_SIZE,
    "x-initial-cluster-size",
    "x-queue-leader-locator",
];

/// The types of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// `classic`.
    Classic,
    /// `quorum`.
    Quorum,
    /// `stream`.
    Stream,
}

impl QueueKind {
    /// All of them.
    pub const ALL: [QueueKind; 3] = [QueueKind::Classic, QueueKind::Quorum, QueueKind::Stream];

    /// The value of `x-queue-type`.
    pub fn as_str(self) -> &'static str {
        match self {
            QueueKind::Classic => "classic",
            QueueKind::Quorum => "quorum",
            QueueKind::Stream => "stream",
        }
    }

    /// The name by which RabbitMQ's texts call the type.
    pub fn long_name(self) -> &'static str {
        match self {
            QueueKind::Classic => "rabbit_classic_queue",
            QueueKind::Quorum => "rabbit_quorum_queue",
            QueueKind::Stream => "rabbit_stream_queue",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            QueueKind::Classic => CLASSIC,
            QueueKind::Quorum => QUORUM,
            QueueKind::Stream => STREAM,
        }
    }
}

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
            let others = CLASSIC.iter().chain(QUORUM).chain(STREAM);
            if let Some(name) = others.copied().find(|known| *known == name)
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
            delivery_limit: match (kind, integer("x-delivery-limit")) {
                (QueueKind::Classic | QueueKind::Stream, _) => None,
                (QueueKind::Quorum, None) => Some(DELIVERY_LIMIT_DEFAULT),
                (QueueKind::Quorum, Some(limit)) if limit < 0 => None,
                (QueueKind::Quorum, Some(limit)) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
            },
            consumer_timeout_ms: unsigned("x-consumer-timeout").filter(|timeout| *timeout > 0),
            visibility_timeout_ms: unsigned(VISIBILITY_TIMEOUT),
            retention_ms: None,
            max_age_ms: get("x-max-age")
                .and_then(bytes_value)
                .and_then(|age| age_ms(age).ok()),
            segment_bytes: unsigned(SEGMENT_SIZE).unwrap_or(SEGMENT_BYTES_DEFAULT),
            rewind_ms: unsigned(REWIND_SECONDS)
                .filter(|seconds| *seconds > 0)
                .map(|seconds| seconds.saturating_mul(1000)),
        }
    }
}

/// An argument that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError {
    /// Its name.
    pub argument: &'static str,
    /// What is wrong with it.
    pub fault: ArgumentFault,
}

impl ArgumentError {
    fn new(argument: &'static str, fault: ArgumentFault) -> ArgumentError {
        ArgumentError { argument, fault }
    }
}

/// What is wrong with an argument. Its text stands behind the name of the argument and of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentFault {
    /// An integer was expected; the type that came.
    NotInteger(&'static str),
    /// Another type was expected; the type that came.
    UnacceptableType(&'static str),
    /// Below zero.
    Negative(i64),
    /// Zero, where that means nothing.
    Zero(i64),
    /// A duration beyond ten years.
    TooLarge(i64),
    /// A priority beyond 255.
    MaxValueExceeded(i64),
    /// None of the known words; what came.
    Unsupported(&'static str, String),
    /// None of the known words, where RabbitMQ does not quote what came.
    Invalid(&'static str),
    /// A dead letter exchange whose name is no string; the type that came.
    ExchangeNameType(&'static str),
    /// An argument of another type of queue.
    NotForKind(QueueKind),
    /// What RabbitMQ stumbles over, and answers with an internal error.
    Senseless,
}

impl fmt::Display for ArgumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgumentFault::NotInteger(got) => write!(f, "\"expected integer, got {got}\""),
            ArgumentFault::UnacceptableType(got) => write!(f, "{{unacceptable_type,{got}}}"),
            ArgumentFault::Negative(value) => write!(f, "{{value_negative,{value}}}"),
            ArgumentFault::Zero(value) => write!(f, "{{value_zero,{value}}}"),
            ArgumentFault::TooLarge(value) => write!(f, "{{value_too_large,{value}}}"),
            ArgumentFault::MaxValueExceeded(value) => write!(f, "{{max_value_exceeded,{value}}}"),
            ArgumentFault::Unsupported(what, got) => write!(f, "\"unsupported {what} '{got}'\""),
            ArgumentFault::Invalid(word) => f.write_str(word),
            ArgumentFault::ExchangeNameType(got) => write!(f, "invalid type '{got}'"),
            ArgumentFault::NotForKind(kind) => write!(f, "of queue type {}", kind.long_name()),
            ArgumentFault::Senseless => f.write_str("senseless"),
        }
    }
}

/// A property of a declaration that the queue's type does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyRefused {
    /// It deletes itself.
    AutoDelete,
    /// It belongs to a connection.
    Exclusive,
    /// It is gone after a restart.
    NonDurable,
}

impl PropertyRefused {
    /// The word in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            PropertyRefused::AutoDelete => "auto-delete",
            PropertyRefused::Exclusive => "exclusive-owner",
            PropertyRefused::NonDurable => "non-durable",
        }
    }
}

/// A difference between what is and what was declared again, in the words of refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inequivalence {
    /// The argument or property.
    pub key: &'static str,
    /// What was declared now, quoted.
    pub received: String,
    /// What was declared first, quoted.
    pub current: String,
}

impl Inequivalence {
    /// A difference in a property that is always there.
    pub fn of_property(
        key: &'static str,
        current: impl fmt::Display,
        received: impl fmt::Display,
    ) -> Inequivalence {
        Inequivalence {
            key,
            received: format!("'{received}'"),
            current: format!("'{current}'"),
        }
    }
}

/// Compares one argument of two declarations.
pub fn inequivalence(
    key: &'static str,
    current: Option<&AMQPValue>,
    received: Option<&AMQPValue>,
) -> Option<Inequivalence> {
    let (current, received) = match (current, received) {
        (None, None) => return None,
        (Some(current), Some(received)) if same(current, received) => return None,
        (Some(current), Some(received)) => (
            format!("'{}'", plain(current)),
            format!("'{}'", plain(received)),
        ),
        (current, received) => (described(current), described(received)),
    };
    Some(Inequivalence {
        key,
        received,
        current,
    })
}

/// Whether two values are the same but for the width of integers or floats.
fn same(a: &AMQPValue, b: &AMQPValue) -> bool {
    match (integer_value(a), integer_value(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => match (float_value(a), float_value(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
        _ => false,
    }
}

fn described(value: Option<&AMQPValue>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!(
            "the value '{}' of type '{}'",
            plain(value),
            type_name(value)
        ),
    }
}

/// A value as texts quote it: strings as they are, the rest as [`term`].
fn plain(value: &AMQPValue) -> String {
    match bytes_value(value) {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => term(value),
    }
}

/// A value in the notation of RabbitMQ's texts.
pub fn term(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::Void => "undefined".to_owned(),
        AMQPValue::Float(value) => format!("{value:?}"),
        AMQPValue::Double(value) => format!("{value:?}"),
        AMQPValue::DecimalValue(value) => format!("{{{},{}}}", value.scale, value.value),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::ShortString(value) => format!("<<\"{value}\">>"),
        AMQPValue::LongString(_) | AMQPValue::ByteArray(_) => {
            let bytes = bytes_value(value).unwrap_or_default();
            if bytes.is_empty() {
                "<<>>".to_owned()
            } else {
                format!("<<\"{}\">>", String::from_utf8_lossy(bytes))
            }
        }
        AMQPValue::FieldArray(values) => {
            let items = values
                .as_slice()
                .iter()
                .map(|value| format!("{{{},{}}}", type_name(value), term(value)));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        AMQPValue::FieldTable(table) => {
            let items = table.into_iter().map(|(name, value)| {
                format!("{{<<\"{name}\">>,{},{}}}", type_name(value), term(value))
            });
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        AMQPValue::ShortShortInt(_)
        | AMQPValue::ShortShortUInt(_)
        | AMQPValue::ShortInt(_)
        | AMQPValue::ShortUInt(_)
        | AMQPValue::LongInt(_)
        | AMQPValue::LongUInt(_)
        | AMQPValue::LongLongInt(_) => integer_value(value).unwrap_or_default().to_string(),
    }
}

/// The name that texts give to a value's type on the wire.
pub fn type_name(value: &AMQPValue) -> &'static str {
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}

/// The value of an integer of any width.
pub fn integer_value(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortShortUInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortUInt(value) => Some(i64::from(*value)),
        AMQPValue::LongInt(value) => Some(i64::from(*value)),
        AMQPValue::LongUInt(value) => Some(i64::from(*value)),
        AMQPValue::LongLongInt(value) => Some(*value),
        AMQPValue::Boolean(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::ShortString(_)
        | AMQPValue::LongString(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    }
}

fn float_value(value: &AMQPValue) -> Option<f64> {
    match value {
        AMQPValue::Float(value) => Some(f64::from(*value)),
        AMQPValue::Double(value) => Some(*value),
        _ => None,
    }
}

fn bytes_value(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(value) => Some(value.as_bytes()),
        AMQPValue::ShortString(value) => Some(value.as_str().as_bytes()),
        AMQPValue::ByteArray(value) => Some(value.as_slice()),
        _ => None,
    }
}

/// The text of a string value; bytes that are not UTF-8 are replaced.
pub fn text_value(value: &AMQPValue) -> Option<Name> {
    match value {
        AMQPValue::LongString(value) => Some(String::from_utf8_lossy(value.as_bytes()).into()),
        AMQPValue::ShortString(value) => Some(value.as_str().into()),
        _ => None,
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

type Check = fn(&AMQPValue, &FieldTable) -> Result<(), ArgumentFault>;

/// The checks of values, in the order in which they are made.
const CHECKS: &[(&str, Check)] = &[
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
            &["drop-head", "reject-publish", "reject-publish-dlx"],
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
    // Not RabbitMQ's; a lease of no length at all would be none.
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

fn check_non_negative(value: &AMQPValue, _: &FieldTable) -> Result<(), ArgumentFault> {
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

fn check_expires(value: &AMQPValue, table: &FieldTable) -> Result<(), ArgumentFault> {
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
            Ok(_) => Ok(()),
            Err(AgeFault::Invalid) => Err(ArgumentFault::Invalid("invalid_max_age")),
            Err(AgeFault::NoNumber) => Err(ArgumentFault::Senseless),
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

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
