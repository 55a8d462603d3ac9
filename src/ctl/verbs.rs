//! The table of verbs: one row each, with its arguments and options. They are rabbitmqctl's, so that scripts written for it
//! run unchanged.

use serde::{Deserialize, Serialize};

use super::absent::ABSENT;
use crate::nearest::nearest;

/// Makes [`Verb`] and [`VERBS`] from the rows.
macro_rules! verbs {
    ($($group:literal: { $($verb:ident $name:literal ($min:literal..=$max:expr) [$($option:literal),*] $usage:literal $about:literal;)+ })+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(super) enum Verb {
            $($(#[doc = $about] #[serde(rename = $name)] $verb,)+)+
        }

        /// All verbs, by group.
        pub(super) const VERBS: &[VerbSpec] = &[$($(VerbSpec {
            verb: Verb::$verb,
            name: $name,
            group: $group,
            min: $min,
            max: $max,
            options: &[$($option),*],
            usage: $usage,
            about: $about,
        }),+),+];
    };
}

impl Verb {
    /// Whether the process ends after the reply.
    pub(super) fn ends_the_process(self) -> bool {
        matches!(self, Verb::Stop | Verb::Shutdown)
    }

    /// Whether it ends when its client leaves. Others are not cut short.
    pub(super) fn ends_with_its_client(self) -> bool {
        matches!(self, Verb::Fsck)
    }

    /// Whether it tells its progress in bytes.
    pub(super) fn counts_bytes(self) -> bool {
        matches!(self, Verb::Fsck)
    }

    /// Whether its table has borders unless another format is asked for, as in RabbitMQ.
    pub(super) fn is_pretty(self) -> bool {
        matches!(
            self,
            Verb::ListDeprecatedFeatures
                | Verb::ListPoliciesThatMatch
                | Verb::QuorumStatus
                | Verb::Rebalance
                | Verb::StreamStatus
        )
    }
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct VerbSpec {
    pub(super) verb: Verb,
    pub(super) name: &'static str,
    /// The heading in the list of all verbs.
    pub(super) group: &'static str,
    /// Fewest arguments.
    pub(super) min: usize,
    /// Most arguments.
    pub(super) max: usize,
    /// The verb's own options. Every verb takes the global ones as well.
    pub(super) options: &'static [&'static str],
    /// Arguments and options as `Usage` shows them.
    pub(super) usage: &'static str,
    pub(super) about: &'static str,
}

/// Commands that need no broker, or are made of other commands.
pub(super) const LOCAL: &[(&str, &str)] = &[
    ("autocomplete", "Lists the commands whose names begin so"),
    ("help", "Shows the commands, or one of them"),
    (
        "report",
        "Prints status, settings and all listings, for support",
    ),
    ("version", "Shows the version of leveret"),
];

/// Maximum number of columns or tags.
const MANY: usize = 256;

verbs! {
    "Nodes": {
        AwaitStartup "await_startup" (0..=0) [] "" "Waits for the broker to serve clients";
        StartApp "start_app" (0..=0) [] "" "Accepts clients again after stop_app";
        ResumeListeners "resume_listeners" (0..=0) [] "" "Takes connections of clients again";
        SuspendListeners "suspend_listeners" (0..=0) [] "" "Takes no further connections, at any port; those that are open stay";
        Stop "stop" (0..=1) [] "" "Stops the broker in good order";
        StopApp "stop_app" (0..=0) [] "" "Closes listeners and connections; the process keeps running";
        Shutdown "shutdown" (0..=0) [] "" "Stops the broker in good order";
    }
    "Cluster": {
        AddMember "add_member" (2..=2) ["vhost", "membership"] "[--vhost <vhost>] <queue> <node>" "Adds a replica of a quorum queue on a node; this node has it already";
        AddReplica "add_replica" (2..=2) ["vhost"] "[--vhost <vhost>] <stream> <node>" "Adds a replica of a stream on a node; this node has it already";
        AddSuperStream "add_super_stream" (1..=1) ["vhost", "partitions", "binding-keys", "routing-keys", "max-length-bytes", "max-age", "stream-max-segment-size-bytes", "leader-locator", "initial-cluster-size"] "<name> [--vhost <vhost>] [--partitions <partitions>] [--binding-keys <binding-keys>] [--max-length-bytes <bytes>] [--max-age <duration>] [--stream-max-segment-size-bytes <bytes>]" "Adds a super stream: an exchange, and a stream for each partition";
        DeleteSuperStream "delete_super_stream" (1..=1) ["vhost"] "<name> [--vhost <vhost>]" "Deletes a super stream with its partitions";
        AwaitOnlineNodes "await_online_nodes" (1..=1) [] "<count>" "Waits until so many nodes of the set are there, for five minutes";
        ClusterStatus "cluster_status" (0..=0) [] "" "Displays the nodes of the cluster, who leads, and what is missing";
        DeleteMember "delete_member" (2..=2) ["vhost"] "[--vhost <vhost>] <queue> <node>" "Removes a replica of a quorum queue; the last one stays";
        DeleteReplica "delete_replica" (2..=2) ["vhost"] "[--vhost <vhost>] <stream> <node>" "Removes a replica of a stream; the last one stays";
        DiscoverPeers "discover_peers" (0..=0) [] "" "Lists the nodes of the set";
        ForceBoot "force_boot" (0..=0) ["yes"] "[--yes]" "Gives up the other nodes of the set, which are lost for good: this node goes on alone";
        ForgetClusterNode "forget_cluster_node" (1..=1) [] "<node>" "Removes a node that is gone from the set, for good";
        Grow "grow" (2..=2) ["vhost-pattern", "queue-pattern", "membership", "errors-only"] "<node> <all | even>" "Adds replicas of all quorum queues on a node; this node has them already";
        JoinCluster "join_cluster" (1..=1) [] "<node | host:port>" "Makes this node a member of the set that a node belongs to";
        Rebalance "rebalance" (1..=1) ["vhost-pattern", "queue-pattern"] "<all | classic | quorum | stream>" "Spreads leaders over the nodes, and shows how many each has";
        RestartStream "restart_stream" (1..=1) ["vhost"] "[--vhost <vhost>] <stream>" "Chooses the writer of a stream anew: this node";
        Shrink "shrink" (1..=1) ["errors-only"] "<node>" "Removes replicas of all quorum queues from a node; the last ones stay";
        TransferLeadership "transfer_leadership" (0..=2) ["vhost"] "[<node>] | [--vhost <vhost>] <queue> <node>" "Makes a node the leader of the set: the given one, or the one that is furthest";
    }
    "Users": {
        AddUser "add_user" (1..=2) ["pre-hashed-password"] "<username> [<password>] [<password_hash> --pre-hashed-password]" "Creates a new user, without permissions for any virtual host";
        AuthenticateUser "authenticate_user" (1..=2) [] "<username> [<password>]" "Attempts to authenticate a user. Exits with a non-zero code if authentication fails.";
        ChangePassword "change_password" (1..=2) [] "<username> [<password>]" "Changes the user password";
        ClearPassword "clear_password" (1..=1) [] "<username>" "Clears the password and disables password login for a user";
        AddSecretKey "add_secret_key" (1..=3) ["vhost"] "[--vhost <vhost>] <username> [<secret_id> [<secret_key>]]" "Creates a key that signs CMQ requests as a user in a vhost; made up and shown unless given";
        ClearUserLimits "clear_user_limits" (2..=2) [] "<username> <limit_type> | all" "Clears user connection/channel limits";
        DeleteSecretKey "delete_secret_key" (1..=1) [] "<secret_id>" "Removes a key that signs CMQ requests";
        DeleteUser "delete_user" (1..=1) [] "<username>" "Removes a user";
        ListSecretKeys "list_secret_keys" (0..=1) [] "[--no-table-headers] [<username>]" "Lists the keys that sign CMQ requests, without the secrets";
        ListUserLimits "list_user_limits" (0..=0) ["user", "global"] "[--user <username>] [--global]" "Displays configured user limits";
        ListUsers "list_users" (0..=0) [] "[--no-table-headers]" "List user names and tags";
        SetUserLimits "set_user_limits" (2..=2) [] "<username> <definition>" "Sets user limits";
        SetUserTags "set_user_tags" (1..=MANY) [] "<username> <tag> [...]" "Sets user tags";
    }
    "Access Control": {
        ClearPermissions "clear_permissions" (1..=1) ["vhost"] "[--vhost <vhost>] <username>" "Revokes user permissions for a vhost";
        ClearTopicPermissions "clear_topic_permissions" (1..=2) ["vhost"] "[--vhost <vhost>] <username> [<exchange>]" "Clears user topic permissions for a vhost or exchange";
        ListPermissions "list_permissions" (0..=0) ["vhost"] "[--vhost <vhost>] [--no-table-headers]" "Lists user permissions in a virtual host";
        ListTopicPermissions "list_topic_permissions" (0..=0) ["vhost"] "[--vhost <vhost>] [--no-table-headers]" "Lists topic permissions in a virtual host";
        ListUserPermissions "list_user_permissions" (1..=1) [] "[--no-table-headers] <username>" "Lists permissions of a user across all virtual hosts";
        ListUserTopicPermissions "list_user_topic_permissions" (1..=1) [] "[--no-table-headers] <username>" "Lists user topic permissions";
        ListVhosts "list_vhosts" (0..=MANY) [] "[--no-table-headers] [<column> ...]" "Lists virtual hosts";
        SetPermissions "set_permissions" (4..=4) ["vhost"] "[--vhost <vhost>] <username> <conf> <write> <read>" "Sets user permissions for a vhost";
        SetPermissionsGlobally "set_permissions_globally" (4..=4) [] "<username> <conf> <write> <read>" "Sets user permissions for all virtual hosts.";
        SetTopicPermissions "set_topic_permissions" (4..=4) ["vhost"] "[--vhost <vhost>] <username> <exchange> <write> <read>" "Sets user topic permissions for an exchange";
    }
    "Monitoring, observability and health checks": {
        ListBindings "list_bindings" (0..=MANY) ["vhost"] "[--vhost <vhost>] [--no-table-headers] [<column> ...]" "Lists all bindings on a vhost";
        ListChannels "list_channels" (0..=MANY) [] "[--no-table-headers] [<column> ...]" "Lists all channels in the node";
        ListConnections "list_connections" (0..=MANY) [] "[--no-table-headers] [<column> ...]" "Lists AMQP 0.9.1 connections for the node";
        ListConsumers "list_consumers" (0..=MANY) ["vhost"] "[--vhost <vhost>] [--no-table-headers] [<column> ...]" "Lists all consumers for a vhost";
        ListExchanges "list_exchanges" (0..=MANY) ["vhost"] "[--vhost <vhost>] [--no-table-headers] [<column> ...]" "Lists exchanges";
        ListQueues "list_queues" (0..=MANY) ["vhost", "online", "offline", "local"] "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...]" "Lists queues and their properties";
        Ping "ping" (0..=0) [] "" "Checks that the broker's process is up and answers";
        Status "status" (0..=0) [] "" "Displays status of the broker";
        Alarms "alarms" (0..=0) [] "" "Lists resource alarms that are on";
        CheckAlarms "check_alarms" (0..=0) [] "" "Fails if a resource alarm is on";
        CheckCertificateExpiration "check_certificate_expiration" (0..=0) ["within", "unit"] "[--within <count>] [--unit <days | weeks | months | years>]" "Fails if a certificate ends soon";
        CheckForQuorumQueuesWithoutAnElectedLeader "check_for_quorum_queues_without_an_elected_leader" (1..=1) ["vhost", "across-all-vhosts"] "[--vhost <vhost>] [--across-all-vhosts] <pattern>" "Fails if a quorum queue has no leader; on one node each has";
        CheckIfAnyDeprecatedFeaturesAreUsed "check_if_any_deprecated_features_are_used" (0..=0) [] "" "Lists deprecated features in use";
        CheckIfMetadataStoreIsInitialized "check_if_metadata_store_is_initialized" (0..=0) [] "" "Fails if the definitions are not read yet";
        CheckIfMetadataStoreIsInitializedWithData "check_if_metadata_store_is_initialized_with_data" (0..=0) [] "" "Fails if there is no virtual host or no user";
        CheckIfNewQuorumQueueReplicasHaveFinishedInitialSync "check_if_new_quorum_queue_replicas_have_finished_initial_sync" (0..=0) [] "" "Fails if a replica has not caught up; on one node none is behind";
        CheckIfNodeIsQuorumCritical "check_if_node_is_quorum_critical" (0..=0) [] "" "Fails if the set would lose its majority without this node; does not apply to one node";
        CheckLocalAlarms "check_local_alarms" (0..=0) [] "" "Fails if a resource alarm is on";
        CheckPortConnectivity "check_port_connectivity" (0..=0) ["address"] "[--address <address>]" "Fails if the broker cannot connect to one of its own listeners";
        CheckPortListener "check_port_listener" (1..=1) [] "<port>" "Fails if nothing listens on the port";
        CheckProtocolListener "check_protocol_listener" (1..=1) [] "<protocol>" "Fails if nothing listens for the protocol";
        CheckRunning "check_running" (0..=0) [] "" "Fails if the broker does not serve clients";
        CheckVirtualHosts "check_virtual_hosts" (0..=0) [] "" "Fails if a virtual host does not run";
        CipherSuites "cipher_suites" (0..=0) ["format", "all"] "[--format <openssl | iana>] [--all]" "Lists the cipher suites of TLS";
        Fsck "fsck" (0..=0) [] "" "Reads all that is on the disk, and fails if something is damaged";
        IsBooting "is_booting" (0..=0) [] "" "Tells whether the broker is still starting";
        IsRunning "is_running" (0..=0) [] "" "Tells whether the broker serves clients";
        ListNodeAuthAttemptStats "list_node_auth_attempt_stats" (0..=0) ["by-source"] "[--by-source]" "Lists how many logins there were, by protocol, or by address and user";
        ListUnresponsiveQueues "list_unresponsive_queues" (0..=0) ["vhost", "queue-timeout", "local", "all"] "[--vhost <vhost>] [--queue-timeout <milliseconds>]" "Lists queues that do not answer in time";
        Listeners "listeners" (0..=0) [] "" "Lists listeners: interface, port, protocol";
        LogLocation "log_location" (0..=0) ["all"] "[--all]" "Shows where the log goes";
        LogTail "log_tail" (0..=0) ["number"] "[--number|-N <count>]" "Prints the last lines of the log";
        LogTailStream "log_tail_stream" (0..=0) ["duration"] "[--duration|-d <seconds>]" "Prints further lines of the log as they come";
        MemoryBreakdown "memory_breakdown" (0..=0) ["unit"] "[--unit <bytes | mb | gb>]" "Shows what memory is used for";
        QuorumStatus "quorum_status" (1..=1) ["vhost"] "[--vhost <vhost>] <queue>" "Displays the replicas of a quorum queue: one";
        ResolveHostname "resolve_hostname" (1..=1) ["address-family"] "<hostname> [--address-family <ipv4 | ipv6>]" "Resolves a hostname on the broker's machine";
        ServerVersion "server_version" (0..=0) [] "" "Displays the broker's version";
        StreamStatus "stream_status" (1..=1) ["vhost", "tracking"] "[--vhost <vhost>] [--tracking] <stream>" "Displays the replicas of a stream: one";
        TraceOff "trace_off" (0..=0) ["vhost"] "[--vhost <vhost>]" "Stops copying a virtual host's messages to the exchange amq.rabbitmq.trace";
        TraceOn "trace_on" (0..=0) ["vhost"] "[--vhost <vhost>]" "Copies a virtual host's publishes and deliveries to the exchange amq.rabbitmq.trace";
        TlsVersions "tls_versions" (0..=0) [] "" "Lists the versions of TLS";
    }
    "Parameters": {
        ClearGlobalParameter "clear_global_parameter" (1..=1) [] "<name>" "Clears a global runtime parameter";
        ClearParameter "clear_parameter" (2..=2) ["vhost"] "[--vhost <vhost>] <component_name> <name>" "Clears a runtime parameter.";
        ListGlobalParameters "list_global_parameters" (0..=0) [] "[--no-table-headers]" "Lists global runtime parameters";
        DeleteShovel "delete_shovel" (1..=1) ["vhost", "force"] "[--vhost <vhost>] [--force] <name>" "Deletes a shovel";
        RestartShovel "restart_shovel" (1..=1) ["vhost"] "[--vhost <vhost>] <name>" "Restarts a shovel";
        ShovelStatus "shovel_status" (0..=0) [] "[--no-table-headers]" "Displays the status of shovels";
        ListParameters "list_parameters" (0..=0) ["vhost"] "[--vhost <vhost>] [--no-table-headers]" "Lists runtime parameters for a virtual host";
        SetGlobalParameter "set_global_parameter" (2..=2) [] "<name> <value>" "Sets a runtime parameter.";
        SetParameter "set_parameter" (3..=3) ["vhost"] "[--vhost <vhost>] <component_name> <name> <value>" "Sets a runtime parameter.";
    }
    "Policies": {
        ClearOperatorPolicy "clear_operator_policy" (1..=1) ["vhost"] "[--vhost <vhost>] <name>" "Clears an operator policy";
        ClearPolicy "clear_policy" (1..=1) ["vhost"] "[--vhost <vhost>] <name>" "Clears (removes) a policy";
        ListOperatorPolicies "list_operator_policies" (0..=0) ["vhost"] "[--vhost <vhost>] [--no-table-headers]" "Lists operator policy overrides for a virtual host";
        ListPolicies "list_policies" (0..=0) ["vhost"] "[--vhost <vhost>] [--no-table-headers]" "Lists all policies in a virtual host";
        SetOperatorPolicy "set_operator_policy" (3..=3) ["vhost", "priority", "apply-to"] "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>" "Sets an operator policy that overrides a subset of arguments in user policies";
        SetPolicy "set_policy" (3..=3) ["vhost", "priority", "apply-to"] "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>" "Sets or updates a policy";
        ListPoliciesThatMatch "list_policies_that_match" (1..=1) ["vhost", "object-type"] "[--vhost <vhost>] [--object-type <queue | exchange>] <name>" "Lists policies that match a queue or exchange; the first one applies";
    }
    "Virtual hosts": {
        AddVhost "add_vhost" (1..=1) ["description", "tags", "default-queue-type"] "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type <quorum|classic|stream>]" "Creates a virtual host";
        ClearVhostLimits "clear_vhost_limits" (0..=0) ["vhost"] "[--vhost <vhost>]" "Clears virtual host limits";
        DeleteVhost "delete_vhost" (1..=1) [] "<vhost>" "Deletes a virtual host";
        DisableVhostDeletionProtection "disable_vhost_deletion_protection" (1..=1) [] "<vhost>" "Removes deletion protection from a virtual host (so that it can be deleted)";
        EnableVhostDeletionProtection "enable_vhost_deletion_protection" (1..=1) [] "<vhost>" "Protects a virtual host from deletion (until the protection is removed)";
        ListVhostLimits "list_vhost_limits" (0..=0) ["vhost", "global"] "[--vhost <vhost>] [--global] [--no-table-headers]" "Displays configured virtual host limits";
        SetVhostLimits "set_vhost_limits" (1..=1) ["vhost"] "[--vhost <vhost>] <definition>" "Sets virtual host limits";
        SetVhostTags "set_vhost_tags" (1..=MANY) [] "<vhost> <tag> [...]" "Sets virtual host tags";
        UpdateVhostMetadata "update_vhost_metadata" (1..=1) ["description", "tags", "default-queue-type", "protected-from-deletion"] "<vhost> [--description=<description>] [--tags=\"<tag1>,<tag2>,<...>\"] [--default-queue-type=<quorum|classic|stream>] [--protected-from-deletion=<true|false>]" "Updates metadata (tags, description, default queue type, protection from deletion) a virtual host";
        ReconcileVhosts "reconcile_vhosts" (0..=0) [] "" "Starts virtual hosts where they do not run; on one node all run";
        RestartVhost "restart_vhost" (0..=0) ["vhost"] "[--vhost <vhost>]" "Restarts a virtual host that has failed; none fails by itself";
    }
    "Queues": {
        DeleteQueue "delete_queue" (1..=1) ["vhost", "if-empty", "if-unused"] "[--vhost <vhost>] <queue_name> [--if-empty|-e] [--if-unused|-u]" "Deletes a queue";
        PurgeQueue "purge_queue" (1..=1) ["vhost"] "[--vhost <vhost>] <queue>" "Purges a queue (removes all messages in it)";
        Rewind "rewind" (1..=1) ["vhost", "to"] "[--vhost <vhost>] <queue> --to <time>|<offset>" "Makes acked messages of a queue with x-rewind-seconds ready again, from a time (2026-01-31T12:00:00Z, 1769860800s, 1769860800000ms) or an offset on";
    }
    "Operations": {
        CloseAllConnections "close_all_connections" (1..=1) ["vhost", "global", "limit"] "[--vhost <vhost> --limit <limit>] [--global] <explanation>" "Instructs the broker to close all connections for the specified vhost or entire node";
        CloseAllUserConnections "close_all_user_connections" (2..=2) [] "<username> <explanation>" "Instructs the broker to close all connections of the specified user";
        CloseConnection "close_connection" (2..=2) [] "<connection_pid> <explanation>" "Instructs the broker to close the connection with this id";
        ForceGc "force_gc" (0..=0) [] "" "Does nothing: there is no garbage to collect";
        ReclaimQuorumMemory "reclaim_quorum_memory" (1..=1) ["vhost"] "[--vhost <vhost>] <queue>" "Does nothing for a quorum queue: there is no garbage to collect";
    }
    "Configuration and Environment": {
        Certificates "certificates" (0..=0) [] "" "Displays the certificates of TLS";
        SetClusterName "set_cluster_name" (1..=1) [] "<name>" "Sets the cluster name";
        ClearAlarm "clear_alarm" (1..=1) [] "memory | disk" "Clears an alarm that set_alarm has set";
        SetAlarm "set_alarm" (1..=1) [] "memory | disk" "Blocks publishers as a memory or disk alarm does, until clear_alarm";
        SetChannelMax "set_channel_max" (1..=1) [] "<count>" "Sets the most channels of a new connection until the next start; 0 is no limit";
        SetLoopbackUsers "set_loopback_users" (0..=MANY) [] "[<username> ...]" "Sets the users that may log in from this machine only, until the next start";
        SetDiskFreeLimit "set_disk_free_limit" (1..=2) [] "<disk_limit> | mem_relative <fraction>" "Sets the disk_free_limit setting";
        SetVmMemoryHighWatermark "set_vm_memory_high_watermark" (1..=2) [] "<fraction> | absolute <value>" "Sets the vm_memory_high_watermark setting";
        Environment "environment" (0..=0) [] "" "Displays the settings that hold, with their sources";
        OsEnv "os_env" (0..=0) [] "" "Lists the broker's environment variables that set options";
        DisableAuthAttemptSourceTracking "disable_auth_attempt_source_tracking" (0..=0) [] "" "Counts logins by protocol only";
        EnableAuthAttemptSourceTracking "enable_auth_attempt_source_tracking" (0..=0) [] "" "Counts logins by address and user, too, until the next start";
        ResetNodeAuthAttemptMetrics "reset_node_auth_attempt_metrics" (0..=0) [] "" "Counts logins from 0";
        SetLogLevel "set_log_level" (1..=1) [] "<debug | info | warning | error | critical | none>" "Sets the level of the log until the next start";
    }
    "Definitions": {
        ExportDefinitions "export_definitions" (1..=1) ["format"] "<file_path | \"-\"> [--format <json>]" "Exports definitions in JSON, to a file or to standard output (-).";
        ImportDefinitions "import_definitions" (0..=1) ["format", "skip-if-unchanged"] "[<file_path | \"-\">] [--format <json>] [--skip-if-unchanged]" "Imports definitions in JSON, from a file or from standard input. They hold when this returns.";
    }
    "Upgrade": {
        Drain "drain" (0..=0) [] "" "Begins maintenance: closes the listeners and all connections of clients";
        Revive "revive" (0..=0) [] "" "Ends maintenance: takes connections of clients again";
        AwaitOnlineQuorumPlusOne "await_online_quorum_plus_one" (0..=0) [] "" "Waits until queues keep their quorum without this node; does not apply to one node";
        HasReachedTargetClusterSize "has_reached_target_cluster_size" (0..=0) [] "" "Fails if nodes are missing; there is one node";
        PostUpgrade "post_upgrade" (0..=0) [] "" "Does what an upgrade leaves to do: nothing";
    }
    "Feature flags": {
        EnableFeatureFlag "enable_feature_flag" (1..=1) ["opt-in"] "<all | flag>" "Enables a feature flag; all that there are, are enabled";
        ListDeprecatedFeatures "list_deprecated_features" (0..=0) ["used"] "[--used]" "Lists deprecated features";
        ListFeatureFlags "list_feature_flags" (0..=MANY) [] "[<column> ...]" "Lists feature flags";
    }
    "Plugins": {
        EnablePlugins "enable" (1..=MANY) [] "<plugin> ..." "Succeeds for plugins whose function is built in";
        IsEnabled "is_enabled" (1..=MANY) [] "<plugin> ..." "Fails unless the functions of all the plugins are built in";
        ListPlugins "list" (0..=1) ["enabled", "implicitly-enabled", "minimal", "verbose"] "[<pattern>] [--enabled|-E] [--minimal|-m] [--verbose|-v]" "Lists RabbitMQ's plugins whose function is built in";
    }
    "Other": {
        HashPassword "hash_password" (0..=1) [] "[<password>]" "Hashes a plaintext password";
    }
}

/// The position of the argument that is a secret. It may come from standard input, and is never logged.
pub(super) fn secret_argument(verb: Verb) -> Option<usize> {
    match verb {
        Verb::AddUser | Verb::ChangePassword | Verb::AuthenticateUser => Some(1),
        Verb::AddSecretKey => Some(2),
        Verb::HashPassword => Some(0),
        _ => None,
    }
}

/// Whether a verb changes the broker.
pub(super) fn changes(verb: Verb) -> bool {
    let spec = VERBS.iter().find(|spec| spec.verb == verb);
    let read_only = [
        Verb::AuthenticateUser,
        Verb::ExportDefinitions,
        Verb::AwaitStartup,
        Verb::HashPassword,
        Verb::Ping,
        Verb::Status,
        Verb::Alarms,
        Verb::AwaitOnlineNodes,
        Verb::AwaitOnlineQuorumPlusOne,
        Verb::Certificates,
        Verb::CipherSuites,
        Verb::ClusterStatus,
        Verb::DiscoverPeers,
        Verb::Environment,
        Verb::Fsck,
        Verb::HasReachedTargetClusterSize,
        Verb::ListPlugins,
        Verb::Listeners,
        Verb::LogLocation,
        Verb::LogTail,
        Verb::LogTailStream,
        Verb::MemoryBreakdown,
        Verb::OsEnv,
        Verb::QuorumStatus,
        Verb::ResolveHostname,
        Verb::ServerVersion,
        Verb::StreamStatus,
        Verb::TlsVersions,
    ];
    let asks = |name: &str| {
        ["list_", "check_", "is_"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    !read_only.contains(&verb) && !spec.is_some_and(|spec| asks(spec.name))
}

pub(super) fn find(name: &str) -> Option<&'static VerbSpec> {
    VERBS.iter().find(|spec| spec.name == name)
}

/// The verb that a wrong name probably means.
pub(super) fn similar(name: &str) -> Option<&'static str> {
    nearest(name, VERBS.iter().map(|spec| spec.name))
}

/// `Usage` of one verb.
pub(super) fn usage(spec: &VerbSpec) -> String {
    let sep = if spec.usage.is_empty() { "" } else { " " };
    format!(
        "Usage\n\nleveret ctl [--node <node>] [--longnames] [--quiet] {}{sep}{} [--timeout <timeout>]",
        spec.name, spec.usage
    )
}

/// `Usage` of all verbs, by group.
pub(super) fn usage_all() -> String {
    use std::fmt::Write;
    let width = VERBS.iter().map(|spec| spec.name.len()).max().unwrap_or(0);
    let mut text = "Usage\n\nleveret ctl [--data-dir <dir>] [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> [<command options>]\n\nAvailable commands:\n\nHelp:\n\n".to_owned();
    for (name, about) in LOCAL {
        // Writing to a String does not fail.
        writeln!(text, "   {name:width$}  {about}").unwrap_or_default();
    }
    let mut group = "";
    for spec in VERBS {
        if spec.group != group {
            group = spec.group;
            text.push_str(&format!("\n{group}:\n\n"));
        }
        writeln!(text, "   {:width$}  {}", spec.name, spec.about).unwrap_or_default();
    }
    text.push_str("\nCommands of RabbitMQ that are not supported, or do nothing:\n\n");
    for absent in ABSENT {
        writeln!(text, "   {:width$}  {}", absent.name, absent.reason).unwrap_or_default();
    }
    text.push_str("\nUse 'leveret ctl help <command>' to learn more about a specific command");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_have_the_same_names_on_the_socket() {
        for spec in VERBS {
            assert_eq!(
                serde_json::to_string(&spec.verb).unwrap(),
                format!("{:?}", spec.name)
            );
            assert!(spec.min <= spec.max);
            assert_eq!(find(spec.name).unwrap().verb, spec.verb);
        }
        assert!(find("list_user").is_none());
    }

    #[test]
    fn usage_shows_arguments() {
        let usage = usage(find("delete_user").unwrap());
        assert_eq!(
            usage,
            "Usage\n\nleveret ctl [--node <node>] [--longnames] [--quiet] delete_user <username> [--timeout <timeout>]"
        );
        assert!(usage_all().contains("\nUsers:\n\n   add_user "));
    }
}
