//! Verbs over the management API, for brokers on other machines. What the API answers becomes the same rows as over the
//! socket. It may also be the API of a RabbitMQ.

mod access; // users and permissions
mod cells; // JSON as cells
mod checks; // health checks and questions to the node
mod definitions; // definitions files
mod http; // requests
mod listings; // connections, queues and the like
mod objects; // virtual hosts, policies, parameters, limits, queues, connections

use super::outcome::Outcome;
use super::protocol::Request;
use super::verbs::Verb;

pub(super) use http::Http;

/// Carries a verb out by requests to the API. The bytes are the content of the file that the verb reads.
type Handler = fn(&Http, &Request, &[u8]) -> Outcome;

/// Carries the verb of a request out; `None` if the verb needs the socket.
pub(super) fn carry_out(http: &Http, request: &Request, content: &[u8]) -> Option<Outcome> {
    let found = HANDLERS.iter().find(|(verb, _)| *verb == request.verb);
    found.map(|(_, handler)| handler(http, request, content))
}

/// Whether a verb works by `--url`.
pub(super) fn has(verb: Verb) -> bool {
    HANDLERS.iter().any(|(own, _)| *own == verb)
}

/// All verbs that work by `--url`.
const HANDLERS: &[(Verb, Handler)] = &[
    (Verb::AwaitStartup, |http, _, _| checks::await_startup(http)),
    (Verb::AddUser, |http, request, _| {
        access::add_user(http, request)
    }),
    (Verb::AuthenticateUser, |http, request, _| {
        access::authenticate(http, request)
    }),
    (Verb::ChangePassword, |http, request, _| {
        access::change_password(http, request)
    }),
    (Verb::ClearPassword, |http, request, _| {
        access::clear_password(http, request)
    }),
    (Verb::DeleteUser, |http, request, _| {
        access::delete_user(http, request)
    }),
    (Verb::ListUsers, |http, _, _| access::list_users(http)),
    (Verb::SetUserTags, |http, request, _| {
        access::set_tags(http, request)
    }),
    (Verb::ClearPermissions, |http, request, _| {
        access::clear_permissions(http, request)
    }),
    (Verb::ClearTopicPermissions, |http, request, _| {
        access::clear_topic_permissions(http, request)
    }),
    (Verb::ListPermissions, |http, request, _| {
        access::list_permissions(http, request)
    }),
    (Verb::ListTopicPermissions, |http, request, _| {
        access::list_topic_permissions(http, request)
    }),
    (Verb::ListUserPermissions, |http, request, _| {
        access::list_user_permissions(http, request)
    }),
    (Verb::ListUserTopicPermissions, |http, request, _| {
        access::list_user_topic_permissions(http, request)
    }),
    (Verb::SetPermissions, |http, request, _| {
        access::set_permissions(http, request)
    }),
    (Verb::SetPermissionsGlobally, |http, request, _| {
        access::set_permissions_globally(http, request)
    }),
    (Verb::SetTopicPermissions, |http, request, _| {
        access::set_topic_permissions(http, request)
    }),
    (Verb::ClearUserLimits, |http, request, _| {
        objects::clear_user_limits(http, request)
    }),
    (Verb::ListUserLimits, |http, request, _| {
        objects::list_user_limits(http, request)
    }),
    (Verb::SetUserLimits, |http, request, _| {
        objects::set_user_limits(http, request)
    }),
    (Verb::ClearVhostLimits, |http, request, _| {
        objects::clear_vhost_limits(http, request)
    }),
    (Verb::ListVhostLimits, |http, request, _| {
        objects::list_vhost_limits(http, request)
    }),
    (Verb::SetVhostLimits, |http, request, _| {
        objects::set_vhost_limits(http, request)
    }),
    (Verb::AddVhost, |http, request, _| {
        objects::add_vhost(http, request)
    }),
    (Verb::DeleteVhost, |http, request, _| {
        objects::delete_vhost(http, request)
    }),
    (Verb::DisableVhostDeletionProtection, |http, request, _| {
        objects::unprotect(http, request)
    }),
    (Verb::EnableVhostDeletionProtection, |http, request, _| {
        objects::protect(http, request)
    }),
    (Verb::ClearGlobalParameter, |http, request, _| {
        objects::clear_global_parameter(http, request)
    }),
    (Verb::ClearParameter, |http, request, _| {
        objects::clear_parameter(http, request)
    }),
    (Verb::ListGlobalParameters, |http, _, _| {
        objects::list_global_parameters(http)
    }),
    (Verb::ListParameters, |http, request, _| {
        objects::list_parameters(http, request)
    }),
    (Verb::SetGlobalParameter, |http, request, _| {
        objects::set_global_parameter(http, request)
    }),
    (Verb::SetParameter, |http, request, _| {
        objects::set_parameter(http, request)
    }),
    (Verb::SetClusterName, |http, request, _| {
        objects::set_cluster_name(http, request)
    }),
    (Verb::ClearOperatorPolicy, |http, request, _| {
        objects::clear_policy(http, request, objects::OPERATOR_POLICIES)
    }),
    (Verb::ClearPolicy, |http, request, _| {
        objects::clear_policy(http, request, objects::POLICIES)
    }),
    (Verb::ListOperatorPolicies, |http, request, _| {
        objects::list_policies(http, request, objects::OPERATOR_POLICIES)
    }),
    (Verb::ListPolicies, |http, request, _| {
        objects::list_policies(http, request, objects::POLICIES)
    }),
    (Verb::SetOperatorPolicy, |http, request, _| {
        objects::set_policy(http, request, objects::OPERATOR_POLICIES)
    }),
    (Verb::SetPolicy, |http, request, _| {
        objects::set_policy(http, request, objects::POLICIES)
    }),
    (Verb::ListBindings, |http, request, _| {
        listings::bindings(http, request)
    }),
    (Verb::ListChannels, |http, request, _| {
        listings::channels(http, request)
    }),
    (Verb::ListConnections, |http, request, _| {
        listings::connections(http, request)
    }),
    (Verb::ListConsumers, |http, request, _| {
        listings::consumers(http, request)
    }),
    (Verb::ListExchanges, |http, request, _| {
        listings::exchanges(http, request)
    }),
    (Verb::ListFeatureFlags, |http, request, _| {
        listings::feature_flags(http, request)
    }),
    (Verb::ListQueues, |http, request, _| {
        listings::queues(http, request)
    }),
    (Verb::ListVhosts, |http, request, _| {
        listings::vhosts(http, request)
    }),
    (Verb::TraceOff, |http, request, _| {
        objects::set_tracing(http, request, false)
    }),
    (Verb::TraceOn, |http, request, _| {
        objects::set_tracing(http, request, true)
    }),
    (Verb::DeleteQueue, |http, request, _| {
        objects::delete_queue(http, request)
    }),
    (Verb::PurgeQueue, |http, request, _| {
        objects::purge_queue(http, request)
    }),
    (Verb::Rewind, |http, request, _| {
        objects::rewind(http, request)
    }),
    (Verb::CloseAllConnections, |http, request, _| {
        objects::close_all_connections(http, request)
    }),
    (Verb::CloseAllUserConnections, |http, request, _| {
        objects::close_all_user_connections(http, request)
    }),
    (Verb::EnableFeatureFlag, |http, request, _| {
        objects::enable_feature_flag(http, request)
    }),
    (Verb::ExportDefinitions, |http, _, _| {
        definitions::export(http)
    }),
    (Verb::ImportDefinitions, |http, request, content| {
        definitions::import(http, request, content)
    }),
    (Verb::Alarms, |http, _, _| checks::alarms(http)),
    (Verb::CheckAlarms, |http, _, _| checks::check_alarms(http)),
    (Verb::CheckLocalAlarms, |http, _, _| {
        checks::check_alarms(http)
    }),
    (Verb::CheckIfNodeIsQuorumCritical, |http, _, _| {
        checks::quorum_critical(http)
    }),
    (Verb::CheckPortListener, |http, request, _| {
        checks::port_listener(http, request)
    }),
    (Verb::CheckProtocolListener, |http, request, _| {
        checks::protocol_listener(http, request)
    }),
    (Verb::CheckRunning, |http, _, _| checks::running(http)),
    (Verb::CheckVirtualHosts, |http, _, _| {
        checks::virtual_hosts(http)
    }),
    (Verb::Environment, |http, _, _| checks::environment(http)),
    (Verb::Listeners, |http, _, _| checks::listeners(http)),
    (Verb::MemoryBreakdown, |http, request, _| {
        checks::memory_breakdown(http, request)
    }),
    (Verb::Ping, |http, _, _| checks::ping(http)),
    (Verb::Rebalance, |http, request, _| {
        checks::rebalance(http, request)
    }),
    (Verb::ServerVersion, |http, _, _| {
        checks::server_version(http)
    }),
];
