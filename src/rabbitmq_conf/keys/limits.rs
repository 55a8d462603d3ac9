//! Keys of frames, limits, alarms and definitions.

use crate::rabbitmq_conf::kind::Kind::{
    ByteSize, Bytes, File, Float, Infinite, Integer, MessageSize, Positive, Secret, Text, Truth,
    Words, ZeroIsMost,
};
use crate::rabbitmq_conf::row::Meaning::{Always, Refused, Sets, Without};
use crate::rabbitmq_conf::row::{Row, row};

const QUEUE_TYPES: &[(&str, &str)] = &[
    ("classic", "classic"),
    ("rabbit_classic_queue", "classic"),
    ("quorum", "quorum"),
    ("rabbit_quorum_queue", "quorum"),
    ("stream", "stream"),
    ("rabbit_stream_queue", "stream"),
];
const NO_LIMIT: &str = "there is no such limit; the limits of users and virtual hosts hold";
const NO_HTTPS: &str = "definitions are read from files only: download them before the start";
const MEASURED: &str = "resident memory is measured every 2.5 s";

pub(super) const ROWS: &[Row] = &[
    row("heartbeat", Integer, Sets("heartbeat")),
    row("frame_max", ByteSize, Sets("frame-max")),
    row(
        "initial_frame_max",
        ByteSize,
        Without("frames before the tuning may be as large as RabbitMQ's"),
    ),
    row("channel_max", ZeroIsMost(65535), Sets("channel-max")),
    row(
        "max_channels_per_connection",
        ZeroIsMost(65535),
        Sets("channel-max"),
    ),
    row("connection_max", Infinite, Sets("connection-max")),
    row("max_connections", Infinite, Sets("connection-max")),
    row("max_message_size", MessageSize, Sets("max-message-size")),
    row("consumer_timeout", Positive, Sets("consumer-timeout")),
    row(
        "consumer_disconnected_timeout",
        Positive,
        Without("consumers of other nodes do not exist"),
    ),
    row(
        "vm_memory_high_watermark.absolute",
        Bytes,
        Sets("memory-high-watermark"),
    ),
    row(
        "vm_memory_high_watermark.relative",
        Float,
        Sets("memory-high-watermark"),
    ),
    row(
        "vm_memory_high_watermark_paging_ratio",
        Float,
        Without("memory-budget bounds the messages in memory"),
    ),
    row(
        "vm_memory_calculation_strategy",
        Text,
        Always(&["rss"], MEASURED),
    ),
    row("memory_monitor_interval", Integer, Without(MEASURED)),
    row(
        "total_memory_available_override_value",
        Bytes,
        Without(
            "the cgroup's or the machine's memory counts; say vm_memory_high_watermark.absolute",
        ),
    ),
    row("disk_free_limit.absolute", Bytes, Sets("disk-free-limit")),
    row("disk_free_limit.relative", Float, Sets("disk-free-limit")),
    row(
        "channel_max_per_node",
        Infinite,
        Always(&["infinity"], NO_LIMIT),
    ),
    row(
        "consumer_max_per_channel",
        Infinite,
        Always(&["infinity"], NO_LIMIT),
    ),
    row(
        "channel_tx_message_max",
        Infinite,
        Without("a transaction is bounded by its bytes"),
    ),
    row(
        "ranch_connection_max",
        Infinite,
        Always(&["infinity"], "connection_max is the limit"),
    ),
    row("vhost_max", Infinite, Always(&["infinity"], NO_LIMIT)),
    row(
        "cluster_queue_limit",
        Infinite,
        Always(&["infinity"], NO_LIMIT),
    ),
    row(
        "cluster_exchange_limit",
        Infinite,
        Always(&["infinity"], NO_LIMIT),
    ),
    row("runtime_parameters.*", Text, Without(NO_LIMIT)),
    row(
        "session_max_per_connection",
        Integer,
        Without("AMQP 1.0 is not spoken"),
    ),
    row(
        "link_max_per_session",
        Integer,
        Without("AMQP 1.0 is not spoken"),
    ),
    row("cluster_name", Text, Sets("cluster-name")),
    row(
        "default_queue_type",
        Words(QUEUE_TYPES),
        Sets("default-queue-type"),
    ),
    row("product.name", Text, Sets("server-product")),
    row(
        "product.version",
        Text,
        Without("clients see Leveret's version"),
    ),
    row("load_definitions", File, Sets("load-definitions")),
    row("definitions.local.path", File, Sets("load-definitions")),
    row(
        "management.load_definitions",
        File,
        Sets("load-definitions"),
    ),
    row(
        "definitions.skip_if_unchanged",
        Truth,
        Sets("definitions-skip-if-unchanged"),
    ),
    row(
        "definitions.import_backend",
        Text,
        Refused(
            &[
                "local_filesystem",
                "rabbit_definitions_import_local_filesystem",
            ],
            NO_HTTPS,
        ),
    ),
    row("definitions.https.url", Text, Refused(&[], NO_HTTPS)),
    row(
        "definitions.hashing.algorithm",
        Text,
        Without("the whole contents of the definitions are compared"),
    ),
    row("definitions.tls.password", Secret, Without(NO_HTTPS)),
    row("definitions.tls.*", Text, Without(NO_HTTPS)),
];
