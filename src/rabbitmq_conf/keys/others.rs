//! Keys of clusters, of Erlang, of queues' storage and of plugins.

use crate::rabbitmq_conf::kind::Kind::{Secret, Text, Truth};
use crate::rabbitmq_conf::row::Meaning::{Always, Without};
use crate::rabbitmq_conf::row::{Row, row};

const WHOLE: &str = "every node of a set holds the whole broker";
const OWN_SETS: &str = "a set of nodes is formed by --cluster-listen and --cluster-peers";
const NO_PARTITIONS: &str = "a set serves where a majority of its nodes is, always";
const SECRET: &str = "the nodes of a set share --cluster-secret";
const NO_ERLANG: &str = "there is no Erlang";
const STORE: &str = "the store has limits of its own";
const NO_MQTT: &str = "MQTT is not spoken";
const NO_STOMP: &str = "STOMP is not spoken";
const NO_STREAM: &str = "streams are served over AMQP 0-9-1 only";
const NO_FEDERATION: &str = "there is no federation";
const TYPES: &str = "all types are there";
const PERMITTED: &str = "the feature stays permitted";

pub(super) const ROWS: &[Row] = &[
    row("cluster_formation.etcd.password", Secret, Without(OWN_SETS)),
    row("cluster_formation.*", Text, Without(OWN_SETS)),
    row("cluster_partition_handling", Text, Without(NO_PARTITIONS)),
    row("cluster_partition_handling.*", Text, Without(NO_PARTITIONS)),
    row(
        "cluster_keepalive_interval",
        Text,
        Without("nodes say every --cluster-heartbeat that they are there"),
    ),
    row("cluster_tags.$", Text, Without("clients see no tags")),
    row("node_tags.$", Text, Without("clients see no tags")),
    row("nodename", Text, Without("the node's name is --node-name")),
    row("distributed_cookie", Secret, Without(SECRET)),
    row("distribution.*", Text, Without(WHOLE)),
    row("net_ticktime", Text, Without(WHOLE)),
    row("delegate_count", Text, Without(WHOLE)),
    row("queue_master_locator", Text, Without(WHOLE)),
    row("queue_leader_locator", Text, Without(WHOLE)),
    row("metadata_store.*", Text, Without(WHOLE)),
    row("mnesia_table_loading_retry_timeout", Text, Without(WHOLE)),
    row("mnesia_table_loading_retry_limit", Text, Without(WHOLE)),
    row("mirroring_sync_batch_size", Text, Without(WHOLE)),
    row("mirroring_sync_max_throughput", Text, Without(WHOLE)),
    row("prevent_startup_if_node_was_reset", Text, Without(WHOLE)),
    row(
        "vhost_restart_strategy",
        Text,
        Without("a virtual host does not stop by itself"),
    ),
    row(
        "quorum_queue.property_equivalence.relaxed_checks_on_redeclaration",
        Truth,
        Always(&["false"], "a redeclared queue is compared in full"),
    ),
    row("quorum_queue.*", Text, Without(STORE)),
    row("classic_queue.default_version", Text, Without(STORE)),
    row("raft.*", Text, Without(STORE)),
    row("message_store_shutdown_timeout", Text, Without(STORE)),
    row("queue_index_embed_msgs_below", Text, Without(STORE)),
    row(
        "deprecated_features.permit.$",
        Truth,
        Always(&["true"], PERMITTED),
    ),
    row("queue_types.*", Truth, Always(&["true"], TYPES)),
    row("exchange_types.*", Truth, Always(&["true"], TYPES)),
    row(
        "message_interceptors.*",
        Text,
        Without("messages are not changed on their way"),
    ),
    row(
        "channel_interceptor.*",
        Text,
        Without("messages are not changed on their way"),
    ),
    row("erlang.*", Text, Without(NO_ERLANG)),
    row("background_gc_enabled", Text, Without(NO_ERLANG)),
    row("background_gc_target_interval", Text, Without(NO_ERLANG)),
    row("hipe_compile", Text, Without(NO_ERLANG)),
    row("default_worker_pool_size", Text, Without(NO_ERLANG)),
    row("sysmon_handler.*", Text, Without(NO_ERLANG)),
    row(
        "motd_file",
        Text,
        Without("the log begins without a message of the day"),
    ),
    row(
        "amqp_client.*",
        Text,
        Without("shovels have the addresses and certificates that they are given"),
    ),
    row("amqp10_client.*", Text, Without("AMQP 1.0 is not spoken")),
    row(
        "shovel.*",
        Text,
        Without("shovels are parameters: see set_parameter"),
    ),
    row("federation.*", Text, Without(NO_FEDERATION)),
    row(
        "event_exchange.*",
        Text,
        Without("there is no amq.rabbitmq.event"),
    ),
    row(
        "tracing.password",
        Secret,
        Without("traces are not written to files"),
    ),
    row(
        "tracing.*",
        Text,
        Without("traces are not written to files"),
    ),
    row("aws.*", Text, Without("secrets of AWS are not read")),
    row("mqtt.*", Text, Without(NO_MQTT)),
    row("web_mqtt.*", Text, Without(NO_MQTT)),
    row("stomp.*", Text, Without(NO_STOMP)),
    row("web_stomp.*", Text, Without(NO_STOMP)),
    row("stream.*", Text, Without(NO_STREAM)),
];
