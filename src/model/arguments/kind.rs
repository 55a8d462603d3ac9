//! The types of queue, and the arguments that each of them knows.

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
pub(super) const DEAD_LETTER_ROUTING_KEY: &str = "x-dead-letter-routing-key";
pub(super) const SEGMENT_SIZE: &str = "x-stream-max-segment-size-bytes";
pub(super) const FILTER_SIZE: &str = "x-stream-filter-size-bytes";

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
    DELIVERY_LIMIT,
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

    /// The arguments that the type knows, in the order in which declarations are compared.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        match self {
            QueueKind::Classic => CLASSIC,
            QueueKind::Quorum => QUORUM,
            QueueKind::Stream => STREAM,
        }
    }
}

/// Whether some type knows the argument; its name as a constant.
pub(super) fn known_argument(name: &str) -> Option<&'static str> {
    let all = QueueKind::ALL.into_iter().flat_map(QueueKind::arguments);
    all.copied().find(|known| *known == name)
}
