//! The broker, as front doors and operators use it: virtual hosts, users and the services that they share.
//! Opening it restores everything durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::info;

use super::connections::Connections;
use super::definitions::policies::{OperatorPolicyRecord, PolicyRecord};
use super::definitions::proposal::Proposal;
use super::definitions::queue_ids::QueueIds;
use super::definitions::record::{DefinitionError, Record};
use super::definitions::table::Serialised;
use super::definitions::topology::{BindingRecord, ExchangeRecord, QueueRecord};
use super::error::BrokerError;
use super::limits::Limits;
use super::new_vhosts::NewVhosts;
use super::parameters::{GlobalParameters, ShovelParameters};
use super::password::NewPasswords;
use super::queue::{Letters, MemoryBudget, QueueThreads, Timers};
use super::stats::BrokerStats;
use super::timekeeper::Timekeeper;
use super::users::{TAG_ADMINISTRATOR, UserError, Users};
use super::vhost::{Shared, Vhost, VhostMetadata};
use super::vhosts::{VhostError, Vhosts};
use crate::auth::{self, Backends};
use crate::clock::{self, Clock, Mandate};
use crate::model::arguments::QueueKind;
use crate::model::policy::PolicyKind;
use crate::model::vhost_defaults::{DefaultLimits, DefaultUsers};
use crate::model::{ConnectionId, ConsumerId, LogId, Name, QueueId};
use crate::store::commit::{Committer, StoreFailed};
use crate::store::{LogState, Op};

/// Default memory for messages.
const MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// Default virtual host of a fresh broker.
pub const DEFAULT_VHOST: &str = "/";
/// Default user of a fresh broker, and its password.
pub const DEFAULT_USER: &str = "guest";

#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Users that may log in from this machine only.
    pub loopback_users: Vec<Name>,
    /// Maximum bytes of messages that all queues together have in memory.
    pub memory_bytes: u64,
    /// What a new data directory gets. `None` if its definitions come from a file.
    pub defaults: Option<Defaults>,
    /// Users that get permissions in new virtual hosts.
    pub default_users: DefaultUsers,
    /// Limits of new virtual hosts.
    pub default_limits: DefaultLimits,
    pub new_passwords: NewPasswords,
    /// The backends that logins go through; `None` for the broker's own users.
    pub auth: Option<auth::Settings>,
    /// The name of the cluster until an operator sets one.
    pub cluster_name: String,
    /// The type of queues in virtual hosts that name none; `None` is classic.
    pub default_queue_kind: Option<QueueKind>,
    pub clocks: Arc<dyn clock::Source>,
    /// Until when clients are answered from memory.
    pub mandate: Arc<Mandate>,
}

/// The definitions of a fresh broker.
#[derive(Clone, Debug)]
pub struct Defaults {
    pub user: Name,
    pub pass: Name,
    pub tags: Vec<Name>,
    /// A virtual host where the user has the permissions.
    pub vhost: Name,
    /// Patterns for configure, write and read.
    pub permissions: [String; 3],
}

impl Default for BrokerConfig {
    fn default() -> BrokerConfig {
        BrokerConfig {
            loopback_users: vec![DEFAULT_USER.into()],
            memory_bytes: MEMORY_BYTES,
            defaults: Some(Defaults {
                user: DEFAULT_USER.into(),
                pass: DEFAULT_USER.into(),
                tags: vec![TAG_ADMINISTRATOR.into()],
                vhost: DEFAULT_VHOST.into(),
                permissions: [".*", ".*", ".*"].map(str::to_owned),
            }),
            default_users: DefaultUsers::default(),
            default_limits: DefaultLimits::default(),
            new_passwords: NewPasswords::Argon2id,
            auth: None,
            cluster_name: "leveret".to_owned(),
            default_queue_kind: None,
            clocks: Arc::new(clock::System),
            mandate: Arc::new(Mandate::without_end()),
        }
    }
}

