//! Users and what they may do: login, tags, limits and permissions, durable through the committer. Knows
//! neither SASL nor reply codes; which virtual hosts exist is the broker's to know. Here: who there is, and every change
//! of it; logins and rights have files of their own.

mod access;
mod login;
mod rights;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::access_records::{DefinitionError, Record, UserRecord};
use super::connections::Connections;
use super::hashing::Hashing;
use super::limits::UserLimits;
use super::logins::Logins;
use super::password::PasswordHash;
use super::permissions::InvalidPattern;
use super::secrets::{SECRET_BYTES_MAX, Secret, Secrets};
use crate::model::Name;
use crate::store::{Committer, Op, StoreFailed};

use access::Access;

pub use login::LoginError;

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
    hashing: Arc<Hashing>,
    /// Changed under the lock of `access`, so that none is left when its user is gone.
    secrets: Secrets,
    committer: Arc<Committer>,
    connections: Arc<Connections>,
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
            hashing: Arc::default(),
            secrets: Secrets::load(&**committer.store())?,
            committer,
            connections,
        };
        Ok(users)
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

    /// Creates a user with a password. It may enter no virtual host yet.
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
        let hash = self.hash_password(name, password).await?;
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
        self.access.write()
    }

    fn access(&self) -> RwLockReadGuard<'_, Access> {
        self.access.read()
    }
}
