//! Commands of RabbitMQ's tools that this broker does not have, with the reason; and those that do nothing in RabbitMQ 4
//! either, which succeed as there.

use super::exit_code::EX_UNAVAILABLE;
use super::invocation::CommandError;

/// One row of the table.
#[derive(Debug)]
pub(super) struct Absent {
    pub(super) name: &'static str,
    pub(super) answer: Answer,
    /// A sentence for the operator.
    pub(super) reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Fails.
    Refused,
    /// Succeeds and does nothing.
    NoOp,
}

/// Reasons that several commands share.
const ONE_NODE: &str =
    "Every node of a set holds the whole broker, and a majority of them decides.";
const NO_ERLANG: &str = "Leveret is no Erlang program.";
const NO_ENCRYPTED_VALUES: &str = "Leveret's configuration has no encrypted values; it reads secrets from the environment or from files.";
const NO_RAFT: &str =
    "Leveret's queues and definitions have one log, whose checkpoints need no operator.";
const NO_STREAM_PROTOCOL: &str =
    "Leveret speaks no stream protocol; 'list_consumers' shows AMQP consumers of streams.";
const NO_INTERCEPTORS: &str = "Leveret has no channel interceptors.";
const NO_PLUGINS: &str =
    "Leveret has no plugins; 'list' shows those of RabbitMQ whose function is built in.";
const DISK_WATCHED: &str = "Leveret always watches the free disk space.";
const DEPRECATED: &str =
    "This command is DEPRECATED and is a no-op. It will be removed in a future version.";
const NO_MIRRORING: &str = "Classic queue mirroring does not exist: no policy can enable it.";
const SYSTEM_TOOLS: &str = "Ask the system: ip address, ps, /proc.";

const fn refused(name: &'static str, reason: &'static str) -> Absent {
    Absent {
        name,
        answer: Answer::Refused,
        reason,
    }
}

const fn no_op(name: &'static str, reason: &'static str) -> Absent {
    Absent {
        name,
        answer: Answer::NoOp,
        reason,
    }
}

pub(super) const ABSENT: &[Absent] = &[
    refused("activate_free_disk_space_monitoring", DISK_WATCHED),
    refused("change_cluster_node_type", ONE_NODE),
    no_op(
        "check_if_cluster_has_classic_queue_mirroring_policy",
        NO_MIRRORING,
    ),
    no_op("check_if_node_is_mirror_sync_critical", DEPRECATED),
    refused("command_line_arguments", SYSTEM_TOOLS),
    refused(
        "consume_event_stream",
        "Leveret has no stream of events; 'log_tail_stream' shows what it logs.",
    ),
    refused("coordinator_status", NO_RAFT),
    refused("deactivate_free_disk_space_monitoring", DISK_WATCHED),
    refused("decode", NO_ENCRYPTED_VALUES),
    refused("decrypt_conf_value", NO_ENCRYPTED_VALUES),
    refused("directories", NO_PLUGINS),
    refused("disable", NO_PLUGINS),
    refused("encode", NO_ENCRYPTED_VALUES),
    refused("encrypt_conf_value", NO_ENCRYPTED_VALUES),
    refused("erlang_cookie_hash", NO_ERLANG),
    refused("erlang_cookie_sources", NO_ERLANG),
    refused("erlang_version", NO_ERLANG),
    refused("eval", NO_ERLANG),
    refused("eval_file", NO_ERLANG),
    refused("exec", NO_ERLANG),
    refused("force_checkpoint", NO_RAFT),
    refused(
        "force_reset",
        "To begin anew, stop the broker and move its data directory away.",
    ),
    refused("force_standalone_khepri_boot", ONE_NODE),
    refused("grow_to_count", ONE_NODE),
    refused("list_channel_interceptors", NO_INTERCEPTORS),
    refused("list_ciphers", NO_ENCRYPTED_VALUES),
    refused("list_hashes", NO_ENCRYPTED_VALUES),
    refused("list_network_interfaces", SYSTEM_TOOLS),
    no_op(
        "list_operator_policies_with_classic_queue_mirroring",
        NO_MIRRORING,
    ),
    no_op("list_policies_with_classic_queue_mirroring", NO_MIRRORING),
    refused("list_stream_connections", NO_STREAM_PROTOCOL),
    refused("list_stream_consumers", NO_STREAM_PROTOCOL),
    refused("list_stream_group_consumers", NO_STREAM_PROTOCOL),
    refused("list_stream_publishers", NO_STREAM_PROTOCOL),
    refused("list_stream_tracking", NO_STREAM_PROTOCOL),
    refused("maybe_stuck", NO_ERLANG),
    refused(
        "message_size_stats",
        "The metrics have it: rabbitmq_message_size_bytes.",
    ),
    refused("metadata_store_status", NO_RAFT),
    no_op("node_health_check", DEPRECATED),
    refused("observer", NO_ERLANG),
    refused(
        "peek",
        "The management page and its API show messages without taking them out.",
    ),
    refused("remote_shell", NO_ERLANG),
    no_op("remove_classic_queue_mirroring_from_policies", NO_MIRRORING),
    no_op("rename_cluster_node", DEPRECATED),
    refused(
        "reset",
        "To begin anew, stop the broker and move its data directory away.",
    ),
    refused("reset_offset", NO_STREAM_PROTOCOL),
    refused(
        "resolver_info",
        "Leveret resolves names as the system does: see /etc/hosts and /etc/resolv.conf.",
    ),
    refused(
        "rotate_logs",
        "Leveret logs to standard error; the service manager rotates the log.",
    ),
    refused("runtime_thread_stats", NO_ERLANG),
    refused("schema_info", NO_ERLANG),
    refused("set", NO_PLUGINS),
    refused("set_channel_interceptor_priorities", NO_INTERCEPTORS),
    no_op("update_cluster_nodes", DEPRECATED),
    refused(
        "wait",
        "Leveret writes no file with its process id; 'await_startup' waits until it serves clients.",
    ),
];

pub(super) fn find(name: &str) -> Option<&'static Absent> {
    ABSENT.iter().find(|absent| absent.name == name)
}

impl Absent {
    /// What the command comes to: text for standard output, or the refusal.
    pub(super) fn outcome(&self) -> Result<String, CommandError> {
        match self.answer {
            Answer::NoOp => Ok(self.reason.to_owned()),
            Answer::Refused => Err(CommandError {
                exit: EX_UNAVAILABLE,
                text: format!("Error: '{}' is not supported. {}", self.name, self.reason),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::verbs;

    #[test]
    fn a_command_is_either_there_or_absent_and_the_table_is_in_order() {
        for (before, after) in ABSENT.iter().zip(ABSENT.iter().skip(1)) {
            assert!(before.name < after.name, "{}", after.name);
        }
        for absent in ABSENT {
            assert!(verbs::find(absent.name).is_none(), "{}", absent.name);
        }
    }

    #[test]
    fn what_is_absent_says_why() {
        assert_eq!(
            find("node_health_check").unwrap().outcome(),
            Ok(DEPRECATED.to_owned())
        );
        let refusal = find("eval").unwrap().outcome().unwrap_err();
        assert_eq!(refusal.exit, EX_UNAVAILABLE);
        assert_eq!(
            refusal.text,
            "Error: 'eval' is not supported. Leveret is no Erlang program."
        );
    }
}
