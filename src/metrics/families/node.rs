//! The process, what came and went, and totals.

use crate::broker::stats::Churn;
use crate::metrics::exposition::{Exposition, Kind};
use crate::metrics::family::{Family, Prefix, families};
use crate::metrics::query::Query;
use crate::views::{NodeView, ObjectTotals, Views};

/// The release of RabbitMQ whose metrics these are.
const COMPATIBLE_VERSION: &str = "4.2.0";

families! {
    CHURN: Churn, RabbitMq;
    Counter "connections_opened_total", "Connections opened", |n| n.connection_created;
    Counter "connections_closed_total", "Connections closed", |n| n.connection_closed;
    Counter "channels_opened_total", "Channels opened", |n| n.channel_created;
    Counter "channels_closed_total", "Channels closed", |n| n.channel_closed;
    Counter "queues_declared_total", "Declarations of queues, also of existing ones", |n| n.queue_declared;
    Counter "queues_created_total", "Queues created", |n| n.queue_created;
    Counter "queues_deleted_total", "Queues deleted", |n| n.queue_deleted;
}

families! {
    COARSE: NodeView, RabbitMq;
    Gauge "process_open_fds", "Open file descriptors", |n| n.fd_used.unwrap_or(0);
    Gauge "process_resident_memory_bytes", "Resident memory", |n| n.mem_used;
    Gauge "disk_space_available_bytes", "Free bytes on the disk", |n| n.disk_free.unwrap_or(0);
}

families! {
    LIMITS: NodeView, RabbitMq;
    Gauge "process_max_fds", "Limit of file descriptors", |n| n.fd_limit.unwrap_or(0);
    Gauge "resident_memory_limit_bytes", "Resident memory above which publishers are blocked", |n| n.mem_limit;
    Gauge "disk_space_available_limit_bytes", "Free bytes below which publishers are blocked",
        |n| n.disk_free_limit;
    Gauge "erlang_uptime_seconds", "Seconds since the start; RabbitMQ's name", |n| n.uptime.as_secs();
}

/// The path of a response, as RabbitMQ names it in a label.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) enum Endpoint {
    Aggregated,
    PerObject,
    Detailed,
    MemoryBreakdown,
}

impl Endpoint {
    fn as_str(self) -> &'static str {
        match self {
            Endpoint::Aggregated => "aggregated",
            Endpoint::PerObject => "per-object",
            Endpoint::Detailed => "detailed",
            Endpoint::MemoryBreakdown => "memory-breakdown",
        }
    }
}

/// Which broker this is. Dashboards join all other metrics with the second family.
pub(in crate::metrics) fn identity(views: &Views, endpoint: Endpoint, out: &mut Exposition) {
    let node = views.node();
    build(&node, out);
    let name = "rabbitmq_identity_info";
    out.family(name, Kind::Untyped, "Names of the node and its cluster");
    let cluster_id = views.broker().global_parameters().cluster_id();
    let names = [
        ("rabbitmq_node", &*node.name),
        ("rabbitmq_cluster", &views.broker().cluster_name()),
        ("rabbitmq_cluster_permanent_id", &cluster_id),
        ("rabbitmq_endpoint", endpoint.as_str()),
    ];
    out.sample(name, &names, 1);
}

fn build(node: &NodeView, out: &mut Exposition) {
    let name = "rabbitmq_build_info";
    out.family(name, Kind::Untyped, "Versions");
    let product = format!("leveret {}", node.version);
    let versions = [
        ("rabbitmq_version", COMPATIBLE_VERSION),
        ("prometheus_plugin_version", &node.version),
        ("prometheus_client_version", &node.version),
        ("erlang_version", "none"),
        ("product", &product),
    ];
    out.sample(name, &versions, 1);
}

