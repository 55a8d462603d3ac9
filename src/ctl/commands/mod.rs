//! The verbs, in files by noun, and the one match that leads to them.

mod amqp_values; // AMQP tables as cells
mod certificates; // certificates of TLS
mod checks; // health checks
mod cluster; // replicas of queues
mod cluster_status; // the report on the cluster
mod connections; // connections and channels
mod consumers; // consumers
mod definitions; // definitions files
mod environment; // settings, memory, TLS, the machine
mod exchanges; // exchanges and bindings
mod features; // feature flags, deprecated features, plugins
mod fsck; // the data directory
mod limits; // limits of users and virtual hosts
mod listeners; // listeners
mod logs; // the log
mod lookup; // refuses what does not exist
mod node; // the process
mod parameters; // runtime parameters and the name of the cluster
mod permissions; // permissions and topic permissions
mod policies; // policies and operator policies
mod queues; // queues
mod secrets; // keys that sign CMQ requests
mod set; // the set of nodes
mod shovels; // dynamic shovels
mod status; // the report on the broker
mod super_streams; // super streams
mod users; // users
mod vhosts; // virtual hosts

pub(super) use environment::memory_report;

use super::context::{Context, Host, NodeCommand};
use super::exit_code::{EX_UNAVAILABLE, EX_USAGE};
use super::input::Input;
use super::outcome::{Failure, Outcome, Reply};
use super::protocol::Request;
use super::verbs::Verb;
use crate::model::policy::PolicyKind;

