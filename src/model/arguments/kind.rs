//! Queue types, and the arguments that each of them knows.

/// The argument that sets a queue's type.
pub const QUEUE_TYPE: &str = "x-queue-type";
/// The argument that names a queue's dead letter exchange.
pub const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
/// The argument that limits the time that a message may stay unacked before it returns, in milliseconds.
pub const VISIBILITY_TIMEOUT: &str = "x-visibility-timeout";
/// The argument that limits the deliveries of a message in a quorum queue; a negative value means no limit.
pub const DELIVERY_LIMIT: &str = "x-delivery-limit";
/// The argument that sets how long a rewind can bring back acked messages, in seconds.
pub const REWIND_SECONDS: &str = "x-rewind-seconds";
/// The argument that limits the time of a message in a queue, in milliseconds.
pub const MESSAGE_TTL: &str = "x-message-ttl";
/// The argument that limits the time that a message may stay unacked, in milliseconds; also of a consumer.
pub const CONSUMER_TIMEOUT: &str = "x-consumer-timeout";
/// The argument that sets how long RabbitMQ waits for a consumer whose node is unreachable. There is one node
/// here, so it has no effect.
pub(super) const CONSUMER_DISCONNECTED_TIMEOUT: &str = "x-consumer-disconnected-timeout";
/// The arguments that let returned messages of a quorum queue wait before their next delivery.
pub(super) const DELAYED_RETRY_TYPE: &str = "x-delayed-retry-type";
pub(super) const DELAYED_RETRY_MIN: &str = "x-delayed-retry-min";
pub(super) const DELAYED_RETRY_MAX: &str = "x-delayed-retry-max";
pub(super) const DEAD_LETTER_ROUTING_KEY: &str = "x-dead-letter-routing-key";
pub(super) const SEGMENT_SIZE: &str = "x-stream-max-segment-size-bytes";
pub(super) const FILTER_SIZE: &str = "x-stream-filter-size-bytes";

/// Arguments of a classic queue, in the order of comparison.
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

/// Arguments of a quorum queue, in the order of comparison.
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
    DELIVERY_LIMIT,
    MESSAGE_TTL,
    "x-queue-leader-locator",
    CONSUMER_DISCONNECTED_TIMEOUT,
    CONSUMER_TIMEOUT,
    DELAYED_RETRY_TYPE,
    DELAYED_RETRY_MIN,
    DELAYED_RETRY_MAX,
    VISIBILITY_TIMEOUT,
    REWIND_SECONDS,
];

/// Arguments of a stream, in the order of comparison. As in RabbitMQ, `x-stream-filter-size-bytes` is checked
/// but not compared. It sizes RabbitMQ's approximate index; Leveret compares the filter values themselves.
const STREAM: &[&str] = &[
    "x-max-length-bytes",
    QUEUE_TYPE,
    "x-max-age",
    SEGMENT_SIZE,
    "x-initial-cluster-size",
    "x-queue-leader-locator",
];

/// Queue types.
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
    pub const ALL: [QueueKind; 3] = [QueueKind::Classic, QueueKind::Quorum, QueueKind::Stream];

    /// The value of `x-queue-type`.
    pub fn as_str(self) -> &'static str {
        match self {
            QueueKind::Classic => "classic",
            QueueKind::Quorum => "quorum",
            QueueKind::Stream => "stream",
        }
    }

    /// The type's name in RabbitMQ's texts.
    pub fn long_name(self) -> &'static str {
        match self {
            QueueKind::Classic => "rabbit_classic_queue",
            QueueKind::Quorum => "rabbit_quorum_queue",
            QueueKind::Stream => "rabbit_stream_queue",
        }
    }

    /// The arguments that the type knows, in the order of comparison.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        match self {
            QueueKind::Classic => CLASSIC,
            QueueKind::Quorum => QUORUM,
            QueueKind::Stream => STREAM,
        }
    }
}

/// The constant for `name`, if a queue type knows that argument and the others refuse it. No type refuses
/// `x-consumer-timeout`: RabbitMQ 4.0 obeys it on classic queues, too, so declarations name it.
pub(super) fn refusable_argument(name: &str) -> Option<&'static str> {
    let all = QueueKind::ALL.into_iter().flat_map(QueueKind::arguments);
    all.copied()
        .find(|known| *known == name && *known != CONSUMER_TIMEOUT)
}
