//! Exports what clients and operators declared: of the whole broker, or of one virtual host.

use std::sync::Arc;

use tracing::warn;

use super::document::{About, Document, Entries, Exported, Origin};
use super::entries::{
    GlobalParameterEntry, ParameterEntry, PermissionEntry, Tags, TopicPermissionEntry, UserEntry,
    VhostEntry, VhostMetadataEntry,
};
use super::own::{OverridesEntry, OwnEntries, PasswordEntry};
use super::topology::{
    Arguments, BindingEntry, DestinationType, ExchangeEntry, PolicyEntry, QueueEntry,
};
use crate::broker::broker::Broker;
use crate::broker::exchange::{Binding, Exchange};
use crate::broker::parameters::runtime;
use crate::broker::password::HashingAlgorithm;
use crate::broker::queue::Queue;
use crate::broker::users::User;
use crate::broker::vhost::Vhost;
use crate::model::Name;
use crate::model::policy::{Policy, PolicyDraft, PolicyKind};
use crate::wire::{FieldTable, table_to_json};

/// The version of RabbitMQ whose format this is. Tools that read the document look for it.
const FORMAT_VERSION: &str = "4.3.0";
/// Prefix of the names of exchanges that every virtual host has.
const RESERVED_PREFIX: &str = "amq.";
/// Global parameters that begin with this stay with the broker.
const INTERNAL_PREFIX: &str = "internal";

/// Everything in the broker, but for messages and what belongs to connections.
pub(crate) fn export(broker: &Broker) -> Exported {
    let name = broker.cluster_name();
    let users = broker.users().list();
    let vhosts = broker.vhost_list();
    let mut document = Document {
        users: Entries::of(users.iter().map(|user| user_entry(user)).collect()),
        vhosts: Entries::of(
            vhosts
                .iter()
                .map(|vhost| vhost_entry(broker, vhost))
                .collect(),
        ),
        permissions: Entries::of(permissions(broker)),
        topic_permissions: Entries::of(topic_permissions(broker)),
        global_parameters: Entries::of(global_parameters(broker)),
        ..contents(broker, &vhosts)
    };
    let hashes: Vec<_> = users.iter().filter_map(|user| own_hash(user)).collect();
    if !hashes.is_empty() {
        let users = hashes.len();
        warn!(
            users,
            "definitions exported: a RabbitMQ that imports them clears the passwords of users with argon2id hashes"
        );
    }
    document.leveret.password_hashes = hashes;
    let secrets = broker.users().secrets();
    document.leveret.secret_keys = secrets
        .iter()
        .map(|secret| secret.as_ref().clone())
        .collect();
    Exported {
        about: about(
            "cluster",
            format!("Definitions of cluster '{name}'"),
            Origin::Cluster {
                original_cluster_name: name,
            },
        ),
        document,
    }
}

/// Everything in a virtual host, for import into any virtual host: entries do not name it.
pub(crate) fn export_vhost(broker: &Broker, vhost: &Arc<Vhost>) -> Exported {
    let mut document = contents(broker, std::slice::from_ref(vhost));
    let places = document.exchanges.list.iter_mut().flatten();
    places.for_each(|entry| entry.vhost = None);
    let places = document.queues.list.iter_mut().flatten();
    places.for_each(|entry| entry.vhost = None);
    let places = document.bindings.list.iter_mut().flatten();
    places.for_each(|entry| entry.vhost = None);
    let places = document.policies.list.iter_mut().flatten();
    places.for_each(|entry| entry.vhost = None);
    let places = document.parameters.list.iter_mut().flatten();
    places.for_each(|entry| entry.vhost = None);
    let places = document.leveret.queue_overrides.iter_mut();
    places.for_each(|entry| entry.vhost = None);
    let VhostEntry {
        description,
        metadata,
        limits,
        ..
    } = vhost_entry(broker, vhost);
    Exported {
        about: about(
            "single_virtual_host",
            format!("Definitions of virtual host '{}'", vhost.name()),
            Origin::Vhost {
                original_vhost_name: vhost.name().to_string(),
                description: description.unwrap_or_default(),
                metadata: Box::new(metadata),
                limits,
            },
        ),
        document,
    }
}