/// Carries out the verb of a request.
pub(super) async fn carry_out(ctx: &Context, request: &Request, input: Input<'_>) -> Outcome {
    if !ctx.node.is_running() && !works_while_stopped(request.verb) {
        return Err(Failure::plain(
            EX_USAGE,
            "Error: this command requires the 'rabbit' app to be running on the target node. Start it with 'leveret \
             ctl start_app'.",
        ));
    }
    match request.verb {
        Verb::AwaitStartup => node::await_startup(&ctx.node),
        Verb::StartApp => node::whole(&ctx.node, NodeCommand::StartApp).await,
        Verb::Stop | Verb::Shutdown => node::stop(&ctx.node).await,
        Verb::StopApp => node::stop_app(&ctx.node).await,
        Verb::Drain => node::whole(&ctx.node, NodeCommand::Drain).await,
        Verb::Revive => node::whole(&ctx.node, NodeCommand::Revive).await,
        Verb::ResumeListeners => node::whole(&ctx.node, NodeCommand::ResumeListeners).await,
        Verb::SuspendListeners => node::whole(&ctx.node, NodeCommand::SuspendListeners).await,
        Verb::Ping => node::ping(),
        Verb::Status => status::status(ctx),
        Verb::SetDiskFreeLimit => node::set_disk_free_limit(ctx, request),
        Verb::SetVmMemoryHighWatermark => node::set_memory_watermark(ctx, request),
        Verb::ClearAlarm => node::set_alarm(ctx, request, false),
        Verb::SetAlarm => node::set_alarm(ctx, request, true),
        Verb::SetChannelMax => node::set_channel_max(ctx, request).await,
        Verb::SetLoopbackUsers => users::set_loopback(ctx, request),
        Verb::AddUser => users::add(ctx, request).await,
        Verb::AuthenticateUser => users::authenticate(ctx, request).await,
        Verb::ChangePassword => users::change_password(ctx, request).await,
        Verb::ClearPassword => users::clear_password(ctx, request).await,
        Verb::DeleteUser => users::delete(ctx, request).await,
        Verb::HashPassword => users::hash_password(request),
        Verb::ListUsers => users::list(ctx),
        Verb::SetUserTags => users::set_tags(ctx, request).await,
        Verb::AddSecretKey => secrets::add(ctx, request).await,
        Verb::DeleteSecretKey => secrets::delete(ctx, request).await,
        Verb::ListSecretKeys => secrets::list(ctx, request),
        Verb::ClearUserLimits => limits::clear_user(ctx, request).await,
        Verb::ListUserLimits => limits::list_user(ctx, request),
        Verb::SetUserLimits => limits::set_user(ctx, request).await,
        Verb::ClearVhostLimits => limits::clear_vhost(ctx, request).await,
        Verb::ListVhostLimits => limits::list_vhost(ctx, request),
        Verb::SetVhostLimits => limits::set_vhost(ctx, request).await,
        Verb::ClearPermissions => permissions::clear(ctx, request).await,
        Verb::ClearTopicPermissions => permissions::clear_topic(ctx, request).await,
        Verb::ListPermissions => permissions::list(ctx, request),
        Verb::ListTopicPermissions => permissions::list_topic(ctx, request),
        Verb::ListUserPermissions => permissions::list_of_user(ctx, request),
        Verb::ListUserTopicPermissions => permissions::list_topic_of_user(ctx, request),
        Verb::SetPermissions => permissions::set(ctx, request).await,
        Verb::SetPermissionsGlobally => permissions::set_globally(ctx, request).await,
        Verb::SetTopicPermissions => permissions::set_topic(ctx, request).await,
        Verb::ExportDefinitions => definitions::export(ctx),
        Verb::ImportDefinitions => definitions::import(ctx, request, input).await,
        Verb::ClearParameter => parameters::clear(ctx, request).await,
        Verb::ClearGlobalParameter => parameters::clear_global(ctx, request).await,
        Verb::DeleteShovel => shovels::delete(ctx, request).await,
        Verb::RestartShovel => shovels::restart(ctx, request).await,
        Verb::ShovelStatus => shovels::status(ctx),
        Verb::ListParameters => parameters::list(ctx, request),
        Verb::ListGlobalParameters => parameters::list_global(ctx),
        Verb::SetParameter => parameters::set(ctx, request).await,
        Verb::SetGlobalParameter => parameters::set_global(ctx, request).await,
        Verb::SetClusterName => parameters::set_cluster_name(ctx, request).await,
        Verb::ClearOperatorPolicy => policies::clear(ctx, request, PolicyKind::Operator).await,
        Verb::ClearPolicy => policies::clear(ctx, request, PolicyKind::User).await,
        Verb::ListOperatorPolicies => policies::list(ctx, request, PolicyKind::Operator),
        Verb::ListPolicies => policies::list(ctx, request, PolicyKind::User),
        Verb::SetOperatorPolicy => policies::set(ctx, request, PolicyKind::Operator).await,
        Verb::SetPolicy => policies::set(ctx, request, PolicyKind::User).await,
        Verb::AddVhost => vhosts::add(ctx, request).await,
        Verb::SetVhostTags => vhosts::set_tags(ctx, request).await,
        Verb::UpdateVhostMetadata => vhosts::update_metadata(ctx, request).await,
        Verb::EnableVhostDeletionProtection => vhosts::protect(ctx, request).await,
        Verb::DisableVhostDeletionProtection => vhosts::unprotect(ctx, request).await,
        Verb::DeleteVhost => vhosts::delete(ctx, request).await,
        Verb::ListVhosts => vhosts::list(ctx, request),
        Verb::TraceOff => vhosts::trace_off(ctx, request),
        Verb::TraceOn => vhosts::trace_on(ctx, request),
        Verb::ListBindings => exchanges::list_bindings(ctx, request),
        Verb::ListExchanges => exchanges::list(ctx, request),
        Verb::ListQueues => queues::list(ctx, request),
        Verb::ListConsumers => consumers::list(ctx, request),
        Verb::AddSuperStream => super_streams::add(ctx, request).await,
        Verb::DeleteSuperStream => super_streams::delete(ctx, request).await,
        Verb::DeleteQueue => queues::delete(ctx, request).await,
        Verb::Rewind => queues::rewind(ctx, request).await,
        Verb::PurgeQueue => queues::purge(ctx, request).await,
        Verb::ListChannels => connections::list_channels(ctx, request),
        Verb::ListConnections => connections::list(ctx, request),
        Verb::CloseConnection => connections::close(ctx, request),
        Verb::CloseAllConnections => connections::close_all(ctx, request),
        Verb::CloseAllUserConnections => connections::close_all_of_user(ctx, request),
        Verb::AddMember => cluster::add_member(ctx, request),
        Verb::AddReplica => cluster::add_replica(ctx, request),
        Verb::AwaitOnlineNodes => cluster::await_online_nodes(request),
        Verb::ForceBoot | Verb::ForgetClusterNode | Verb::JoinCluster => Err(no_set()),
        Verb::AwaitOnlineQuorumPlusOne => cluster::await_quorum_plus_one(),
        Verb::ClusterStatus => cluster::status(ctx),
        Verb::DeleteMember => cluster::delete_member(ctx, request),
        Verb::DeleteReplica => cluster::delete_replica(ctx, request),
        Verb::DiscoverPeers => cluster::discover_peers(),
        Verb::Grow => cluster::grow(request),
        Verb::HasReachedTargetClusterSize => cluster::reached_target_size(),
        Verb::QuorumStatus => cluster::quorum_status(ctx, request),
        Verb::Rebalance => cluster::rebalance(ctx, request),
        Verb::RestartStream => cluster::restart_stream(ctx, request),
        Verb::Shrink => cluster::shrink(ctx, request),
        Verb::StreamStatus => cluster::stream_status(ctx, request),
        Verb::TransferLeadership if is_about_the_set(request) => Err(no_set()),
        Verb::TransferLeadership => cluster::transfer_leadership(ctx, request),
        Verb::Alarms => checks::alarms(ctx),
        Verb::CheckAlarms | Verb::CheckLocalAlarms => checks::check_alarms(ctx),
        Verb::Certificates => certificates::list(ctx),
        Verb::CheckCertificateExpiration => certificates::check(ctx, request),
        Verb::CheckForQuorumQueuesWithoutAnElectedLeader => checks::elected_leaders(ctx, request),
        Verb::CheckIfAnyDeprecatedFeaturesAreUsed => features::check_deprecated(ctx),
        Verb::CheckIfMetadataStoreIsInitialized => checks::metadata_store(),
        Verb::CheckIfMetadataStoreIsInitializedWithData => checks::metadata_store_with_data(ctx),
        Verb::CheckIfNewQuorumQueueReplicasHaveFinishedInitialSync => checks::initial_sync(),
        Verb::CheckIfNodeIsQuorumCritical => checks::quorum_critical(),
        Verb::CheckPortConnectivity => checks::port_connectivity(ctx, request).await,
        Verb::CheckPortListener => checks::port_listener(ctx, request),
        Verb::CheckProtocolListener => checks::protocol_listener(ctx, request),
        Verb::CheckRunning => checks::running(&ctx.node),
        Verb::CheckVirtualHosts => checks::virtual_hosts(),
        Verb::Fsck => fsck::fsck(ctx, input).await,
        Verb::IsBooting => checks::is_booting(),
        Verb::IsRunning => checks::is_running(&ctx.node),
        Verb::CipherSuites => environment::cipher_suites(request),
        Verb::Environment => environment::environment(ctx),
        Verb::DisableAuthAttemptSourceTracking => environment::ignore_login_sources(ctx),
        Verb::EnableAuthAttemptSourceTracking => environment::track_login_sources(ctx),
        Verb::ListNodeAuthAttemptStats => environment::login_attempts(ctx, request),
        Verb::MemoryBreakdown => environment::memory_breakdown(ctx, request),
        Verb::OsEnv => environment::os_env(),
        Verb::ResetNodeAuthAttemptMetrics => environment::forget_login_attempts(ctx),
        Verb::ResolveHostname => environment::resolve_hostname(request).await,
        Verb::ServerVersion => environment::server_version(),
        Verb::TlsVersions => environment::tls_versions(),
        Verb::EnableFeatureFlag => features::enable_flag(request),
        Verb::EnablePlugins => features::enable_plugins(ctx, request),
        Verb::IsEnabled => features::is_plugin_enabled(ctx, request),
        Verb::ListDeprecatedFeatures => features::list_deprecated(ctx, request),
        Verb::ListFeatureFlags => features::list_flags(request),
        Verb::ListPlugins => features::list_plugins(ctx, request),
        Verb::Listeners => listeners::listeners(ctx),
        Verb::LogLocation => logs::location(),
        Verb::LogTail => logs::tail(request),
        // The server sends the lines as they come.
        Verb::LogTailStream => Ok(Reply::Done),
        Verb::SetLogLevel => logs::set_level(request),
        Verb::ListPoliciesThatMatch => policies::list_that_match(ctx, request),
        Verb::ListUnresponsiveQueues => queues::list_unresponsive(ctx, request),
        Verb::ReclaimQuorumMemory => cluster::reclaim_memory(ctx, request),
        Verb::RestartVhost => vhosts::restart(ctx, request),
        // The one node needs nothing of these.
        Verb::ForceGc | Verb::PostUpgrade | Verb::ReconcileVhosts => Ok(Reply::Done),
    }
}

