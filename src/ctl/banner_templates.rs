//! Banners with no choice in them, with the places for what the command names. Pure.

use super::invocation::Invocation;
use super::verbs::Verb;

/// The template of a verb: `{node}`, `{vhost}`, and arguments by number. `None` if its banner has choices, or there is none.
pub(super) fn of(verb: Verb) -> Option<&'static str> {
    let found = TEMPLATES.iter().find(|(own, _)| *own == verb);
    found.map(|(_, template)| *template)
}

const TEMPLATES: &[(Verb, &str)] = &[
    (
        Verb::AddMember,
        "Adding a member for queue {0} on node {1}...",
    ),
    (
        Verb::AddReplica,
        "Adding a replica for stream {0} on node {1}...",
    ),
    (
        Verb::Alarms,
        "Asking node {node} to report any known resource alarms ...",
    ),
    (
        Verb::AwaitOnlineNodes,
        "Will wait for at least {0} nodes to join the cluster of {node}. Timeout: 300 seconds.",
    ),
    (
        Verb::AwaitOnlineQuorumPlusOne,
        "Will wait for a quorum + 1 of nodes to be online for all quorum queues and streams for 120 seconds...",
    ),
    (
        Verb::CheckAlarms,
        "Asking node {node} to report any local resource alarms ...",
    ),
    (Verb::Certificates, "Certificates of node {node} ..."),
    (
        Verb::CheckCertificateExpiration,
        "Checking certificate expiration for all certificates on node {node} ...",
    ),
    (
        Verb::CheckForQuorumQueuesWithoutAnElectedLeader,
        "Checking leader health of quorum queues matching {0} ...",
    ),
    (
        Verb::CheckIfAnyDeprecatedFeaturesAreUsed,
        "Checking if any deprecated features are used ...",
    ),
    (
        Verb::CheckIfMetadataStoreIsInitialized,
        "Checking if metadata store on node {node} has finished initializing ...",
    ),
    (
        Verb::CheckIfMetadataStoreIsInitializedWithData,
        "Checking if metadata store on node {node} has finished initializing and has data ...",
    ),
    (
        Verb::CheckIfNewQuorumQueueReplicasHaveFinishedInitialSync,
        "Checking if node {node} runs promotable replicas of any queues ...",
    ),
    (
        Verb::CheckIfNodeIsQuorumCritical,
        "Checking if node {node} is critical for quorum of any queues/streams ...",
    ),
    (
        Verb::CheckLocalAlarms,
        "Asking node {node} to report any local resource alarms ...",
    ),
    (
        Verb::CheckPortConnectivity,
        "Testing TCP connections to all active listeners on node {node} ...",
    ),
    (
        Verb::CheckPortListener,
        "Asking node {node} if there's an active listener on port {0} ...",
    ),
    (
        Verb::CheckProtocolListener,
        "Asking node {node} if there's an active listener for protocol {0} ...",
    ),
    (
        Verb::CheckRunning,
        "Checking if Leveret is running on node {node} ...",
    ),
    (
        Verb::CheckVirtualHosts,
        "Checking if all vhosts are running on node {node} ...",
    ),
    (Verb::CipherSuites, "Listing available cipher suites ..."),
    (Verb::ClusterStatus, "Cluster status of node {node} ..."),
    (
        Verb::DeleteMember,
        "Removing a replica of queue {0} on node {1}...",
    ),
    (
        Verb::DeleteReplica,
        "Removing a replica of queue {0} on node {1}...",
    ),
    (
        Verb::DisableAuthAttemptSourceTracking,
        "Disabling authentication attempt source tracking ...",
    ),
    (Verb::AddSuperStream, "Adding a super stream..."),
    (Verb::DeleteSuperStream, "Deleting a super stream..."),
    (
        Verb::Drain,
        "Will put node {node} into maintenance mode. The node will no longer serve any client traffic!",
    ),
    (
        Verb::Revive,
        "Will put node {node} back into regular operating mode. The node will again serve client traffic and host primary queue replicas.",
    ),
    (
        Verb::SuspendListeners,
        "Will suspend client connection listeners on node {node}. The node will no longer accept client connections!",
    ),
    (
        Verb::ResumeListeners,
        "Will resume client connection listeners on node {node}. The node will now accept client connections",
    ),
    (
        Verb::EnableAuthAttemptSourceTracking,
        "Enabling authentication attempt source tracking ...",
    ),
    (Verb::DiscoverPeers, "Discovering peers nodes ..."),
    (
        Verb::Environment,
        "Application environment of node {node} ...",
    ),
    (
        Verb::ForgetClusterNode,
        "Removing node {0} from the cluster",
    ),
    (
        Verb::ForceBoot,
        "Making node {node} go on without the other nodes of its set",
    ),
    (Verb::JoinCluster, "Clustering node {node} with {0}"),
    (
        Verb::ForceGc,
        "Will ask all processes on node {node} to schedule a full sweep GC",
    ),
    (Verb::Grow, "Growing {1} queues on {0}..."),
    (
        Verb::HasReachedTargetClusterSize,
        "Checking if target cluster size has been reached on node {node} ...",
    ),
    (
        Verb::Fsck,
        "Verifying the data directory of node {node} ...",
    ),
    (
        Verb::IsBooting,
        "Asking node {node} for its boot status ...",
    ),
    (Verb::IsRunning, "Asking node {node} for its status ..."),
    (Verb::ListFeatureFlags, "Listing feature flags ..."),
    (
        Verb::ListNodeAuthAttemptStats,
        "Listing authentication attempts for node \"{node}\" ...",
    ),
    (
        Verb::ListUnresponsiveQueues,
        "Listing unresponsive queues for vhost {vhost} ...",
    ),
    (
        Verb::Listeners,
        "Asking node {node} to report its protocol listeners ...",
    ),
    (Verb::LogLocation, "Log file location(s) on node {node} ..."),
    (
        Verb::MemoryBreakdown,
        "Reporting memory breakdown on node {node}...",
    ),
    (
        Verb::OsEnv,
        "Listing environment variables that set options on node {node}...",
    ),
    (Verb::PostUpgrade, "Executing post upgrade tasks..."),
    (Verb::QuorumStatus, "Status of queue {0} on node {node} ..."),
    (
        Verb::ReclaimQuorumMemory,
        "Will flush Raft WAL and reclaim memory of quorum queue {0} ...",
    ),
    (
        Verb::ReconcileVhosts,
        "Will try to initiate virtual host reconciliation on all reachable cluster nodes...",
    ),
    (
        Verb::ResetNodeAuthAttemptMetrics,
        "Reset auth attempt metrics on node {node} ...",
    ),
    (Verb::RestartStream, "Restarting stream {0}..."),
    (
        Verb::RestartVhost,
        "Trying to restart vhost '{vhost}' on node '{node}' ...",
    ),
    (Verb::ServerVersion, "Asking node {node} for its version..."),
    (Verb::SetLogLevel, "Setting log level to \"{0}\" ..."),
    (Verb::Shrink, "Shrinking queues on {0}..."),
    (Verb::Shutdown, "Shutting down node {node} ..."),
    (
        Verb::StreamStatus,
        "Status of stream {0} on node {node} ...",
    ),
    (Verb::TlsVersions, "Listing all TLS versions supported ..."),
    (Verb::TraceOff, "Stopping tracing for vhost \"{vhost}\" ..."),
    (Verb::TraceOn, "Starting tracing for vhost \"{vhost}\" ..."),
];

/// Fills in what the command names.
pub(super) fn fill(template: &str, invocation: &Invocation, node: &str) -> String {
    let vhost = invocation.options.get("vhost").map_or("/", String::as_str);
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, (place, after))) = rest
        .split_once('{')
        .and_then(|(before, after)| Some((before, after.split_once('}')?)))
    {
        text.push_str(before);
        text.push_str(match place {
            "node" => node,
            "vhost" => vhost,
            number => {
                let argument = number.parse().ok();
                let argument = argument.and_then(|index: usize| invocation.args.get(index));
                argument.map_or("", String::as_str)
            }
        });
        rest = after;
    }
    text + rest
}
