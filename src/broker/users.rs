//! Users and what they may do: login, tags, limits and permissions, durable through the committer. Knows
//! neither SASL nor reply codes; which virtual hosts exist is the broker's to know.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access_records::{DefinitionError, GrantRecord, Record, TopicRecord, UserRecord};
use super::connections::Connections;
use super::limits::UserLimits;
use super::logins::{LoginDigest, Logins};
use super::password::PasswordHash;
use super::permissions::{
    AccessRefused, Grant, InvalidPattern, Permission, PermissionTable, ResourceKind, TopicGrant,
};
use super::secrets::{SECRET_BYTES_MAX, Secret, Secrets};
use crate::clock;
use crate::model::Name;
use crate::store::{Committer, Op, StoreFailed};

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

/// Why a change of users or permissions was refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum UserError {
    /// There is such a user already.
    #[error("user '{0}' already exists")]
    AlreadyExists(Name),
    /// There is no such user.
    #[error("user '{0}' does not exist")]
    NoSuchUser(Name),
    /// A pattern does not compile.
    #[error(transparent)]
    InvalidPattern(#[from] InvalidPattern),
    /// There is a secret key with this id already.
    #[error("secret id '{0}' already exists")]
    SecretExists(Name),
    /// There is no secret key with this id.
    #[error("secret id '{0}' does not exist")]
    NoSuchSecret(Name),
    /// An id or key that is empty or too long.
    #[error("a secret id or key has 1 to {SECRET_BYTES_MAX} bytes")]
    SecretLength,
    /// The broker is shutting down.
    #[error(transparent)]
    Store(#[from] StoreFailed),
}

/// All users, and their permissions.
pub struct Users {
    access: RwLock<Access>,
    /// Changes with every permission, so that cached decisions know when they are stale.
    epoch: AtomicU64,
    /// The revision that the next user or password gets.
    revision: AtomicU64,
    loopback_only: Vec<Name>,
    logins: Mutex<Logins>,
    hashing: Arc<Semaphore>,
    /// Changed under the lock of `access`, so that none is left when its user is gone.
    secrets: Secrets,
    committer: Arc<Committer>,
    connections: Arc<Connections>,
}

#[derive(Debug, Default)]
struct Access {
    users: BTreeMap<Name, Arc<User>>,
    permissions: PermissionTable,
}

impl Users {
    /// The users that the committer's store holds. Those called `loopback_only` may log in from this machine only.
    pub fn open(
        committer: Arc<Committer>,
        connections: Arc<Connections>,
        loopback_only: Vec<Name>,
    ) -> Result<Users, DefinitionError> {
        let users = Users {
            access: RwLock::new(Access::load(&committer)?),
            epoch: AtomicU64::new(1),
            revision: AtomicU64::new(1),
            loopback_only,
            logins: Mutex::default(),
            hashing: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            secrets: Secrets::load(&**committer.store())?,
            committer,
            connections,
        };
        Ok(users)
    }

    /// Verifies a login from `peer`. Takes tens of milliseconds unless it was verified within the last minute.
    pub async fn login(
        &self,
        name: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<Arc<User>, LoginError> {
        // Asked first since it is free; a client sees no difference.
        if !self.may_come_from(name, peer) {
            return Err(LoginError::LoopbackOnly(name.into()));
        }
        self.authenticate(name, password).await
    }

    /// Whether `name` may log in from this address at all.
    pub fn may_come_from(&self, name: &str, peer: IpAddr) -> bool {
        peer.to_canonical().is_loopback() || !self.loopback_only.iter().any(|only| **only == *name)
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
        let right = match self.recall(digest, &user) {
            Some(right) => right,
            None => self.verify(digest, &user, hash, password).await,
        };
        if right { Ok(user) } else { Err(refused()) }
    }

    fn recall(&self, digest: LoginDigest, user: &User) -> Option<bool> {
        self.logins()
            .recall(digest, user.revision, clock::monotonic())
    }

    /// Hashes the password when its turn has come, unless somebody with the same login was faster: when a thousand
    /// clients come at once, one pays.
    async fn verify(
        &self,
        digest: LoginDigest,
        user: &User,
        hash: PasswordHash,
        password: &[u8],
    ) -> bool {
        let Some(turn) = self.turn().await else {
            return false;
        };
        if let Some(right) = self.recall(digest, user) {
            return right;
        }
        let password = password.to_vec();
        let Some(right) = off_thread(turn, move || hash.verify(&password)).await else {
            return false;
        };
        self.logins()
            .remember(digest, user.revision, right, clock::monotonic());
        right
    }

    /// Waits for a turn to hash. None if the broker is ending.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.hashing).acquire_owned().await.ok()
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

    /// Creates a user with a password. It may enter no virtual host yet.
    pub async fn add(&self, name: &str, password: &[u8], tags: Vec<Name>) -> Result<(), UserError> {
        if self.get(name).is_some() {
            return Err(UserError::AlreadyExists(name.into()));
        }
        let hash = self.hash_password(password).await?;
        self.add_hashed(name, Some(hash), tags).await
    }

    /// Creates a user whose password was hashed elsewhere, or that has none.
    pub async fn add_hashed(
        &self,
        name: &str,
        password: Option<PasswordHash>,
        tags: Vec<Name>,
    ) -> Result<(), UserError> {
        let user = User {
            name: name.into(),
            tags,
            limits: UserLimits::default(),
            password,
            revision: self.next_revision(),
        };
        self.change(|access, ops| {
            if access.users.contains_key(name) {
                return Err(UserError::AlreadyExists(name.into()));
            }
            access.put(user, ops);
            Ok(())
        })
        .await
    }

    /// Removes a user with its permissions, and closes its connections; whether there was one.
    pub async fn delete(&self, name: &str) -> Result<bool, UserError> {
        let deleted = self
            .change(|access, ops| {
                let deleted = access.users.remove(name).is_some();
                if deleted {
                    ops.push(UserRecord::remove(&[name]));
                }
                access.clear_permissions(|user, _| user == name, ops);
                self.secrets.remove(|secret| *secret.user == *name, ops);
                Ok(deleted)
            })
            .await?;
        if deleted {
            self.connections
                .close_where(&format!("user '{name}' is deleted"), |info| {
                    *info.user == *name
                });
        }
        Ok(deleted)
    }

    /// Replaces a user's password. Connections that are open stay.
    pub async fn change_password(&self, name: &str, password: &[u8]) -> Result<(), UserError> {
        if self.get(name).is_none() {
            return Err(UserError::NoSuchUser(name.into()));
        }
        let hash = self.hash_password(password).await?;
        self.set_password(name, Some(hash)).await
    }

    /// Replaces a user's password hash; with None it cannot log in with a password any more.
    pub async fn set_password(
        &self,
        name: &str,
        password: Option<PasswordHash>,
    ) -> Result<(), UserError> {
        let revision = self.next_revision();
        self.change_user(name, |user| {
            user.password = password;
            user.revision = revision;
        })
        .await
    }

    /// Replaces a user's tags.
    pub async fn set_tags(&self, name: &str, tags: Vec<Name>) -> Result<(), UserError> {
        self.change_user(name, |user| user.tags = tags).await
    }

    /// Changes a user's limits.
    pub async fn set_limits(
        &self,
        name: &str,
        change: impl FnOnce(&mut UserLimits),
    ) -> Result<(), UserError> {
        self.change_user(name, |user| change(&mut user.limits))
            .await
    }

    /// Lets a user enter a virtual host, which the caller knows to exist, and do there what the patterns say.
    pub async fn set_permissions(
        &self,
        user: &str,
        vhost: &str,
        [configure, write, read]: [&str; 3],
    ) -> Result<(), UserError> {
        let grant = Grant::new(configure, write, read)?;
        self.change(|access, ops| {
            access.known(user)?;
            ops.push(
                GrantRecord {
                    user: user.into(),
                    vhost: vhost.into(),
                    configure: configure.into(),
                    write: write.into(),
                    read: read.into(),
                }
                .put(),
            );
            access.permissions.set(user.into(), vhost.into(), grant);
            Ok(())
        })
        .await
    }

    /// Takes a user's permissions in a virtual host away.
    pub async fn clear_permissions(&self, user: &str, vhost: &str) -> Result<(), UserError> {
        self.change(|access, ops| {
            if access.permissions.clear(user, vhost) {
                ops.push(GrantRecord::remove(&[user, vhost]));
            }
            Ok(())
        })
        .await
    }

    /// Restricts the routing keys that a user may use on a topic exchange.
    pub async fn set_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        [write, read]: [&str; 2],
    ) -> Result<(), UserError> {
        let topic = TopicGrant::new(write, read, user, vhost)?;
        self.change(|access, ops| {
            access.known(user)?;
            ops.push(
                TopicRecord {
                    user: user.into(),
                    vhost: vhost.into(),
                    exchange: exchange.into(),
                    write: write.into(),
                    read: read.into(),
                }
                .put(),
            );
            access
                .permissions
                .set_topic(user.into(), vhost.into(), exchange.into(), topic);
            Ok(())
        })
        .await
    }

    /// Lifts the restrictions on one topic exchange, or on all of a virtual host.
    pub async fn clear_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<(), UserError> {
        self.change(|access, ops| {
            for exchange in access.permissions.clear_topic(user, vhost, exchange) {
                ops.push(TopicRecord::remove(&[user, vhost, &exchange]));
            }
            Ok(())
        })
        .await
    }

    /// Keys that sign requests over HTTP.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Adds a key for a user and a virtual host, which the caller knows to exist.
    pub async fn add_secret(&self, secret: Secret) -> Result<(), UserError> {
        let lengths = [secret.id.len(), secret.key.len()];
        if lengths
            .iter()
            .any(|length| !(1..=SECRET_BYTES_MAX).contains(length))
        {
            return Err(UserError::SecretLength);
        }
        self.change(|access, ops| {
            access.known(&secret.user)?;
            let id = secret.id.clone();
            match self.secrets.insert(secret, ops) {
                true => Ok(()),
                false => Err(UserError::SecretExists(id)),
            }
        })
        .await
    }

    /// Removes a key.
    pub async fn delete_secret(&self, id: &str) -> Result<(), UserError> {
        self.change(|_, ops| {
            self.secrets.remove(|secret| *secret.id == *id, ops);
            match ops.is_empty() {
                true => Err(UserError::NoSuchSecret(id.into())),
                false => Ok(()),
            }
        })
        .await
    }

    /// Forgets all permissions and keys in a virtual host. The changes are for the batch that deletes the virtual host.
    pub fn forget_vhost(&self, vhost: &str) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut access = self.access_mut();
        access.clear_permissions(|_, own| own == vhost, &mut ops);
        self.secrets
            .remove(|secret| *secret.vhost == *vhost, &mut ops);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        ops
    }

    /// Reads the permission tables: every grant and topic permission, in order.
    pub fn with_permissions<T>(&self, read: impl FnOnce(&PermissionTable) -> T) -> T {
        read(&self.access().permissions)
    }

    async fn hash_password(&self, password: &[u8]) -> Result<PasswordHash, UserError> {
        let password = password.to_vec();
        let ending = UserError::Store(StoreFailed);
        let Some(turn) = self.turn().await else {
            return Err(ending);
        };
        off_thread(turn, move || PasswordHash::new(&password))
            .await
            .ok_or(ending)
    }

    async fn change_user(
        &self,
        name: &str,
        change: impl FnOnce(&mut User),
    ) -> Result<(), UserError> {
        self.change(|access, ops| {
            let old = access.known(name)?;
            let mut user = User {
                name: old.name.clone(),
                tags: old.tags.clone(),
                limits: old.limits,
                password: old.password.clone(),
                revision: old.revision,
            };
            change(&mut user);
            access.put(user, ops);
            Ok(())
        })
        .await
    }

    /// Makes a change in memory and on disk; on disk when this returns. Changes reach the committer in the order in
    /// which they were made, since it is told under the lock.
    async fn change<T>(
        &self,
        change: impl FnOnce(&mut Access, &mut Vec<Op>) -> Result<T, UserError>,
    ) -> Result<T, UserError> {
        let (result, ticket) = {
            let mut access = self.access_mut();
            let mut ops = Vec::new();
            let result = change(&mut access, &mut ops)?;
            self.epoch.fetch_add(1, Ordering::AcqRel);
            let ticket = (!ops.is_empty()).then(|| self.committer.append(ops));
            (result, ticket)
        };
        if let Some(ticket) = ticket {
            self.committer.wait(ticket).await?;
        }
        Ok(result)
    }

    fn next_revision(&self) -> u64 {
        self.revision.fetch_add(1, Ordering::Relaxed)
    }

    fn access_mut(&self) -> RwLockWriteGuard<'_, Access> {
        self.access.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn access(&self) -> RwLockReadGuard<'_, Access> {
        self.access.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn logins(&self) -> MutexGuard<'_, Logins> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a slow hash off the async threads. The turn lasts as long as the hash, whoever has stopped waiting for it.
/// None if the runtime is ending.
async fn off_thread<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let hashed = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(turn);
        result
    });
    hashed.await.ok()
}

