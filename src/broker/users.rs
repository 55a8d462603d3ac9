//! Users and what they may do: login, tags, limits and permissions, durable through the committer. Knows
//! neither SASL nor reply codes; which virtual hosts exist is the broker's to know.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Semaphore;

use super::limits::UserLimits;
use super::logins::Logins;
use super::password::PasswordHash;
use super::permissions::{AccessRefused, Permission, PermissionTable, ResourceKind};
use crate::clock;
use crate::model::Name;

/// Password hashes computed at once. Each takes a core and 12 MiB while it runs; the others wait their turn.
const HASHES_AT_ONCE: usize = 2;

/// The tag that lets a user publish under another's `user-id`.
pub const TAG_IMPERSONATOR: &str = "impersonator";
/// The tag of those who may do everything an operator does.
pub const TAG_ADMINISTRATOR: &str = "administrator";

/// One user, as of its last change.
#[derive(Debug)]
pub struct User {
    /// Login name.
    pub name: Name,
    /// Tags in the order in which they were given.
    pub tags: Vec<Name>,
    /// What it may have open at once.
    pub limits: UserLimits,
    /// None: may not log in with a password.
    password: Option<PasswordHash>,
    /// Changes with the password, so that remembered logins end with it.
    revision: u64,
}

impl User {
    /// Whether the user has a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| **own == *tag)
    }
}

/// Why a login was refused. For the log: a client is told only that it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such user, or another password. Which of the two is nobody's business.
    #[error("user '{0}' - invalid credentials")]
    InvalidCredentials(Name),
    /// Blank passwords never log in.
    #[error("user '{0}' attempted to log in with a blank password, which is prohibited")]
    BlankPassword(Name),
    /// The user may log in from this machine only.
    #[error("user '{0}' can only connect via localhost")]
    LoopbackOnly(Name),
}

/// All users, and their permissions.
pub struct Users {
    access: RwLock<Access>,
    /// Changes with every permission, so that cached decisions know when they are stale.
    epoch: AtomicU64,
    loopback_only: Vec<Name>,
    logins: Mutex<Logins>,
    hashing: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Access {
    users: BTreeMap<Name, Arc<User>>,
    permissions: PermissionTable,
}

impl Users {
    /// No users yet. Those called `loopback_only` may log in from this machine only.
    pub fn new(loopback_only: Vec<Name>) -> Users {
        Users {
            access: RwLock::default(),
            epoch: AtomicU64::new(1),
            loopback_only,
            logins: Mutex::default(),
            hashing: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
        }
    }

    /// Verifies a login from `peer`. Takes tens of milliseconds unless it was verified within the last minute.
    pub async fn login(
        &self,
        name: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<Arc<User>, LoginError> {
        // Asked first since it is free; a client sees no difference.
        if !peer.to_canonical().is_loopback()
            && self.loopback_only.iter().any(|only| **only == *name)
        {
            return Err(LoginError::LoopbackOnly(name.into()));
        }
        self.authenticate(name, password).await
    }

    /// Verifies a password wherever the request comes from.
    pub async fn authenticate(&self, name: &str, password: &[u8]) -> Result<Arc<User>, LoginError> {
        if password.is_empty() {
            return Err(LoginError::BlankPassword(name.into()));
        }
        let refused = || LoginError::InvalidCredentials(name.into());
        let user = self.get(name).ok_or_else(refused)?;
        let Some(hash) = user.password.clone() else {
            return Err(refused());
        };
        let digest = self.logins().digest(name, password);
        if self
            .logins()
            .recall(digest, user.revision, clock::monotonic())
        {
            return Ok(user);
        }
        let password = password.to_vec();
        if !self
            .hash(move || hash.verify(&password))
            .await
            .unwrap_or(false)
        {
            return Err(refused());
        }
        self.logins()
            .remember(digest, user.revision, clock::monotonic());
        Ok(user)
    }

    /// Runs a slow hash off the async threads, a bounded number at once. None if the runtime is ending.
    async fn hash<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = Arc::clone(&self.hashing).acquire_owned().await.ok()?;
        let hashed = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        hashed.await.ok()
    }

    /// A user by name, as of now.
    pub fn get(&self, name: &str) -> Option<Arc<User>> {
        self.access().users.get(name).cloned()
    }

    /// All users, ordered by name.
    pub fn list(&self) -> Vec<Arc<User>> {
        self.access().users.values().cloned().collect()
    }

    /// What a user may have open at once, as of now: limits bind sessions that are open already.
    pub fn limits(&self, name: &str) -> UserLimits {
        self.get(name).map(|user| user.limits).unwrap_or_default()
    }

    /// Changes with every change of a permission. See [`super::permissions::PermissionCache`].
    pub fn permission_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether `user` has permissions in `vhost`, and so may open it.
    pub fn may_enter(&self, user: &str, vhost: &str) -> bool {
        self.access().permissions.grant(user, vhost).is_some()
    }

    /// Whether `user` has `permission` on the resource. The default exchange goes by
    /// [`super::permissions::DEFAULT_EXCHANGE`].
    pub fn allows(&self, user: &str, vhost: &str, permission: Permission, name: &str) -> bool {
        self.access()
            .permissions
            .allows(user, vhost, permission, name)
    }

    /// As [`Users::allows`], with the refusal in words.
    pub fn check(
        &self,
        user: &Name,
        vhost: &Name,
        permission: Permission,
        kind: ResourceKind,
        name: &str,
    ) -> Result<(), AccessRefused> {
        if self.allows(user, vhost, permission, name) {
            return Ok(());
        }
        Err(AccessRefused::Resource {
            permission,
            kind,
            name: name.into(),
            vhost: vhost.clone(),
            user: user.clone(),
        })
    }

    /// Whether `user` may use `routing_key` on a topic exchange: write to publish, read to bind.
    pub fn check_topic(
        &self,
        user: &Name,
        vhost: &Name,
        exchange: &str,
        permission: Permission,
        routing_key: &str,
    ) -> Result<(), AccessRefused> {
        if self
            .access()
            .permissions
            .allows_topic(user, vhost, exchange, permission, routing_key)
        {
            return Ok(());
        }
        Err(AccessRefused::Topic {
            permission,
            topic: routing_key.into(),
            exchange: exchange.into(),
            vhost: vhost.clone(),
            user: user.clone(),
        })
    }

    fn access(&self) -> RwLockReadGuard<'_, Access> {
        self.access.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn logins(&self) -> MutexGuard<'_, Logins> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
