//! What rabbitmqctl prints before and after a verb. Pure.

use super::banner_templates;
use super::invocation::Invocation;
use super::verbs::Verb;

/// The lines before the broker's reply, if there are any.
pub(super) fn banner(verb: Verb, invocation: &Invocation, node: &str) -> Option<String> {
    let arg = |index: usize| invocation.args.get(index).map_or("", String::as_str);
    let vhost = invocation.options.get("vhost").map_or("/", String::as_str);
    let has = |option: &str| invocation.options.contains_key(option);
    let rest = |from: usize| {
        invocation
            .args
            .iter()
            .skip(from)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(template) = banner_templates::of(verb) {
        return Some(banner_templates::fill(template, invocation, node));
    }
    Some(match verb {
        Verb::AwaitStartup => return None,
        Verb::TransferLeadership => match invocation.args.len() {
            0 => "Transferring leadership of the set to another node...".to_owned(),
            1 => format!("Transferring leadership of the set to node {}...", arg(0)),
            _ => format!(
                "Transferring leadership of queue {} to node {}...",
                arg(0),
                arg(1)
            ),
        },
        Verb::ExportDefinitions | Verb::ImportDefinitions if arg(0) == "-" => return None,
        Verb::ExportDefinitions => format!(
            "Exporting definitions in JSON to a file at \"{}\" ...",
            arg(0)
        ),
        Verb::ImportDefinitions if arg(0).is_empty() => {
            "Importing definitions in JSON from standard input ...".to_owned()
        }
        Verb::ImportDefinitions => format!(
            "Importing definitions in JSON from a file at \"{}\" ...",
            arg(0)
        ),
        Verb::StartApp => format!("Starting node {node} ..."),
        Verb::Stop => format!("Stopping and halting node {node} ..."),
        Verb::StopApp => format!("Stopping rabbit application on node {node} ..."),
        Verb::AddUser => format!("Adding user \"{}\" ...", arg(0)),
        Verb::AuthenticateUser => format!("Authenticating user \"{}\" ...", arg(0)),
        Verb::ChangePassword => format!("Changing password for user \"{}\" ...", arg(0)),
        Verb::ClearPassword => format!("Clearing password for user \"{}\" ...", arg(0)),
        Verb::ClearUserLimits if arg(1) == "all" => {
            format!("Clearing all limits for user \"{}\" ...", arg(0))
        }
        Verb::ClearUserLimits => {
            format!("Clearing \"{}\" limit for user \"{}\" ...", arg(1), arg(0))
        }
        Verb::AddSecretKey => format!(
            "Adding a secret key for user \"{}\" in vhost \"{vhost}\" ...",
            arg(0)
        ),
        Verb::DeleteSecretKey => format!("Deleting secret key \"{}\" ...", arg(0)),
        Verb::ListSecretKeys => "Listing secret keys ...".to_owned(),
        Verb::DeleteUser => format!("Deleting user \"{}\" ...", arg(0)),
        Verb::ListUserLimits if has("global") => "Listing limits for all users ...".to_owned(),
        Verb::ListUserLimits => {
            let user = invocation
                .options
                .get("user")
                .map_or("guest", String::as_str);
            format!("Listing limits for user \"{user}\" ...")
        }
        Verb::ListUsers => "Listing users ...".to_owned(),
        Verb::SetUserLimits => format!(
            "Setting user limits to \"{}\" for user \"{}\" ...",
            arg(1),
            arg(0)
        ),
        Verb::SetUserTags => format!("Setting tags for user \"{}\" to [{}] ...", arg(0), rest(1)),
        Verb::ClearPermissions => format!(
            "Clearing permissions for user \"{}\" in vhost \"{vhost}\" ...",
            arg(0)
        ),
        Verb::ClearTopicPermissions if arg(1).is_empty() => {
            format!(
                "Clearing topic permissions for user \"{}\" in vhost \"{vhost}\" ...",
                arg(0)
            )
        }
        Verb::ClearTopicPermissions => {
            let (user, exchange) = (arg(0), arg(1));
            format!(
                "Clearing topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
            )
        }
        Verb::ListPermissions => format!("Listing permissions for vhost \"{vhost}\" ..."),
        Verb::ListTopicPermissions => {
            format!("Listing topic permissions for vhost \"{vhost}\" ...")
        }
        Verb::ListUserPermissions => format!("Listing permissions for user \"{}\" ...", arg(0)),
        Verb::ListUserTopicPermissions => {
            format!("Listing topic permissions for user \"{}\" ...", arg(0))
        }
        Verb::ListVhosts => "Listing vhosts ...".to_owned(),
        Verb::SetPermissions => format!(
            "Setting permissions for user \"{}\" in vhost \"{vhost}\" ...",
            arg(0)
        ),
        Verb::SetPermissionsGlobally => {
            format!(
                "Setting permissions for user \"{}\" in all virtual hosts ...",
                arg(0)
            )
        }
        Verb::SetTopicPermissions => {
            let (user, exchange) = (arg(0), arg(1));
            format!(
                "Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
            )
        }
        Verb::ListBindings => format!("Listing bindings for vhost {vhost}..."),
        Verb::ListChannels => "Listing channels ...".to_owned(),
        Verb::ListConnections => "Listing connections ...".to_owned(),
        Verb::ListConsumers => format!("Listing consumers in vhost {vhost} ..."),
        Verb::ListExchanges => format!("Listing exchanges for vhost {vhost} ..."),
        Verb::ListQueues => {
            let seconds = invocation
                .target
                .timeout
                .map_or(60.0, |timeout| timeout.as_secs_f64());
            format!("Timeout: {seconds:.1} seconds ...\nListing queues for vhost {vhost} ...")
        }
        Verb::Ping => {
            let millis = invocation
                .target
                .timeout
                .map_or(60_000, |timeout| timeout.as_millis());
            format!(
                "Will ping {node}. This checks that the broker's process answers. Timeout: {millis} ms."
            )
        }
        Verb::Status => format!("Status of node {node} ..."),
        Verb::SetParameter => format!(
            "Setting runtime parameter \"{}\" for component \"{}\" to \"{}\" in vhost \"{vhost}\" ...",
            arg(1),
            arg(0),
            arg(2)
        ),
        Verb::ClearParameter => format!(
            "Clearing runtime parameter \"{}\" for component \"{}\" on vhost \"{vhost}\" ...",
            arg(1),
            arg(0)
        ),
        Verb::DeleteShovel => format!("Deleting shovel {} in vhost {vhost}", arg(0)),
        Verb::RestartShovel => format!(
            "Restarting dynamic Shovel {} in virtual host {vhost} on node {node}",
            arg(0)
        ),
        Verb::ShovelStatus => format!("Shovel status on node {node}"),
        Verb::ListParameters => format!("Listing runtime parameters for vhost \"{vhost}\" ..."),
        Verb::SetGlobalParameter => format!(
            "Setting global runtime parameter \"{}\" to \"{}\" ...",
            arg(0),
            arg(1)
        ),
        Verb::ClearGlobalParameter => {
            format!("Clearing global runtime parameter \"{}\" ...", arg(0))
        }
        Verb::ListGlobalParameters => "Listing global runtime parameters ...".to_owned(),
        Verb::SetClusterName => format!("Setting cluster name to {} ...", arg(0)),
        Verb::SetVhostTags => format!(
            "Setting tags for virtual host \"{}\" to [{}] ...",
            arg(0),
            rest(1)
        ),
        Verb::UpdateVhostMetadata => format!("Updating metadata of vhost \"{}\" ...", arg(0)),
        Verb::EnableVhostDeletionProtection => {
            format!(
                "Protecting virtual host \"{}\" from removal by updating its metadata...",
                arg(0)
            )
        }
        Verb::DisableVhostDeletionProtection => format!(
            "Removing deletion protection from virtual host \"{}\" by updating its metadata...",
            arg(0)
        ),
        Verb::AddVhost => format!("Adding vhost \"{}\" ...", arg(0)),
        Verb::ClearVhostLimits => format!("Clearing vhost \"{vhost}\" limits ..."),
        Verb::DeleteVhost => format!("Deleting vhost \"{}\" ...", arg(0)),
        Verb::ListVhostLimits if has("global") => "Listing limits for all vhosts ...".to_owned(),
        Verb::ListVhostLimits => format!("Listing limits for vhost \"{vhost}\" ..."),
        Verb::SetVhostLimits => format!(
            "Setting vhost limits to \"{}\" for vhost \"{vhost}\" ...",
            arg(0)
        ),
        Verb::ClearOperatorPolicy => {
            format!(
                "Clearing operator policy \"{}\" on vhost \"{vhost}\" ...",
                arg(0)
            )
        }
        Verb::ClearPolicy => format!("Clearing policy \"{}\" on vhost \"{vhost}\" ...", arg(0)),
        Verb::ListOperatorPolicies => {
            format!("Listing operator policy overrides for vhost \"{vhost}\" ...")
        }
        Verb::ListPolicies => format!("Listing policies for vhost \"{vhost}\" ..."),
        Verb::SetOperatorPolicy | Verb::SetPolicy => {
            let what = match verb {
                Verb::SetOperatorPolicy => "operator policy override",
                _ => "policy",
            };
            let priority = invocation.options.get("priority");
            format!(
                "Setting {what} \"{}\" for pattern \"{}\" to \"{}\" with priority \"{}\" for vhost \"{vhost}\" ...",
                arg(0),
                arg(1),
                arg(2),
                priority.map_or("0", String::as_str)
            )
        }
        Verb::DeleteQueue => {
            let condition = match (has("if-empty"), has("if-unused")) {
                (true, true) => "if queue is empty and if queue is unused ",
                (true, false) => "if queue is empty ",
                (false, true) => "if queue is unused ",
                (false, false) => "",
            };
            format!(
                "Deleting queue '{}' on vhost '{vhost}' {condition}...",
                arg(0)
            )
        }
        Verb::Rewind => format!(
            "Rewinding queue '{}' in vhost '{vhost}' to {} ...",
            arg(0),
            invocation.options.get("to").map_or("", String::as_str)
        ),
        Verb::PurgeQueue => format!("Purging queue '{}' in vhost '{vhost}' ...", arg(0)),
        Verb::CloseAllConnections if has("global") => {
            format!(
                "Closing all connections to node {node} (across all vhosts), reason: {}...",
                arg(0)
            )
        }
        Verb::CloseAllConnections => format!(
            "Closing all connections in vhost {vhost}, reason: {}...",
            arg(0)
        ),
        Verb::CloseAllUserConnections => {
            format!(
                "Closing connections of user {}, reason: {}...",
                arg(0),
                arg(1)
            )
        }
        Verb::CloseConnection => format!("Closing connection {}, reason: {}...", arg(0), arg(1)),
        Verb::ClearAlarm => format!("Clearing the {} alarm on node {node} ...", arg(0)),
        Verb::SetAlarm => format!("Setting the {} alarm on node {node} ...", arg(0)),
        Verb::SetChannelMax => format!("Setting channel_max on node {node} to {} ...", arg(0)),
        Verb::SetLoopbackUsers => {
            format!("Setting loopback users on node {node} to [{}] ...", rest(0))
        }
        Verb::SetDiskFreeLimit if arg(0) == "mem_relative" => {
            format!(
                "Setting disk free limit on {node} to {} times the total RAM ...",
                arg(1)
            )
        }
        Verb::SetDiskFreeLimit => {
            format!("Setting disk free limit on {node} to {} bytes ...", arg(0))
        }
        Verb::SetVmMemoryHighWatermark if arg(0) == "absolute" => {
            format!("Setting memory threshold on {node} to {} bytes ...", arg(1))
        }
        Verb::SetVmMemoryHighWatermark => {
            format!("Setting memory threshold on {node} to {} ...", arg(0))
        }
        Verb::HashPassword => format!("Will hash password {}", arg(0)),
        Verb::ListPoliciesThatMatch => {
            let kind = invocation.options.get("object-type");
            let kind = kind.map_or("queue", String::as_str);
            format!(
                "Listing policies that match {kind} '{}' in vhost '{vhost}' ...",
                arg(0)
            )
        }
        Verb::LogTail => {
            let count = invocation.options.get("number");
            let count = count.map_or("50", String::as_str);
            format!("Last {count} log lines on node {node} ...")
        }
        Verb::LogTailStream => match invocation.options.get("duration") {
            None => format!("Streaming logs from node {node} ..."),
            Some(seconds) => format!("Streaming logs from node {node} for {seconds} seconds ..."),
        },
        Verb::ResolveHostname => {
            let family = invocation.options.get("address-family");
            let family = family.map_or("IPv4", String::as_str);
            format!(
                "Asking node {node} to resolve hostname {} to {family} addresses...",
                arg(0)
            )
        }
        Verb::Rebalance if arg(0) == "stream" => "Re-balancing leaders of streams...".to_owned(),
        Verb::Rebalance if arg(0) == "all" => "Re-balancing leaders of all queues...".to_owned(),
        Verb::Rebalance => format!("Re-balancing leaders of {} queues...", arg(0)),
        Verb::EnableFeatureFlag if arg(0) == "all" => "Enabling all feature flags ...".to_owned(),
        Verb::EnableFeatureFlag => format!("Enabling feature flag \"{}\" ...", arg(0)),
        Verb::ListDeprecatedFeatures if has("used") => {
            "Listing deprecated features in use ...".to_owned()
        }
        Verb::ListDeprecatedFeatures => "Listing deprecated features ...".to_owned(),
        Verb::EnablePlugins => format!("Enabling plugins on node {node}:\n{}", rest(0)),
        Verb::IsEnabled => {
            let (noun, verb) = match invocation.args.len() {
                1 => ("plugin", "is"),
                _ => ("plugins", "are"),
            };
            format!("Asking node {node} if {noun} {} {verb} enabled...", rest(0))
        }
        Verb::ListPlugins => {
            let pattern = invocation.args.first();
            let pattern = pattern.map_or(".*", String::as_str);
            format!("Listing plugins with pattern \"{pattern}\" ...")
        }
        // `banner_templates` has the others.
        _ => return None,
    })
}

/// The lines after a verb was carried out.
pub(super) fn epilogue(verb: Verb) -> &'static str {
    match verb {
        Verb::AddUser => {
            "Done. Don't forget to grant the user permissions to some virtual hosts! See 'leveret ctl help \
             set_permissions' to learn more.\n"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::invocation::{Style, Target};
    use crate::ctl::test_support::invocation;
    use crate::ctl::verbs::VERBS;

    #[test]
    fn banners_read_as_rabbitmqctls() {
        for (line, expected) in [
            ("add_user bob pw", "Adding user \"bob\" ..."),
            (
                "set_user_tags bob a b",
                "Setting tags for user \"bob\" to [a, b] ...",
            ),
            (
                "set_user_tags bob",
                "Setting tags for user \"bob\" to [] ...",
            ),
            (
                "set_permissions -p v bob a b c",
                "Setting permissions for user \"bob\" in vhost \"v\" ...",
            ),
            (
                "clear_topic_permissions bob",
                "Clearing topic permissions for user \"bob\" in vhost \"/\" ...",
            ),
            (
                "list_queues",
                "Timeout: 60.0 seconds ...\nListing queues for vhost / ...",
            ),
            ("list_bindings", "Listing bindings for vhost /..."),
            (
                "delete_queue q -e",
                "Deleting queue 'q' on vhost '/' if queue is empty ...",
            ),
            ("delete_queue q", "Deleting queue 'q' on vhost '/' ..."),
            ("stop_app", "Stopping rabbit application on node n@h ..."),
            (
                "set_disk_free_limit mem_relative 1.0",
                "Setting disk free limit on n@h to 1.0 times the total RAM ...",
            ),
            (
                "check_running",
                "Checking if Leveret is running on node n@h ...",
            ),
            (
                "check_port_listener 5",
                "Asking node n@h if there's an active listener on port 5 ...",
            ),
            (
                "add_replica -p v s n2",
                "Adding a replica for stream s on node n2...",
            ),
            ("log_tail -N 3", "Last 3 log lines on node n@h ..."),
        ] {
            let (verb, invocation) = invocation(line);
            assert_eq!(
                banner(verb, &invocation, "n@h"),
                Some(expected.to_owned()),
                "{line}"
            );
        }
    }

    #[test]
    fn every_verb_has_a_banner_but_those_that_print_none() {
        for spec in VERBS {
            let many = vec!["x".to_owned(); spec.min.max(1)];
            let invocation = Invocation {
                verb: spec.name,
                args: many,
                options: std::collections::BTreeMap::new(),
                style: Style::default(),
                target: Target::default(),
            };
            let is_silent = [Verb::AwaitStartup].contains(&spec.verb);
            let shown = banner(spec.verb, &invocation, "n@h");
            assert_eq!(shown.is_none(), is_silent, "{}", spec.name);
            assert!(
                shown.is_none_or(|text| !text.contains(['{', '}'])),
                "{}",
                spec.name
            );
        }
    }
}