impl Access {
    fn load(committer: &Committer) -> Result<Access, DefinitionError> {
        let store = &**committer.store();
        let mut access = Access::default();
        for UserRecord {
            name,
            tags,
            password,
            limits,
        } in UserRecord::load(store)?
        {
            let user = User {
                name: name.clone(),
                tags,
                limits,
                password,
                revision: 0,
            };
            access.users.insert(name, Arc::new(user));
        }
        for GrantRecord {
            user,
            vhost,
            configure,
            write,
            read,
        } in GrantRecord::load(store)?
        {
            let grant = Grant::new(&configure, &write, &read).map_err(DefinitionError::pattern)?;
            access.permissions.set(user, vhost, grant);
        }
        for TopicRecord {
            user,
            vhost,
            exchange,
            write,
            read,
        } in TopicRecord::load(store)?
        {
            let topic =
                TopicGrant::new(&write, &read, &user, &vhost).map_err(DefinitionError::pattern)?;
            access.permissions.set_topic(user, vhost, exchange, topic);
        }
        Ok(access)
    }

    fn known(&self, name: &str) -> Result<&Arc<User>, UserError> {
        self.users
            .get(name)
            .ok_or_else(|| UserError::NoSuchUser(name.into()))
    }

    fn put(&mut self, user: User, ops: &mut Vec<Op>) {
        let record = UserRecord {
            name: user.name.clone(),
            tags: user.tags.clone(),
            password: user.password.clone(),
            limits: user.limits,
        };
        ops.push(record.put());
        self.users.insert(user.name.clone(), Arc::new(user));
    }

