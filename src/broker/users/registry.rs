//! All users, and every change of them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{RwLock, RwLockReadGuard};

use crate::auth::Backends;
use crate::broker::connections::Connections;
use crate::broker::definitions::access::UserRecord;
use crate::broker::definitions::record::DefinitionError;
use crate::broker::definitions::table::Serialised;
use crate::broker::limits::UserLimits;
use crate::broker::password::{NewPasswords, PasswordHash};
use crate::broker::secrets::Secret;
use crate::model::Name;
use crate::store::Committer;

use super::access::{Access, Proposed};
use super::login_gate::LoginGate;
use super::user::{PutUser, User, UserError};

/// All users, and their permissions.
pub struct Users {
    pub(super) access: Serialised<Access>,
    /// The epoch of `access`, without its lock.
    pub(super) epoch: Arc<AtomicU64>,
    /// Users that may log in from this machine only.
    pub(super) loopback_only: RwLock<Vec<Name>>,
    pub(super) new_passwords: NewPasswords,
    /// Also hashes new passwords.
    pub(super) amqp_gate: LoginGate,
    pub(super) management_gate: LoginGate,
    pub(super) connections: Arc<Connections>,
    /// The chain that logins go through, and the backends that are other systems.
    pub(super) backends: Backends,
}

impl Users {
    /// The users that the committer's store holds. Those called `loopback_only` may log in from this machine only.
    pub fn open(
        committer: Arc<Committer>,
        connections: Arc<Connections>,
        loopback_only: Vec<Name>,
        new_passwords: NewPasswords,
        backends: Backends,
    ) -> Result<Users, DefinitionError> {
        let access = Access::load(&**committer.store())?;
        Ok(Users {
            epoch: Arc::clone(access.epoch()),
            access: Serialised::new(access, committer),
            loopback_only: RwLock::new(loopback_only),
            new_passwords,
            amqp_gate: LoginGate::default(),
            management_gate: LoginGate::default(),
            connections,
            backends,
        })
    }

    /// Sets who may log in from this machine only, until the next start.
    pub fn set_loopback_users(&self, users: Vec<Name>) {
        *self.loopback_only.write() = users;
    }

    /// A user by name, as of now.
    pub fn get(&self, name: &str) -> Option<Arc<User>> {
        self.access().users.get(name).cloned()
    }

    /// All users, ordered by name.
    pub fn list(&self) -> Vec<Arc<User>> {
        self.access().users.values().cloned().collect()
    }

    /// The limits of a user, as of now: they hold for open sessions too.
    pub fn limits(&self, name: &str) -> UserLimits {
        self.get(name).map(|user| user.limits).unwrap_or_default()
    }

    /// Creates a user with a password. It may open no virtual host yet.
    pub async fn add(&self, name: &str, password: &[u8], tags: Vec<Name>) -> Result<(), UserError> {
        if self.get(name).is_some() {
            return Err(UserError::AlreadyExists(name.into()));
        }
        let hash = self.hash_password(name, password).await?;
        self.add_hashed(name, Some(hash), tags).await
    }

    /// Creates a user whose password was hashed elsewhere, or that has none.
    pub async fn add_hashed(
        &self,
        name: &str,
        password: Option<PasswordHash>,
        tags: Vec<Name>,
    ) -> Result<(), UserError> {
        let user = UserRecord {
            name: name.into(),
            tags,
            password,
            limits: UserLimits::default(),
        };
        self.change(|access| access.propose_add(user)).await
    }

    /// Adds users, or replaces what exists under their names; all in one commit.
    pub async fn put_all(&self, users: Vec<PutUser>) -> Result<(), UserError> {
        self.change(|access| Ok(access.propose_put(users))).await
    }

    /// Removes a user with its permissions and keys, and closes its connections; true if it existed.
    pub async fn delete(&self, name: &str) -> Result<bool, UserError> {
        let deleted = self
            .access
            .change(|access| Ok::<_, UserError>(access.propose_delete(name)))
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
        let hash = self.hash_password(name, password).await?;
        self.set_password(name, Some(hash)).await
    }

    /// Replaces a user's password hash; with `None` it cannot log in with a password any more.
    pub async fn set_password(
        &self,
        name: &str,
        password: Option<PasswordHash>,
    ) -> Result<(), UserError> {
        self.change_user(name, |user| user.password = password)
            .await
    }

    pub async fn set_tags(&self, name: &str, tags: Vec<Name>) -> Result<(), UserError> {
        self.change_user(name, |user| user.tags = tags).await
    }

    pub async fn set_limits(
        &self,
        name: &str,
        change: impl FnOnce(&mut UserLimits),
    ) -> Result<(), UserError> {
        self.change_user(name, |user| change(&mut user.limits))
            .await
    }

    /// A key that signs requests over HTTP, by its id.
    pub fn secret(&self, id: &str) -> Option<Arc<Secret>> {
        self.access().secrets.get(id).cloned()
    }

    /// All such keys, ordered by user, virtual host and id.
    pub fn secrets(&self) -> Vec<Arc<Secret>> {
        let mut all: Vec<_> = self.access().secrets.values().cloned().collect();
        all.sort_by(|a, b| (&a.user, &a.vhost, &a.id).cmp(&(&b.user, &b.vhost, &b.id)));
        all
    }

    /// Adds a key for a user and a virtual host, which the caller knows to exist.
    pub async fn add_secret(&self, secret: Secret) -> Result<(), UserError> {
        self.change(|access| access.propose_add_secret(secret))
            .await
    }

    pub async fn delete_secret(&self, id: &str) -> Result<(), UserError> {
        self.change(|access| access.propose_delete_secret(id)).await
    }

    async fn change_user(
        &self,
        name: &str,
        change: impl FnOnce(&mut UserRecord),
    ) -> Result<(), UserError> {
        self.change(|access| access.propose_user(name, change))
            .await
    }

    pub(super) async fn change(
        &self,
        propose: impl FnOnce(&Access) -> Proposed,
    ) -> Result<(), UserError> {
        self.access
            .change(|access| Ok((propose(access)?, ())))
            .await
    }

    pub(super) fn access(&self) -> RwLockReadGuard<'_, Access> {
        self.access.read()
    }
}