fn about(format: &'static str, explanation: String, origin: Origin) -> About {
    About {
        rabbit_version: FORMAT_VERSION,
        rabbitmq_version: FORMAT_VERSION,
        product_name: "Leveret",
        product_version: env!("CARGO_PKG_VERSION"),
        rabbitmq_definition_format: format,
        explanation,
        origin,
    }
}

/// What these virtual hosts hold.
fn contents(broker: &Broker, vhosts: &[Arc<Vhost>]) -> Document {
    let mut exchanges = Vec::new();
    let mut queues = Vec::new();
    let mut bindings = Vec::new();
    let mut overrides = Vec::new();
    let mut policies = Vec::new();
    for vhost in vhosts {
        let name = vhost.name();
        let own = vhost.exchanges().into_iter();
        let own = own.filter(|exchange| is_exported(exchange));
        exchanges.extend(own.map(|exchange| exchange_entry(name, &exchange)));
        let all = vhost.queues();
        let kept = || {
            all.iter()
                .filter(|queue| queue.spec().exclusive_owner.is_none())
        };
        queues.extend(kept().map(|queue| queue_entry(name, queue)));
        overrides.extend(kept().filter_map(|queue| overrides_entry(name, queue)));
        let own = vhost.policies(PolicyKind::User).into_iter();
        policies.extend(own.map(|policy| policy_entry(name, &policy)));
        let own = vhost.bindings().into_iter();
        let own = own.filter(|binding| !binding.source.is_empty());
        bindings.extend(own.map(|binding| binding_entry(name, &binding)));
    }
    let is_of_these = |vhost: &str| vhosts.iter().any(|own| **own.name() == *vhost);
    let parameters = runtime::list(broker).into_iter();
    let parameters = parameters.filter(|parameter| is_of_these(&parameter.vhost));
    let parameters = parameters.map(|parameter| ParameterEntry {
        vhost: Some(parameter.vhost),
        component: parameter.component.into(),
        name: parameter.name,
        value: parameter.value,
    });
    Document {
        parameters: Entries::of(parameters.collect()),
        policies: Entries::of(policies),
        exchanges: Entries::of(exchanges),
        queues: Entries::of(queues),
        bindings: Entries::of(bindings),
        leveret: OwnEntries {
            queue_overrides: overrides,
            ..OwnEntries::default()
        },
        ..Document::default()
    }
}

/// RabbitMQ's broker would not log in a user by a hash that it does not know, so such users have none here.
fn user_entry(user: &User) -> UserEntry {
    let portable = user
        .password_hash()
        .filter(|hash| hash.algorithm() != HashingAlgorithm::Argon2id);
    let algorithm = portable.map_or(HashingAlgorithm::RabbitSha256, |hash| hash.algorithm());
    UserEntry {
        name: user.name.clone(),
        password_hash: Some(portable.map_or_else(String::new, |hash| hash.text().to_owned())),
        hashing_algorithm: Some(algorithm.as_str().to_owned()),
        password: None,
        tags: Tags::List(user.tags.clone()),
        limits: Some(Arguments::Object(user.limits.to_json())),
    }
}

fn own_hash(user: &User) -> Option<PasswordEntry> {
    let hash = user.password_hash()?;
    (hash.algorithm() == HashingAlgorithm::Argon2id).then(|| PasswordEntry {
        name: user.name.clone(),
        password_hash: hash.text().to_owned(),
        hashing_algorithm: hash.algorithm().as_str().to_owned(),
    })
}