/// A node that does not run the broker: it knows no name of a cluster.
pub(super) fn standby(node: &NodeView, out: &mut Exposition) {
    build(node, out);
    let name = "rabbitmq_identity_info";
    out.family(name, Kind::Untyped, "Names of the node and its cluster");
    out.sample(name, &[("rabbitmq_node", &node.name)], 1);
    write(COARSE, node, out, Prefix::Plain);
    write(LIMITS, node, out, Prefix::Plain);
}

pub(super) fn churn(views: &Views, out: &mut Exposition, prefix: Prefix) {
    write(CHURN, &views.broker().stats().churn(), out, prefix);
}

pub(super) fn coarse(views: &Views, out: &mut Exposition, prefix: Prefix) {
    write(COARSE, &views.node(), out, prefix);
}

pub(super) fn limits(views: &Views, out: &mut Exposition, prefix: Prefix) {
    write(LIMITS, &views.node(), out, prefix);
}

fn write<T>(families: &[Family<T>], numbers: &T, out: &mut Exposition, prefix: Prefix) {
    for family in families {
        let name = family.full_name(prefix);
        out.single(&name, family.kind, family.help, (family.value)(numbers));
    }
}

/// How many objects there are.
pub(super) fn totals(views: &Views, objects: &ObjectTotals, out: &mut Exposition) {
    let mut gauge = |name, help, value: u64| out.single(name, Kind::Gauge, help, value);
    gauge(
        "rabbitmq_connections",
        "Open connections",
        objects.connections as u64,
    );
    gauge(
        "rabbitmq_channels",
        "Open channels",
        objects.channels as u64,
    );
    gauge("rabbitmq_consumers", "Consumers", objects.consumers);
    gauge("rabbitmq_queues", "Queues", objects.queues as u64);
    let started = views.started_wall_secs();
    gauge(
        "process_start_time_seconds",
        "When the process was started, in Unix time",
        started,
    );
}

pub(super) fn alarms(views: &Views, out: &mut Exposition) {
    let raised = views.node().alarms;
    let mut alarm = |name, help, on| out.single(name, Kind::Untyped, help, u8::from(on));
    alarm(
        "rabbitmq_alarms_free_disk_space_watermark",
        "1 while the disk alarm blocks publishers",
        raised.disk,
    );
    alarm(
        "rabbitmq_alarms_memory_used_watermark",
        "1 while the memory alarm blocks publishers",
        raised.memory,
    );
    // Descriptors are divided before any is used, so they cannot run out.
    alarm(
        "rabbitmq_alarms_file_descriptor_limit",
        "Always 0: file descriptors do not run out",
        false,
    );
}

pub(super) fn vhosts(views: &Views, query: &Query, out: &mut Exposition) {
    let name = "rabbitmq_cluster_vhost_status";
    out.family(name, Kind::Gauge, "1 for each virtual host that runs");
    let vhosts = views.broker().vhost_list().into_iter();
    for vhost in vhosts.filter(|vhost| query.shows(vhost.name())) {
        out.sample(name, &[("vhost", vhost.name())], 1);
    }
}

/// What takes memory. Leveret has no processes of RabbitMQ's kinds, so the names are its own.
pub(in crate::metrics) fn memory(views: &Views, out: &mut Exposition) {
    identity(views, Endpoint::MemoryBreakdown, out);
    let node = views.node();
    let broker = views.broker();
    let messages = broker.budget().used();
    let pending = broker.committer().pending_bytes() as u64;
    let others = node.mem_used.saturating_sub(messages);
    let mut gauge = |name, help, value: u64| out.single(name, Kind::Gauge, help, value);
    gauge(
        "leveret_memory_resident_bytes",
        "Resident memory",
        node.mem_used,
    );
    gauge(
        "leveret_memory_messages_bytes",
        "Messages of all queues in memory",
        messages,
    );
    gauge(
        "leveret_memory_pending_bytes",
        "Messages on their way to the disk",
        pending,
    );
    gauge(
        "leveret_memory_other_bytes",
        "Everything but messages of queues",
        others,
    );
}
