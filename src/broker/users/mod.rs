//! Users and what they may do: login, tags, limits and permissions, durable through the committer. Knows
//! neither SASL nor reply codes; which virtual hosts exist is the broker's to know. Here: who there is, and every change
//! of it; logins and rights have files of their own.

mod access;
mod login;
mod rights;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, RwLockReadGuard};

use super::connections::Connections;
use super::definitions::access::UserRecord;
use super::definitions::record::DefinitionError;
use super::definitions::table::Serialised;
use super::hashing::Hashing;
use super::limits::UserLimits;
use super::logins::Logins;
use super::password::PasswordHash;
use super::permissions::InvalidPattern;
use super::secrets::{SECRET_BYTES_MAX, Secret};
use crate::model::Name;
use crate::store::{Committer, StoreFailed};

use access::{Access, Proposed};

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
    access: Serialised<Access>,
    /// The epoch of `access`, without its lock.
    epoch: Arc<AtomicU64>,
    loopback_only: Vec<Name>,
    logins: Mutex<Logins>,
    hashing: Arc<Hashing>,
    connections: Arc<Connections>,
}

impl Users {
    /// The users that the committer's store holds. Those called `loopback_only` may log in from this machine only.
    pub fn open(
        committer: Arc<Committer>,
        connections: Arc<Connections>,
        loopback_only: Vec<Name>,
    ) -> Result<Users, DefinitionError> {
        let access = Access::load(&**committer.store())?;
        Ok(Users {
            epoch: Arc::clone(access.epoch()),
            access: Serialised::new(access, committer),
            loopback_only,
            logins: Mutex::default(),
            hashing: Arc::default(),
            connections,
        })
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
        let user = UserRecord {
            name: name.into(),
            tags,
            password,
            limits: UserLimits::default(),
        };
        self.change(|access| access.propose_add(user)).await
    }

    /// Removes a user with its permissions and keys, and closes its connections; whether there was one.
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

    /// Removes a key.
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

    async fn change(&self, propose: impl FnOnce(&Access) -> Proposed) -> Result<(), UserError> {
        self.access
            .change(|access| Ok((propose(access)?, ())))
            .await
    }

    fn access(&self) -> RwLockReadGuard<'_, Access> {
        self.access.read()
    }
}
