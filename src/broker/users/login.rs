//! Who may log in: passwords, hashed off the async threads and few at once, and logins remembered for a minute.

use std::net::IpAddr;
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::{User, UserError, Users};
use crate::broker::logins::{LoginDigest, Logins};
use crate::broker::password::PasswordHash;
use crate::clock;
use crate::model::Name;
use crate::store::StoreFailed;

/// Password hashes computed at once. Each takes a core and 12 MiB while it runs; the others wait their turn.
pub(super) const HASHES_AT_ONCE: usize = 2;

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

impl Users {
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

    pub(super) async fn hash_password(&self, password: &[u8]) -> Result<PasswordHash, UserError> {
        let password = password.to_vec();
        let ending = UserError::Store(StoreFailed);
        let Some(turn) = self.turn().await else {
            return Err(ending);
        };
        off_thread(turn, move || PasswordHash::new(&password))
            .await
            .ok_or(ending)
    }

    pub(super) fn logins(&self) -> MutexGuard<'_, Logins> {
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