    /// Removes every grant and topic permission of the users and virtual hosts picked.
    fn clear_permissions(&mut self, concerned: impl Fn(&str, &str) -> bool, ops: &mut Vec<Op>) {
        let pairs: BTreeSet<(Name, Name)> = self
            .permissions
            .grants()
            .map(|(user, vhost, _)| (user, vhost))
            .chain(
                self.permissions
                    .topics()
                    .map(|(user, vhost, _, _)| (user, vhost)),
            )
            .filter(|(user, vhost)| concerned(user, vhost))
            .map(|(user, vhost)| (user.clone(), vhost.clone()))
            .collect();
        for (user, vhost) in pairs {
            if self.permissions.clear(&user, &vhost) {
                ops.push(GrantRecord::remove(&[&user, &vhost]));
            }
            for exchange in self.permissions.clear_topic(&user, &vhost, None) {
                ops.push(TopicRecord::remove(&[&user, &vhost, &exchange]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{Limits, MemoryStore, Store};

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn open(store: &Arc<MemoryStore>) -> Users {
        let store: Arc<dyn Store> = store.clone();
        let committer = Committer::start(store, Limits::default()).unwrap();
        Users::open(committer, Arc::default(), vec!["guest".into()]).unwrap()
    }

    #[tokio::test]
    async fn logins_are_verified_and_remembered_until_the_password_changes() {
        let users = open(&Arc::new(MemoryStore::new()));
        users
            .add("guest", b"pw", vec![TAG_ADMINISTRATOR.into()])
            .await
            .unwrap();
        assert!(
            users
                .login("guest", b"pw", LOCAL)
                .await
                .unwrap()
                .has_tag("administrator")
        );
        let again = std::time::Instant::now();
        assert!(users.login("guest", b"pw", LOCAL).await.is_ok());
        assert!(again.elapsed() < Duration::from_millis(5), "no second hash");
        let refused = Err(LoginError::InvalidCredentials("guest".into()));
        assert_eq!(users.login("guest", b"PW", LOCAL).await.map(drop), refused);
        assert_eq!(
            users.login("guest", b"pw", FAR).await.map(drop),
            Err(LoginError::LoopbackOnly("guest".into()))
        );
        assert!(
            users
                .login("guest", b"pw", "::ffff:127.0.0.1".parse().unwrap())
                .await
                .is_ok()
        );
        assert_eq!(
            users.login("guest", b"", LOCAL).await.map(drop),
            Err(LoginError::BlankPassword("guest".into()))
        );
        users.change_password("guest", b"new").await.unwrap();
        assert_eq!(users.login("guest", b"pw", LOCAL).await.map(drop), refused);
        assert!(users.login("guest", b"new", LOCAL).await.is_ok());
        users.set_password("guest", None).await.unwrap();
        assert_eq!(users.login("guest", b"new", LOCAL).await.map(drop), refused);
        users.delete("guest").await.unwrap();
        users.add("guest", b"other", vec![]).await.unwrap();
        assert_eq!(users.login("guest", b"new", LOCAL).await.map(drop), refused);
    }

    #[tokio::test]
    async fn when_many_come_at_once_one_pays() {
        let users = Arc::new(open(&Arc::new(MemoryStore::new())));
        users.add("u", b"pw", vec![]).await.unwrap();
        let began = clock::monotonic();
        users.login("u", b"pw", FAR).await.unwrap();
        let one = began.elapsed();
        users.change_password("u", b"new").await.unwrap();
        let mut logins = tokio::task::JoinSet::new();
        let began = clock::monotonic();
        for _ in 0..100 {
            let users = users.clone();
            logins.spawn(async move { users.login("u", b"new", FAR).await.is_ok() });
        }
        assert!(logins.join_all().await.into_iter().all(|right| right));
        let all = began.elapsed();
        assert!(all < one * 20, "{all:?} for a hundred, {one:?} for one");
    }

    #[tokio::test]
    async fn everything_survives_a_restart() {
        let store = Arc::new(MemoryStore::new());
        {
            let users = open(&store);
            users
                .add("ann", b"pw", vec!["monitoring".into()])
                .await
                .unwrap();
            users.add("bob", b"pw", vec![]).await.unwrap();
            users
                .set_limits("ann", |limits| limits.max_channels = Some(3))
                .await
                .unwrap();
            for user in ["ann", "bob"] {
                users
                    .set_permissions(user, "/", ["^a", "", ".*"])
                    .await
                    .unwrap();
                users
                    .set_permissions(user, "v", [".*", ".*", ".*"])
                    .await
                    .unwrap();
                users
                    .set_topic_permissions(user, "/", "t", ["^w", "^r"])
                    .await
                    .unwrap();
            }
            users.delete("bob").await.unwrap();
            users.committer.append(users.forget_vhost("v"));
            users.committer.shutdown();
        }
        let users = open(&store);
        let ann = users.login("ann", b"pw", FAR).await.unwrap();
        assert_eq!(
            (ann.tags.as_slice(), ann.limits.max_channels),
            (&["monitoring".into()][..], Some(3))
        );
        assert!(users.get("bob").is_none());
        assert!(
            users.may_enter("ann", "/")
                && !users.may_enter("ann", "v")
                && !users.may_enter("bob", "/")
        );
        assert!(users.allows("ann", "/", Permission::Configure, "a"));
        assert!(!users.allows("ann", "/", Permission::Write, "a"));
        assert!(
            users
                .check_topic(&"ann".into(), &"/".into(), "t", Permission::Write, "r")
                .is_err()
        );
        assert!(
            users
                .check_topic(&"bob".into(), &"/".into(), "t", Permission::Write, "r")
                .is_ok()
        );
    }

    #[tokio::test]
    async fn refusals_change_nothing() {
        let users = open(&Arc::new(MemoryStore::new()));
        users.add("ann", b"pw", vec![]).await.unwrap();
        let epoch = users.permission_epoch();
        assert_eq!(
            users.add("ann", b"x", vec![]).await,
            Err(UserError::AlreadyExists("ann".into()))
        );
        let unknown = Err(UserError::NoSuchUser("bob".into()));
        assert_eq!(users.change_password("bob", b"x").await, unknown);
        assert_eq!(users.set_tags("bob", vec![]).await, unknown);
        assert_eq!(
            users.set_permissions("bob", "/", ["", "", ""]).await,
            unknown
        );
        assert!(matches!(
            users.set_permissions("ann", "/", ["*", "", ""]).await,
            Err(UserError::InvalidPattern(pattern)) if pattern.pattern == "*"
        ));
        assert_eq!(users.delete("bob").await, Ok(false));
        assert!(!users.may_enter("ann", "/"));
        users
            .set_permissions("ann", "/", ["", "", ""])
            .await
            .unwrap();
        assert!(users.permission_epoch() > epoch);
    }
}
