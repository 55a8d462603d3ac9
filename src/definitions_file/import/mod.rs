//! Imports a document: checks all of it, then changes the broker category by category, in RabbitMQ's order. What exists
//! under the name of an exchange, queue or binding stays as it is; users, virtual hosts, permissions, policies and
//! parameters are replaced. Everything is durable when this returns. An error ends the import; what came before stays.

mod error; // why an import ends early
mod topology; // exchanges, queues and bindings
mod under_way; // changes that share syncs

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tracing::{info, warn};

pub(crate) use error::ImportError;

use self::error::{no_such_vhost, refused_parameter};
use super::document::Document;
use super::entries::{GlobalParameterEntry, ParameterEntry};
use super::plan::{In, Password, Plan, PlannedUser, PlannedVhost, Scope};
use super::report::{Category, Progress, Report};
use crate::broker::broker::Broker;
use crate::broker::parameters::{IMPORTED_HASH, INTERNAL_CLUSTER_ID, ParameterError, runtime};
use crate::broker::policies::PolicyError;
use crate::broker::secrets::Secret;
use crate::broker::users::{PutUser, UserError};
use crate::broker::vhost::{Vhost, VhostMetadata};
use crate::model::Name;
use crate::model::policy::{PolicyDraft, PolicyKind};

/// Entries not imported that the log names.
const LOGGED_MAX: usize = 100;
/// The reason for an existing exchange or queue.
const STAYS: &str = "one with other properties exists, and stays as it is";

/// What happens to content that was imported last already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repetition {
    Import,
    Skip,
}

/// The end of an import.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Imported {
    Now(Report),
    Unchanged,
}

/// Imports a document, and tells how far it has come.
pub(crate) async fn import(
    broker: &Arc<Broker>,
    content: &[u8],
    scope: &Scope,
    repetition: Repetition,
    progress: &watch::Sender<Progress>,
) -> Result<Imported, ImportError> {
    if repetition == Repetition::Import {
        let document = Document::read(content)?;
        let report = import_document(broker, document, scope, progress).await?;
        return Ok(Imported::Now(report));
    }
    let hash = BASE64_STANDARD_NO_PAD.encode(Sha256::digest(content));
    let last = broker.global_parameters().get(IMPORTED_HASH);
    if last.is_some_and(|last| *last == hash.as_str()) {
        return Ok(Imported::Unchanged);
    }
    let document = Document::read(content)?;
    let report = import_document(broker, document, scope, progress).await?;
    let noted = broker
        .global_parameters()
        .set(IMPORTED_HASH, hash.into())
        .await;
    noted.map_err(|error| refused_parameter(error, ""))?;
    Ok(Imported::Now(report))
}

async fn import_document(
    broker: &Arc<Broker>,
    document: Document,
    scope: &Scope,
    progress: &watch::Sender<Progress>,
) -> Result<Report, ImportError> {
    let plan = Plan::new(document, scope)?;
    if let Scope::Vhost(name) = scope
        && broker.vhost(name).is_none()
    {
        return Err(no_such_vhost(name));
    }
    progress.send_replace(Progress {
        done: 0,
        total: plan.len(),
    });
    let import = Import {
        broker,
        report: Report::default(),
        progress,
    };
    let report = import.carry_out(plan).await?;
    info!("definitions imported: {}", report.summary());
    let lines = report.lines();
    for line in lines.iter().take(LOGGED_MAX) {
        warn!("not imported: {line}");
    }
    if lines.len() > LOGGED_MAX {
        warn!("not imported: {} more", lines.len() - LOGGED_MAX);
    }
    Ok(report)
}

struct Import<'a> {
    broker: &'a Arc<Broker>,
    report: Report,
    progress: &'a watch::Sender<Progress>,
}

