//! Feature flags and deprecated features of RabbitMQ: which of them this broker has.

use crate::broker::broker::Broker;

/// RabbitMQ's flags for what this broker does, with what that is.
pub const FEATURE_FLAGS: &[(&str, &str)] = &[
    (
        "detailed_queues_endpoint",
        "The path of the API for queues in detail",
    ),
    (
        "drop_unroutable_metric",
        "Counts messages that no queue takes",
    ),
    ("empty_basic_get_metric", "Counts fetches from empty queues"),
    (
        "implicit_default_bindings",
        "Bindings of the default exchange follow from the queues",
    ),
    ("quorum_queue", "Queues of type quorum"),
    ("stream_filtering", "Consumers that filter streams"),
    ("stream_queue", "Queues of type stream"),
    (
        "user_limits",
        "Limits of the connections and channels of a user",
    ),
    (
        "virtual_host_metadata",
        "Descriptions, tags and default types of virtual hosts",
    ),
];

/// What RabbitMQ means to remove, or has removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeprecatedFeature {
    GlobalQos,
    TransientQueues,
    Mirroring,
    RamNodes,
}

impl DeprecatedFeature {
    pub const ALL: [DeprecatedFeature; 4] = [
        DeprecatedFeature::GlobalQos,
        DeprecatedFeature::TransientQueues,
        DeprecatedFeature::Mirroring,
        DeprecatedFeature::RamNodes,
    ];

    /// RabbitMQ's name.
    pub fn as_str(self) -> &'static str {
        match self {
            DeprecatedFeature::GlobalQos => "global_qos",
            DeprecatedFeature::TransientQueues => "transient_nonexcl_queues",
            DeprecatedFeature::Mirroring => "classic_queue_mirroring",
            DeprecatedFeature::RamNodes => "ram_node_type",
        }
    }

    /// Whether something uses it now.
    pub fn is_used(self, broker: &Broker) -> bool {
        match self {
            DeprecatedFeature::TransientQueues => {
                let vhosts = broker.vhost_list();
                vhosts.iter().any(|vhost| {
                    let queues = vhost.queues();
                    queues.iter().any(|queue| {
                        let spec = queue.spec();
                        !spec.durable && spec.exclusive_owner.is_none()
                    })
                })
            }
            // Whether a channel uses a prefetch for all its consumers, RabbitMQ does not tell either.
            DeprecatedFeature::GlobalQos
            | DeprecatedFeature::Mirroring
            | DeprecatedFeature::RamNodes => false,
        }
    }

    /// `permitted` if this broker has it, or else `denied`.
    pub fn state(self) -> &'static str {
        match self {
            DeprecatedFeature::GlobalQos | DeprecatedFeature::TransientQueues => "permitted",
            DeprecatedFeature::Mirroring | DeprecatedFeature::RamNodes => "denied",
        }
    }

    pub fn phase(self) -> &'static str {
        match self {
            DeprecatedFeature::GlobalQos | DeprecatedFeature::TransientQueues => {
                "permitted_by_default"
            }
            DeprecatedFeature::Mirroring | DeprecatedFeature::RamNodes => "removed",
        }
    }
}