/// Carries out a verb on a node that does not run the broker now.
pub(super) async fn carry_out_alone(host: &Host, request: &Request) -> Outcome {
    let node = &host.node;
    match request.verb {
        Verb::AwaitStartup => node::await_startup(node),
        Verb::StartApp => node::whole(node, NodeCommand::StartApp).await,
        Verb::Stop | Verb::Shutdown => node::stop(node).await,
        Verb::StopApp => node::stop_app(node).await,
        Verb::Drain => node::whole(node, NodeCommand::Drain).await,
        Verb::Revive => node::whole(node, NodeCommand::Revive).await,
        Verb::ResumeListeners => node::whole(node, NodeCommand::ResumeListeners).await,
        Verb::SuspendListeners => node::whole(node, NodeCommand::SuspendListeners).await,
        Verb::Ping => node::ping(),
        Verb::HashPassword => users::hash_password(request),
        Verb::CheckRunning => checks::running(node),
        Verb::IsRunning => checks::is_running(node),
        Verb::IsBooting => checks::is_booting(),
        Verb::CipherSuites => environment::cipher_suites(request),
        Verb::OsEnv => environment::os_env(),
        Verb::ResolveHostname => environment::resolve_hostname(request).await,
        Verb::ServerVersion => environment::server_version(),
        Verb::TlsVersions => environment::tls_versions(),
        Verb::LogLocation => logs::location(),
        Verb::LogTail => logs::tail(request),
        Verb::SetLogLevel => logs::set_level(request),
        _ => Err(no_broker()),
    }
}

