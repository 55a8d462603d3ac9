//! Logins: passwords are hashed off the async threads, few at the same time, and results are cached for a minute. Every
//! refusal takes as long as a wrong password, so that the time does not tell which users exist.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::registry::Users;
use super::user::{User, UserError};
use crate::broker::hashing::Asker;
use crate::broker::logins::{LoginDigest, Logins};
use crate::broker::password::PasswordHash;
use crate::clock;
use crate::model::Name;
use crate::store::StoreFailed;

/// The revision of users that do not exist.
const NO_REVISION: u64 = u64::MAX;

/// The reason of a refused login, for the log. The client learns only that it was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such user, or another password. The log does not say which.
    #[error("user '{0}' - invalid credentials")]
    InvalidCredentials(Name),
    /// Blank passwords never log in.
    #[error("user '{0}' attempted to log in with a blank password, which is prohibited")]
    BlankPassword(Name),
    /// The user may log in from this machine only.
    #[error("user '{0}' can only connect via localhost")]
    LoopbackOnly(Name),
}

impl Users {
    /// Verifies a login from `peer`. Takes tens of milliseconds unless its result is cached.
    pub async fn login(
        &self,
        name: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<Arc<User>, LoginError> {
        let user = self.verified(name, password, Some(peer)).await?;
        // After the password, as in RabbitMQ: before it, the time would tell which users are local only.
        match self.may_come_from(name, peer) {
            true => Ok(user),
            false => Err(LoginError::LoopbackOnly(name.into())),
        }
    }

    /// Whether `name` may log in from this address at all.
    pub fn may_come_from(&self, name: &str, peer: IpAddr) -> bool {
        peer.to_canonical().is_loopback() || !self.loopback_only.iter().any(|only| **only == *name)
    }

    /// Verifies a password that an operator gives.
    pub async fn authenticate(&self, name: &str, password: &[u8]) -> Result<Arc<User>, LoginError> {
        self.verified(name, password, None).await
    }

    async fn verified(
        &self,
        name: &str,
        password: &[u8],
        peer: Option<IpAddr>,
    ) -> Result<Arc<User>, LoginError> {
        if password.is_empty() {
            return Err(LoginError::BlankPassword(name.into()));
        }
        let user = self.get(name);
        let digest = self.logins().digest(name, password);
        let revision = user.as_ref().map_or(NO_REVISION, |user| user.revision);
        let right = match self.recall(digest, revision) {
            Some(right) => right,
            None => {
                let hash = user.as_ref().and_then(|user| user.password.clone());
                let asker = Asker::new(name, peer);
                self.verify(digest, revision, hash, password, asker).await
            }
        };
        user.filter(|_| right)
            .ok_or_else(|| LoginError::InvalidCredentials(name.into()))
    }

    fn recall(&self, digest: LoginDigest, revision: u64) -> Option<bool> {
        self.logins().recall(digest, revision, clock::monotonic())
    }

    /// Hashes the password, unless another client with the same login was faster: of a thousand clients that connect
    /// together, one pays. Without a hash to compare with, it hashes as well.
    async fn verify(
        &self,
        digest: LoginDigest,
        revision: u64,
        hash: Option<PasswordHash>,
        password: &[u8],
        asker: Asker,
    ) -> bool {
        let Some(permit) = self.hashing.permit(asker).await else {
            return false;
        };
        if let Some(right) = self.recall(digest, revision) {
            return right;
        }
        let password = password.to_vec();
        let verified = permit.run(move || PasswordHash::verify_slowly(hash.as_ref(), &password));
        let Some(right) = verified.await else {
            return false;
        };
        self.logins()
            .remember(digest, revision, right, clock::monotonic());
        right
    }

    pub(super) async fn hash_password(
        &self,
        name: &str,
        password: &[u8],
    ) -> Result<PasswordHash, UserError> {
        let password = password.to_vec();
        let busy = UserError::Store(StoreFailed);
        let Some(permit) = self.hashing.permit(Asker::new(name, None)).await else {
            return Err(busy);
        };
        permit
            .run(move || PasswordHash::new(&password))
            .await
            .ok_or(busy)
    }

    pub(super) fn logins(&self) -> MutexGuard<'_, Logins> {
        self.logins.lock()
    }
}
