//! Verifies passwords for one kind of client. Each kind has a gate of its own, so that those who guess passwords
//! over HTTP delay no AMQP client's login and drop none of its cached ones.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::attempts::Attempts;
use super::failures::Failures;
use super::shared_checks::{CheckKey, SharedChecks};
use super::user::User;
use crate::broker::hashing::{Asker, Hashing};
use crate::broker::logins::Logins;
use crate::broker::password::PasswordHash;
use crate::clock;

/// The revision of users that do not exist.
const NO_REVISION: u64 = u64::MAX;

/// Passwords are hashed off the async threads, few at the same time, and results are cached for a minute.
#[derive(Default)]
pub(super) struct LoginGate {
    logins: Mutex<Logins>,
    checks: SharedChecks,
    hashing: Arc<Hashing>,
    pub(super) attempts: Attempts,
    failures: Mutex<Failures>,
}

impl LoginGate {
    /// How long an attempt waits because of failures lately, unless it is known to succeed.
    pub(super) fn wait(
        &self,
        user: Option<&User>,
        name: &str,
        password: Option<&[u8]>,
        peer: IpAddr,
    ) -> Duration {
        let recalled = password.and_then(|password| self.recall(self.key(user, name, password)));
        match recalled {
            Some(true) => Duration::ZERO,
            Some(false) | None => self.failures.lock().wait(name, peer, clock::monotonic()),
        }
    }

    pub(super) fn note(&self, name: &str, peer: IpAddr, has_succeeded: bool) {
        let (mut failures, now) = (self.failures.lock(), clock::monotonic());
        match has_succeeded {
            true => failures.succeeded(name, peer, now),
            false => failures.failed(name, peer, now),
        }
    }

    /// Whether this is the user's password. Takes tens of milliseconds unless the result is cached. `None` if too many
    /// others are checked.
    pub(super) async fn is_password(
        &self,
        user: Option<&User>,
        name: &str,
        password: &[u8],
        peer: Option<IpAddr>,
    ) -> Option<bool> {
        let key = self.key(user, name, password);
        if let Some(right) = self.recall(key) {
            return Some(right);
        }
        let check = async || {
            let hash = user.and_then(|user| user.password.clone());
            self.verify(key, hash, password, Asker::new(name, peer))
                .await
        };
        self.checks.result(key, check).await
    }

    /// Hashes a new password. `None` if too many others are hashed.
    pub(super) async fn hash(&self, name: &str, password: &[u8]) -> Option<PasswordHash> {
        let password = password.to_vec();
        let permit = self.hashing.permit(Asker::new(name, None)).await?;
        permit.run(move || PasswordHash::new(&password)).await
    }

    pub(super) fn logins(&self) -> MutexGuard<'_, Logins> {
        self.logins.lock()
    }

    fn key(&self, user: Option<&User>, name: &str, password: &[u8]) -> CheckKey {
        CheckKey {
            digest: self.logins().digest(name, password),
            revision: revision(user),
        }
    }

    fn recall(&self, key: CheckKey) -> Option<bool> {
        let CheckKey { digest, revision } = key;
        self.logins().recall(digest, revision, clock::monotonic())
    }

    /// Hashes the password, unless a check that ended meanwhile did. Without a hash to compare with, it hashes as well.
    async fn verify(
        &self,
        key: CheckKey,
        hash: Option<PasswordHash>,
        password: &[u8],
        asker: Asker,
    ) -> Option<bool> {
        let permit = self.hashing.permit(asker).await?;
        if let Some(right) = self.recall(key) {
            return Some(right);
        }
        let password = password.to_vec();
        let verified = permit.run(move || PasswordHash::verify_slowly(hash.as_ref(), &password));
        let right = verified.await?;
        let CheckKey { digest, revision } = key;
        self.logins()
            .remember(digest, revision, right, clock::monotonic());
        Some(right)
    }
}

fn revision(user: Option<&User>) -> u64 {
    user.map_or(NO_REVISION, |user| user.revision)
}