/// Carries out a verb about the set, on any of its nodes.
pub(super) async fn carry_out_in_set(host: &Host, request: &Request) -> Outcome {
    match request.verb {
        Verb::AwaitOnlineNodes => set::await_online_nodes(host, request).await,
        Verb::CheckIfNodeIsQuorumCritical => set::quorum_critical(host),
        Verb::ClusterStatus => set::status(host),
        Verb::DiscoverPeers => set::discover_peers(host),
        Verb::ForceBoot => set::force_boot(host).await,
        Verb::ForgetClusterNode => set::forget(host, request).await,
        Verb::JoinCluster => set::join(host, request).await,
        Verb::TransferLeadership => set::transfer_leadership(host, request).await,
        _ => Err(no_broker()),
    }
}

/// Whether a verb is about the set of nodes. Leadership of a queue is another matter.
pub(super) fn is_about_the_set(request: &Request) -> bool {
    match request.verb {
        Verb::TransferLeadership => request.args.len() < 2,
        verb => matches!(
            verb,
            Verb::AwaitOnlineNodes
                | Verb::CheckIfNodeIsQuorumCritical
                | Verb::ClusterStatus
                | Verb::DiscoverPeers
                | Verb::ForceBoot
                | Verb::ForgetClusterNode
                | Verb::JoinCluster
        ),
    }
}

/// Whether each node of a set carries a verb out by itself. The leader does the others.
pub(super) fn is_for_each_node(request: &Request) -> bool {
    let verb = request.verb;
    is_about_the_set(request)
        || matches!(
            verb,
            Verb::Drain | Verb::Revive | Verb::ResumeListeners | Verb::SuspendListeners
        )
        || (works_while_stopped(verb) && verb != Verb::Environment)
}

fn no_set() -> Failure {
    Failure::error(
        EX_UNAVAILABLE,
        "this node runs by itself: start it with --cluster-listen",
    )
}

pub(super) fn no_broker() -> Failure {
    Failure::error(EX_UNAVAILABLE, "this node does not run the broker now")
}

/// Whether a verb works between `stop_app` and `start_app`.
fn works_while_stopped(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::AwaitStartup
            | Verb::StartApp
            | Verb::Stop
            | Verb::StopApp
            | Verb::Ping
            | Verb::HashPassword
            | Verb::Shutdown
            | Verb::CheckRunning
            | Verb::IsBooting
            | Verb::IsRunning
            | Verb::CipherSuites
            | Verb::Environment
            | Verb::LogLocation
            | Verb::LogTail
            | Verb::LogTailStream
            | Verb::OsEnv
            | Verb::ResolveHostname
            | Verb::ServerVersion
            | Verb::SetLogLevel
            | Verb::TlsVersions
    )
}
