//! A document with every value checked, before anything changes. Entries that have no meaning here are named and left
//! out; an invalid value refuses the whole document. Pure: knows nothing of what exists in the broker.

mod access; // users and virtual hosts
mod topology; // exchanges, queues and bindings

use std::collections::HashSet;

use super::document::{Document, Entries};
use super::entries::{GlobalParameterEntry, ParameterEntry};
use super::own::OverridesEntry;
use super::report::{Category, Report};
use super::topology::Arguments;
use crate::broker::exchange::{Binding, Exchange};
use crate::broker::limits::UserLimits;
use crate::broker::password::PasswordHash;
use crate::broker::permissions::{Grant, InvalidPattern, TopicGrant};
use crate::broker::secrets::Secret;
use crate::broker::vhost::{NAME_BYTES_MAX, NewQueue};
use crate::model::Name;
use crate::model::arguments::QueueKind;
use crate::model::policy::{Policy, PolicyDraft, PolicyKind};
use crate::wire::{FieldTable, table_from_json};

/// What a document is imported into.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    Cluster,
    /// Exchanges, queues, bindings, policies and parameters go to this virtual host. The rest is not imported.
    Vhost(Name),
}

/// An invalid value, in RabbitMQ's words where it has some.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Invalid(pub(super) String);

impl Invalid {
    fn of(kind: &str, name: &str, reason: impl std::fmt::Display) -> Invalid {
        Invalid(format!("{kind} '{name}': {reason}"))
    }
}

type Checked<T> = Result<T, Invalid>;

#[derive(Debug)]
pub(super) enum Password {
    None,
    Hash(PasswordHash),
    /// Hashed when it is imported.
    Plain(String),
}

#[derive(Debug)]
pub(super) struct PlannedUser {
    pub(super) name: Name,
    pub(super) password: Password,
    pub(super) tags: Vec<Name>,
    pub(super) limits: Option<UserLimits>,
}

/// What a document says of a virtual host.
#[derive(Debug)]
pub(super) struct PlannedVhost {
    pub(super) name: Name,
    pub(super) description: String,
    pub(super) tags: Vec<Name>,
    /// `None` leaves what holds.
    pub(super) default_queue_kind: Option<QueueKind>,
    /// `None` leaves what holds.
    pub(super) protected_from_deletion: Option<bool>,
    /// `None` leaves what holds.
    pub(super) tracing: Option<bool>,
}

/// Something in a virtual host.
#[derive(Debug)]
pub(super) struct In<T> {
    pub(super) vhost: Name,
    pub(super) it: T,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) users: Vec<PlannedUser>,
    pub(super) vhosts: Vec<PlannedVhost>,
    pub(super) permissions: Vec<(Name, Name, Grant)>,
    pub(super) topic_permissions: Vec<(Name, Name, Name, TopicGrant)>,
    pub(super) global_parameters: Vec<GlobalParameterEntry>,
    pub(super) parameters: Vec<In<ParameterEntry>>,
    pub(super) policies: Vec<In<PolicyDraft>>,
    pub(super) exchanges: Vec<In<Exchange>>,
    pub(super) queues: Vec<In<NewQueue>>,
    pub(super) bindings: Vec<In<Binding>>,
    pub(super) secrets: Vec<Secret>,
    pub(super) overrides: Vec<In<OverridesEntry>>,
    /// So far: what is not imported.
    pub(super) report: Report,
}