/// Why a broker cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error(transparent)]
    Auth(#[from] auth::OpenError),
    #[error("cannot create the default users: {0}")]
    User(#[from] UserError),
    #[error(transparent)]
    Store(#[from] StoreFailed),
}

pub struct Broker {
    users: Users,
    global_parameters: GlobalParameters,
    shovels: ShovelParameters,
    default_cluster_name: String,
    connections: Arc<Connections>,
    vhosts: Serialised<Vhosts>,
    shared: Arc<Shared>,
    timekeeper: Arc<Timekeeper>,
    mandate: Arc<Mandate>,
    new_vhosts: NewVhosts,
    last_connection: AtomicU64,
    last_consumer: AtomicU64,
}

impl Broker {
    /// Opens the broker on the committer's store; a fresh store gets the default virtual host and user. Reads no
    /// message.
    ///
    /// # Errors
    /// When stored definitions cannot be read, or the defaults cannot be written.
    pub async fn open(
        committer: Arc<Committer>,
        config: BrokerConfig,
    ) -> Result<Arc<Broker>, OpenError> {
        let stats = Arc::<BrokerStats>::default();
        let connections = Arc::new(Connections::new(Arc::clone(&stats)));
        let timekeeper = Timekeeper::start(Arc::clone(&committer), config.clocks);
        let clock = timekeeper.clock();
        let new_vhosts = NewVhosts::new(config.default_users, config.default_limits);
        let new_vhosts = new_vhosts.map_err(UserError::from)?;
        let users = Users::open(
            Arc::clone(&committer),
            Arc::clone(&connections),
            config.loopback_users,
            config.new_passwords,
            config
                .auth
                .map(|auth| Backends::open(auth, Arc::clone(clock)))
                .transpose()?
                .unwrap_or_default(),
        )?;
        let limits = Arc::new(Limits::open(Arc::clone(&committer))?);
        let store = committer.store();
        store.sweep_settled().map_err(DefinitionError::from)?;
        let logs = store.logs().map_err(DefinitionError::from)?;
        let highest = logs.iter().map(|(log, _)| log.queue()).max();
        let shared = Arc::new(Shared {
            ids: QueueIds::open(Arc::clone(&committer), highest)?,
            committer: Arc::clone(&committer),
            timers: Timers::start(Arc::clone(clock)),
            clock: Arc::clone(clock),
            budget: Arc::new(MemoryBudget::new(config.memory_bytes)),
            threads: QueueThreads::new(),
            letters: Letters::start(),
            limits,
            stats,
            default_queue_kind: config.default_queue_kind,
        });
        let vhosts = Vhosts::load(Arc::clone(&shared))?;
        let broker = Arc::new(Broker {
            users,
            global_parameters: GlobalParameters::open(Arc::clone(&committer))?,
            shovels: ShovelParameters::open(Arc::clone(&committer))?,
            default_cluster_name: config.cluster_name,
            connections,
            vhosts: Serialised::new(vhosts, committer),
            shared,
            timekeeper,
            mandate: config.mandate,
            new_vhosts,
            last_connection: AtomicU64::new(0),
            last_consumer: AtomicU64::new(0),
        });
        broker.restore(logs)?;
        broker.global_parameters.create_cluster_id().await?;
        let is_new = broker.vhosts.read().is_empty();
        if let Some(defaults) = config.defaults.filter(|_| is_new) {
            broker.create_defaults(&defaults).await?;
        }
        Ok(broker)
    }

    pub fn users(&self) -> &Users {
        &self.users
    }

    pub fn shovels(&self) -> &ShovelParameters {
        &self.shovels
    }

    pub fn global_parameters(&self) -> &GlobalParameters {
        &self.global_parameters
    }

    /// The name that operators and clients see for the whole broker.
    pub fn cluster_name(&self) -> String {
        let set = self.global_parameters.cluster_name();
        set.unwrap_or_else(|| self.default_cluster_name.clone())
    }

    /// The type of queues in virtual hosts that name none.
    pub fn default_queue_kind(&self) -> QueueKind {
        self.shared.default_queue_kind.unwrap_or(QueueKind::Classic)
    }

    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Waits until all pending dead letters are published, for `within` at most. False if some are still
    /// pending.
    pub async fn letters_published(&self, within: Duration) -> bool {
        self.shared.letters.published(within).await
    }

    pub fn committer(&self) -> &Arc<Committer> {
        &self.shared.committer
    }

    pub fn stats(&self) -> &BrokerStats {
        &self.shared.stats
    }

    pub fn budget(&self) -> &Arc<MemoryBudget> {
        &self.shared.budget
    }

    pub fn clock(&self) -> &Arc<Clock> {
        self.timekeeper.clock()
    }

    /// Until when clients are answered from memory. A front door does not answer after that.
    pub fn mandate(&self) -> &Arc<Mandate> {
        &self.mandate
    }

    /// Writes how far the broker's time has come. For an orderly shutdown.
    pub fn note_time(&self) {
        self.timekeeper.note();
    }

    /// For each log the offset below which messages may have been handed out. For an orderly shutdown.
    pub fn handed_out(&self) -> Vec<(LogId, u64)> {
        let vhosts = self.vhost_list();
        let queues = vhosts.iter().flat_map(|vhost| vhost.unordered_queues());
        queues.flat_map(|queue| queue.handed_out()).collect()
    }

    pub fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.read().get(name)
    }

    /// All virtual hosts, ordered by name.
    pub fn vhost_list(&self) -> Vec<Arc<Vhost>> {
        self.vhosts.read().list()
    }

    /// An id for a connection.
    pub fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.last_connection.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// An id for a consumer.
    pub fn next_consumer(&self) -> ConsumerId {
        ConsumerId(self.last_consumer.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Adds a virtual host; it is durable when this returns.
    pub async fn add_vhost(&self, name: &str, metadata: VhostMetadata) -> Result<(), VhostError> {
        let (proposal, ()) = self
            .vhosts
            .propose(|vhosts| vhosts.propose_add(name, metadata))
            .await?;
        let defaults = self.propose_defaults_of(&[name.into()]).await?;
        proposal.and(defaults).commit(self.committer()).await?;
        info!(vhost = name, "virtual host added");
        Ok(())
    }

    /// Adds virtual hosts, or replaces the metadata of those that exist; all in one commit.
    pub async fn put_vhosts(&self, put: Vec<(Name, VhostMetadata)>) -> Result<(), VhostError> {
        let (proposal, new) = self
            .vhosts
            .propose(|vhosts| vhosts.propose_put(put))
            .await?;
        let defaults = self.propose_defaults_of(&new).await?;
        Ok(proposal.and(defaults).commit(self.committer()).await?)
    }

    /// Proposes the users, permissions and limits of virtual hosts that are being added.
    async fn propose_defaults_of(&self, new: &[Name]) -> Result<Proposal, StoreFailed> {
        let (users, limits) = (self.new_vhosts.users(new), self.new_vhosts.limits(new));
        for (vhost, user) in &users {
            info!(%vhost, user = %user.name, "the virtual host gets a default user");
        }
        for (vhost, limits) in &limits {
            info!(%vhost, ?limits, "the virtual host gets default limits");
        }
        let users = self.users.propose_defaults(users).await?;
        Ok(users.and(self.shared.limits.propose_put(limits).await))
    }

    /// Replaces the metadata of a virtual host.
    pub async fn update_vhost(
        &self,
        name: &str,
        metadata: VhostMetadata,
    ) -> Result<(), VhostError> {
        self.vhosts
            .change(|vhosts| vhosts.propose_update(name, metadata))
            .await
    }

    /// Changes the metadata of a virtual host, from what it is when no other change is under way.
    pub async fn change_vhost(
        &self,
        name: &str,
        change: impl FnOnce(&VhostMetadata) -> VhostMetadata,
    ) -> Result<(), VhostError> {
        self.vhosts
            .change(|vhosts| vhosts.propose_change(name, change))
            .await
    }

    /// Deletes a virtual host with everything in it, permissions and limits included, and closes its connections.
    pub async fn delete_vhost(&self, name: &str) -> Result<(), VhostError> {
        let (proposal, vhost) = self
            .vhosts
            .propose(|vhosts| vhosts.propose_delete(name))
            .await?;
        let close_connections = || {
            let reason = format!("vhost '{name}' is deleted");
            self.connections
                .close_where(&reason, |info| *info.vhost == *name);
        };
        close_connections();
        let proposal = proposal
            .and(self.users.propose_forget_vhost(name).await)
            .and(self.shared.limits.propose_forget_vhost(name).await)
            .and(self.shovels.propose_forget_vhost(name).await)
            .and(vhost.propose_forget_policies().await);
        let deleted = vhost.delete(proposal).await;
        deleted.ok_or_else(|| VhostError::NotFound(name.into()))??;
        // Connections that were opened meanwhile.
        close_connections();
        info!(vhost = name, "virtual host deleted");
        Ok(())
    }

    /// Restores exchanges, queues and bindings. Removes logs that no queue claims: their queues were transient, or were
    /// being deleted.
    fn restore(&self, logs: Vec<(LogId, LogState)>) -> Result<(), DefinitionError> {
        let store = &**self.shared.committer.store();
        let mut by_queue: HashMap<QueueId, Vec<(LogId, LogState)>> = HashMap::new();
        for (log, state) in logs {
            by_queue.entry(log.queue()).or_default().push((log, state));
        }
        self.restore_policies()?;
        for record in &ExchangeRecord::load(store)? {
            if let Some(vhost) = self.vhost(record.vhost()) {
                vhost.restore_exchange(record)?;
            }
        }
        for record in &QueueRecord::load(store)? {
            if let Some(vhost) = self.vhost(record.vhost()) {
                vhost.restore_queue(record, &mut by_queue)?;
            }
        }
        for record in &BindingRecord::load(store)? {
            if let Some(vhost) = self.vhost(record.vhost()) {
                vhost.restore_binding(record)?;
            }
        }
        let vhosts = self.vhost_list();
        vhosts.iter().for_each(|vhost| vhost.tidy());
        vhosts.iter().for_each(|vhost| vhost.start_queues());
        let unclaimed = by_queue.into_values().flatten();
        let ops: Vec<Op> = unclaimed.map(|(log, _)| Op::RemoveLog { log }).collect();
        if !ops.is_empty() {
            // Not waited for: the next start would remove them.
            self.shared.committer.append(ops);
        }
        Ok(())
    }

    /// Restores policies, before the queues and exchanges that follow them.
    fn restore_policies(&self) -> Result<(), DefinitionError> {
        let store = &**self.shared.committer.store();
        for record in &PolicyRecord::load(store)? {
            let fields = record.fields();
            if let Some(vhost) = self.vhost(fields.vhost()) {
                vhost.restore_policy(PolicyKind::User, fields.policy(PolicyKind::User)?);
            }
        }
        for record in &OperatorPolicyRecord::load(store)? {
            let fields = record.fields();
            if let Some(vhost) = self.vhost(fields.vhost()) {
                vhost.restore_policy(PolicyKind::Operator, fields.policy(PolicyKind::Operator)?);
            }
        }
        Ok(())
    }

    /// Creates the defaults, the virtual host last: the store is fresh until it exists.
    async fn create_defaults(&self, defaults: &Defaults) -> Result<(), OpenError> {
        let Defaults {
            user,
            pass,
            tags,
            vhost,
            permissions,
        } = defaults;
        match self.users.add(user, pass.as_bytes(), tags.clone()).await {
            Ok(()) | Err(UserError::AlreadyExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let permissions = permissions.each_ref().map(String::as_str);
        self.users.set_permissions(user, vhost, permissions).await?;
        let metadata = VhostMetadata {
            description: "Default virtual host".to_owned(),
            ..VhostMetadata::default()
        };
        match self.add_vhost(vhost, metadata).await {
            Ok(()) => Ok(()),
            Err(VhostError::Store(failed)) => Err(failed.into()),
            Err(
                VhostError::AlreadyExists(_)
                | VhostError::NotFound(_)
                | VhostError::Protected(_)
                | VhostError::NameTooLong,
            ) => Ok(()),
        }
    }
}

impl From<StoreFailed> for BrokerError {
    fn from(_: StoreFailed) -> BrokerError {
        BrokerError::StoreFailed
    }
}
