//! The columns of each listing, and those that it shows by default. Their names are rabbitmqctl's.

use super::verbs::Verb;

/// The columns of one verb.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) all: &'static [&'static str],
    /// Shown when the command names none.
    pub(super) default: &'static [&'static str],
    /// Whether columns always have the order of `all`, in whatever order they were named.
    pub(super) fixed_order: bool,
}

impl Columns {
    /// The columns to show when the command names `named`.
    pub(super) fn choose(&self, named: &[String]) -> Vec<String> {
        if named.is_empty() {
            self.default
                .iter()
                .map(|&column| column.to_owned())
                .collect()
        } else if self.fixed_order {
            let named = |column: &&&str| named.iter().any(|name| name == **column);
            self.all
                .iter()
                .filter(named)
                .map(|&column| column.to_owned())
                .collect()
        } else {
            named.to_vec()
        }
    }
}

/// The columns of a verb; `None` if the verb takes none.
pub(super) fn of(verb: Verb) -> Option<&'static Columns> {
    let found = LISTINGS.iter().find(|(own, _)| *own == verb);
    found.map(|(_, columns)| *columns)
}

static LISTINGS: [(Verb, &Columns); 8] = [
    (Verb::ListQueues, &QUEUES),
    (Verb::ListExchanges, &EXCHANGES),
    (Verb::ListBindings, &BINDINGS),
    (Verb::ListConsumers, &CONSUMERS),
    (Verb::ListConnections, &CONNECTIONS),
    (Verb::ListChannels, &CHANNELS),
    (Verb::ListVhosts, &VHOSTS),
    (Verb::ListFeatureFlags, &FEATURE_FLAGS),
];

static QUEUES: Columns = Columns {
    all: &[
        "name",
        "durable",
        "auto_delete",
        "arguments",
        "policy",
        "operator_policy",
        "effective_policy_definition",
        "pid",
        "owner_pid",
        "exclusive",
        "exclusive_consumer_pid",
        "exclusive_consumer_tag",
        "messages_ready",
        "messages_unacknowledged",
        "messages",
        "message_bytes",
        "message_bytes_ready",
        "message_bytes_unacknowledged",
        "messages_delayed",
        "messages_rewindable",
        "message_bytes_rewindable",
        "messages_damaged",
        "memory",
        "consumers",
        "state",
        "type",
        "leader",
        "members",
        "online",
    ],
    default: &["name", "messages"],
    fixed_order: false,
};

static EXCHANGES: Columns = Columns {
    all: &[
        "name",
        "type",
        "durable",
        "auto_delete",
        "internal",
        "arguments",
        "policy",
    ],
    default: &["name", "type"],
    fixed_order: false,
};

static BINDINGS: Columns = Columns {
    all: &[
        "source_name",
        "source_kind",
        "destination_name",
        "destination_kind",
        "routing_key",
        "arguments",
    ],
    default: &[
        "source_name",
        "source_kind",
        "destination_name",
        "destination_kind",
        "routing_key",
        "arguments",
    ],
    fixed_order: false,
};

static CONSUMERS: Columns = Columns {
    all: &[
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "activity_status",
        "arguments",
    ],
    default: &[
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "arguments",
    ],
    fixed_order: true,
};

static CONNECTIONS: Columns = Columns {
    all: &[
        "pid",
        "name",
        "port",
        "host",
        "peer_port",
        "peer_host",
        "ssl",
        "ssl_protocol",
        "ssl_key_exchange",
        "ssl_cipher",
        "ssl_hash",
        "peer_cert_subject",
        "peer_cert_issuer",
        "peer_cert_validity",
        "state",
        "channels",
        "protocol",
        "auth_mechanism",
        "user",
        "vhost",
        "timeout",
        "frame_max",
        "channel_max",
        "client_properties",
        "connected_at",
        "recv_oct",
        "recv_cnt",
        "send_oct",
        "send_cnt",
        "send_pend",
    ],
    default: &["user", "peer_host", "peer_port", "state"],
    fixed_order: false,
};

static CHANNELS: Columns = Columns {
    all: &[
        "pid",
        "connection",
        "name",
        "number",
        "user",
        "vhost",
        "transactional",
        "confirm",
        "consumer_count",
        "messages_unacknowledged",
        "messages_uncommitted",
        "messages_unconfirmed",
        "prefetch_count",
    ],
    default: &["pid", "user", "consumer_count", "messages_unacknowledged"],
    fixed_order: false,
};

static VHOSTS: Columns = Columns {
    all: &[
        "name",
        "description",
        "tags",
        "default_queue_type",
        "tracing",
    ],
    default: &["name"],
    fixed_order: false,
};

static FEATURE_FLAGS: Columns = Columns {
    all: &[
        "name",
        "state",
        "stability",
        "provided_by",
        "desc",
        "doc_url",
    ],
    default: &["name", "state"],
    fixed_order: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_the_order_asked_for_unless_fixed() {
        let named = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(QUEUES.choose(&[]), ["name", "messages"]);
        assert_eq!(
            QUEUES.choose(&named(&["messages", "name"])),
            ["messages", "name"]
        );
        assert_eq!(
            CONSUMERS.choose(&named(&["arguments", "queue_name"])),
            ["queue_name", "arguments"]
        );
    }
}