impl Import<'_> {
    async fn carry_out(mut self, plan: Plan) -> Result<Report, ImportError> {
        self.report = plan.report;
        self.users(plan.users).await?;
        self.vhosts(plan.vhosts).await?;
        self.check_queue_limits(&plan.queues)?;
        let count = plan.permissions.len();
        for (_, vhost, _) in &plan.permissions {
            self.vhost(vhost)?;
        }
        let users = self.broker.users();
        users.put_permissions(plan.permissions).await?;
        self.done(Category::Permissions, count);
        self.exchanges(plan.exchanges).await?;
        let count = plan.topic_permissions.len();
        for (_, vhost, ..) in &plan.topic_permissions {
            self.vhost(vhost)?;
        }
        let users = self.broker.users();
        users.put_topic_permissions(plan.topic_permissions).await?;
        self.done(Category::TopicPermissions, count);
        self.global_parameters(plan.global_parameters).await?;
        self.policies(plan.policies).await?;
        self.parameters(plan.parameters).await?;
        self.queues(plan.queues).await?;
        self.bindings(plan.bindings).await?;
        self.secrets(plan.secrets).await?;
        self.overrides(plan.overrides).await?;
        Ok(self.report)
    }

    /// Counts entries that hold now.
    fn done(&mut self, category: Category, count: usize) {
        self.report.imported(category, count);
        self.steps(count);
    }

    fn steps(&self, count: usize) {
        self.progress.send_modify(|progress| progress.done += count);
    }

    fn vhost(&self, name: &str) -> Result<Arc<Vhost>, ImportError> {
        self.broker.vhost(name).ok_or_else(|| no_such_vhost(name))
    }

    async fn users(&mut self, planned: Vec<PlannedUser>) -> Result<(), ImportError> {
        let count = planned.len();
        let mut put = Vec::new();
        for user in planned {
            let password = match user.password {
                Password::None => None,
                Password::Hash(hash) => Some(hash),
                Password::Plain(password) => {
                    let users = self.broker.users();
                    Some(users.hash_password(&user.name, password.as_bytes()).await?)
                }
            };
            put.push(PutUser {
                name: user.name,
                password,
                tags: user.tags,
                limits: user.limits,
            });
        }
        self.broker.users().put_all(put).await?;
        self.done(Category::Users, count);
        Ok(())
    }

    async fn vhosts(&mut self, planned: Vec<PlannedVhost>) -> Result<(), ImportError> {
        let count = planned.len();
        let tracing: Vec<(Name, bool)> = planned
            .iter()
            .filter_map(|vhost| Some((vhost.name.clone(), vhost.tracing?)))
            .collect();
        let put = planned.into_iter().map(|vhost| {
            let known = self.broker.vhost(&vhost.name);
            let known = known.map(|vhost| vhost.metadata()).unwrap_or_default();
            let metadata = VhostMetadata {
                description: vhost.description,
                tags: vhost.tags,
                default_queue_kind: vhost.default_queue_kind.or(known.default_queue_kind),
                protected_from_deletion: vhost
                    .protected_from_deletion
                    .unwrap_or(known.protected_from_deletion),
            };
            (vhost.name, metadata)
        });
        self.broker.put_vhosts(put.collect()).await?;
        for (name, tracing) in tracing {
            if let Some(vhost) = self.broker.vhost(&name) {
                vhost.set_traced(tracing);
            }
        }
        self.done(Category::Vhosts, count);
        Ok(())
    }

    async fn global_parameters(
        &mut self,
        entries: Vec<GlobalParameterEntry>,
    ) -> Result<(), ImportError> {
        let (own, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| *entry.name == *INTERNAL_CLUSTER_ID);
        for entry in own {
            let reason = "the id of another broker";
            let report = &mut self.report;
            report.skip(Category::GlobalParameters, None, &*entry.name, reason);
            self.steps(1);
        }
        let count = others.len();
        let set = others.into_iter().map(|entry| (entry.name, entry.value));
        let parameters = self.broker.global_parameters();
        let set = parameters.set_all(set.collect()).await;
        set.map_err(|error| refused_parameter(error, ""))?;
        self.done(Category::GlobalParameters, count);
        Ok(())
    }

    async fn policies(&mut self, drafts: Vec<In<PolicyDraft>>) -> Result<(), ImportError> {
        let mut count = 0;
        for In { vhost, it } in drafts {
            let place = self.vhost(&vhost)?;
            let name = it.name.clone();
            let set = place.set_policy(PolicyKind::User, it).await;
            self.steps(1);
            match set {
                Ok(policy) => {
                    count += 1;
                    let without = policy.without_effect().join(", ");
                    if !without.is_empty() {
                        let reason = format!("its keys {without} have no effect");
                        let report = &mut self.report;
                        report.skip(Category::Policies, Some(&vhost), &*name, reason);
                    }
                }
                Err(PolicyError::Store(failed)) => return Err(failed.into()),
                Err(error) => {
                    let place = format!(" (vhost: \"{vhost}\" key: \"{name}\")");
                    return Err(ImportError::Refused(format!("{error}{place}")));
                }
            }
        }
        self.report.imported(Category::Policies, count);
        Ok(())
    }

    async fn parameters(&mut self, entries: Vec<In<ParameterEntry>>) -> Result<(), ImportError> {
        let mut count = 0;
        for In { vhost, it } in entries {
            let (component, name) = (&it.component, &it.name);
            let set = runtime::set(self.broker, &vhost, component, name, &it.value).await;
            self.steps(1);
            match set {
                Ok(()) => count += 1,
                Err(ParameterError::NoSuchComponent(_)) => {
                    let reason = format!("there is no component '{component}'");
                    let report = &mut self.report;
                    report.skip(Category::Parameters, Some(&vhost), &**name, reason);
                }
                Err(error) => {
                    let place = format!(
                        " (vhost: \"{vhost}\" / component: \"{component}\" / key: \"{name}\")"
                    );
                    return Err(refused_parameter(error, &place));
                }
            }
        }
        self.report.imported(Category::Parameters, count);
        Ok(())
    }

    async fn secrets(&mut self, secrets: Vec<Secret>) -> Result<(), ImportError> {
        let mut count = 0;
        for secret in secrets {
            self.vhost(&secret.vhost)?;
            let (id, wanted) = (secret.id.clone(), secret.clone());
            self.steps(1);
            match self.broker.users().add_secret(secret).await {
                Ok(()) => count += 1,
                Err(UserError::SecretExists(_)) => {
                    let known = self.broker.users().secret(&id);
                    match known.is_some_and(|known| *known == wanted) {
                        true => count += 1,
                        false => {
                            let report = &mut self.report;
                            report.skip(Category::SecretKeys, None, &*id, STAYS);
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.report.imported(Category::SecretKeys, count);
        Ok(())
    }
}