impl Plan {
    pub(super) fn new(document: Document, scope: &Scope) -> Checked<Plan> {
        let mut plan = Plan::default();
        plan.count_no_objects(&document);
        if let Scope::Cluster = scope {
            plan.add_access(
                document.users,
                document.leveret.password_hashes,
                document.rabbitmq_version.or(document.rabbit_version),
            )?;
            for entry in document.vhosts {
                plan.add_vhost(entry)?;
            }
            for entry in document.permissions {
                let grant = Grant::new(&entry.configure, &entry.write, &entry.read);
                let grant = grant.map_err(|invalid| invalid_pattern(&invalid))?;
                plan.permissions.push((entry.user, entry.vhost, grant));
            }
            for entry in document.topic_permissions {
                let grant = TopicGrant::new(&entry.write, &entry.read, &entry.user, &entry.vhost);
                let grant = grant.map_err(|invalid| invalid_pattern(&invalid))?;
                let (user, vhost, exchange) = (entry.user, entry.vhost, entry.exchange);
                plan.topic_permissions.push((user, vhost, exchange, grant));
            }
            plan.global_parameters = document.global_parameters.into_iter().collect();
            plan.secrets = document.leveret.secret_keys;
        }
        for entry in document.parameters {
            let vhost = place(entry.vhost.as_ref(), scope)?;
            plan.parameters.push(In { vhost, it: entry });
        }
        for entry in document.policies {
            let vhost = place(entry.vhost.as_ref(), scope)?;
            let draft = PolicyDraft {
                name: entry.name,
                pattern: entry.pattern,
                apply_to: entry.apply_to,
                definition: entry.definition,
                priority: entry.priority,
            };
            Policy::new(PolicyKind::User, draft.clone()).map_err(|invalid| {
                Invalid(format!(
                    "{invalid} (vhost: \"{vhost}\" key: \"{}\")",
                    draft.name
                ))
            })?;
            plan.policies.push(In { vhost, it: draft });
        }
        let mut left_out = HashSet::new();
        for entry in document.exchanges {
            let vhost = place(entry.vhost.as_ref(), scope)?;
            plan.add_exchange(vhost, entry, &mut left_out)?;
        }
        for entry in document.queues {
            let vhost = place(entry.vhost.as_ref(), scope)?;
            plan.add_queue(vhost, entry, &mut left_out)?;
        }
        for entry in document.bindings {
            let vhost = place(entry.vhost.as_ref(), scope)?;
            plan.add_binding(vhost, entry, &left_out)?;
        }
        for entry in document.leveret.queue_overrides {
            let vhost = place(entry.vhost.as_ref(), scope)?;
            plan.overrides.push(In { vhost, it: entry });
        }
        Ok(plan)
    }

    /// Number of steps of the import.
    pub(super) fn len(&self) -> usize {
        self.users.len()
            + self.vhosts.len()
            + self.permissions.len()
            + self.topic_permissions.len()
            + self.global_parameters.len()
            + self.parameters.len()
            + self.policies.len()
            + self.exchanges.len()
            + self.queues.len()
            + self.bindings.len()
            + self.secrets.len()
            + self.overrides.len()
    }

    fn count_no_objects(&mut self, document: &Document) {
        fn of<T>(entries: &Entries<T>) -> usize {
            entries.not_objects
        }
        for (category, count) in [
            (Category::Users, of(&document.users)),
            (Category::Vhosts, of(&document.vhosts)),
            (Category::Permissions, of(&document.permissions)),
            (Category::TopicPermissions, of(&document.topic_permissions)),
            (Category::Parameters, of(&document.parameters)),
            (Category::GlobalParameters, of(&document.global_parameters)),
            (Category::Policies, of(&document.policies)),
            (Category::Exchanges, of(&document.exchanges)),
            (Category::Queues, of(&document.queues)),
            (Category::Bindings, of(&document.bindings)),
        ] {
            if count > 0 {
                let reason = format!("{count} elements of the list are no objects");
                self.report.skip(category, None, "", reason);
            }
        }
    }
}

fn invalid_pattern(invalid: &InvalidPattern) -> Invalid {
    Invalid(format!(
        "{{invalid_regexp,\"{}\",\"{}\"}}",
        invalid.pattern, invalid.reason
    ))
}

/// The virtual host of an entry.
fn place(named: Option<&Name>, scope: &Scope) -> Checked<Name> {
    match (scope, named) {
        (Scope::Vhost(vhost), _) => Ok(vhost.clone()),
        (Scope::Cluster, Some(vhost)) => Ok(vhost.clone()),
        (Scope::Cluster, None) => Err(Invalid(
            "some entries name no virtual host: this is the export of a single virtual host, which can only be \
             imported into one"
                .to_owned(),
        )),
    }
}

fn check_name(kind: &str, name: &str) -> Checked<()> {
    match name.len() {
        0..=NAME_BYTES_MAX => Ok(()),
        _ => Err(Invalid(format!(
            "a {kind} has a name of more than {NAME_BYTES_MAX} bytes"
        ))),
    }
}

fn arguments(kind: &str, name: &str, arguments: &Arguments) -> Checked<FieldTable> {
    match arguments.object() {
        None => Ok(FieldTable::default()),
        Some(object) => table_from_json(object).map_err(|invalid| Invalid::of(kind, name, invalid)),
    }
}