fn vhost_entry(broker: &Broker, vhost: &Vhost) -> VhostEntry {
    let metadata = vhost.metadata();
    let kind = metadata.default_queue_kind.map(|kind| kind.as_str().into());
    VhostEntry {
        name: vhost.name().clone(),
        description: Some(metadata.description.clone()),
        tags: Some(Tags::List(metadata.tags.clone())),
        default_queue_type: kind.clone(),
        tracing: None,
        metadata: VhostMetadataEntry {
            description: Some(metadata.description),
            tags: Some(metadata.tags),
            default_queue_type: kind,
            protected_from_deletion: metadata.protected_from_deletion.then_some(true),
        },
        limits: broker.limits().of_vhost(vhost.name()).to_json(),
    }
}

fn permissions(broker: &Broker) -> Vec<PermissionEntry> {
    broker.users().with_permissions(|table| {
        let grants = table.grants();
        let entries = grants.map(|(user, vhost, grant)| PermissionEntry {
            user: user.clone(),
            vhost: vhost.clone(),
            configure: grant.configure.text().clone(),
            write: grant.write.text().clone(),
            read: grant.read.text().clone(),
        });
        entries.collect()
    })
}

fn topic_permissions(broker: &Broker) -> Vec<TopicPermissionEntry> {
    broker.users().with_permissions(|table| {
        let topics = table.topics();
        let entries = topics.map(|(user, vhost, exchange, grant)| TopicPermissionEntry {
            user: user.clone(),
            vhost: vhost.clone(),
            exchange: exchange.clone(),
            write: grant.write().clone(),
            read: grant.read().clone(),
        });
        entries.collect()
    })
}

fn global_parameters(broker: &Broker) -> Vec<GlobalParameterEntry> {
    let all = broker.global_parameters().list().into_iter();
    let exported = all.filter(|(name, _)| !name.starts_with(INTERNAL_PREFIX));
    exported
        .map(|(name, value)| GlobalParameterEntry { name, value })
        .collect()
}

/// Internal exchanges are exported too. RabbitMQ leaves them out, and so loses the bindings to them.
fn is_exported(exchange: &Exchange) -> bool {
    !exchange.name.is_empty() && !exchange.name.starts_with(RESERVED_PREFIX)
}

fn exchange_entry(vhost: &Name, exchange: &Exchange) -> ExchangeEntry {
    ExchangeEntry {
        name: exchange.name.clone(),
        vhost: Some(vhost.clone()),
        kind: exchange.kind.as_str().to_owned(),
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: arguments(&exchange.arguments),
    }
}

fn queue_entry(vhost: &Name, queue: &Queue) -> QueueEntry {
    let spec = queue.spec();
    QueueEntry {
        name: spec.name.clone(),
        vhost: Some(vhost.clone()),
        kind: spec.arguments.kind.as_str(),
        durable: spec.durable,
        auto_delete: spec.auto_delete,
        arguments: arguments(&spec.arguments.raw),
    }
}

fn overrides_entry(vhost: &Name, queue: &Queue) -> Option<OverridesEntry> {
    let overrides = queue.overrides();
    (!overrides.is_empty()).then(|| OverridesEntry {
        vhost: Some(vhost.clone()),
        queue: queue.name().clone(),
        overrides,
    })
}

fn binding_entry(vhost: &Name, binding: &Binding) -> BindingEntry {
    BindingEntry {
        source: binding.source.clone(),
        vhost: Some(vhost.clone()),
        destination: binding.destination.name().clone(),
        destination_type: match binding.destination.is_queue() {
            true => DestinationType::Queue,
            false => DestinationType::Exchange,
        },
        routing_key: binding.routing_key.clone(),
        arguments: arguments(&binding.arguments),
    }
}

fn policy_entry(vhost: &Name, policy: &Policy) -> PolicyEntry {
    let PolicyDraft {
        name,
        pattern,
        apply_to,
        definition,
        priority,
    } = policy.draft();
    PolicyEntry {
        vhost: Some(vhost.clone()),
        name,
        pattern,
        apply_to,
        definition,
        priority,
    }
}

fn arguments(table: &FieldTable) -> Arguments {
    Arguments::Object(table_to_json(table))
}
