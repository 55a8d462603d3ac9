//! Verifies passwords for one kind of client. Each kind has a gate of its own, so that those who guess passwords
//! over HTTP delay no AMQP client's login and drop none of its cached ones.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::failures::Failures;
use super::user::User;
use crate::broker::hashing::{Asker, Hashing};
use crate::broker::logins::{LoginDigest, Logins};
use crate::broker::password::PasswordHash;
use crate::clock;

/// The revision of users that do not exist.
const NO_REVISION: u64 = u64::MAX;

/// Passwords are hashed off the async threads, few at the same time, and results are cached for a minute.
#[derive(Default)]
pub(super) struct LoginGate {
    logins: Mutex<Logins>,
    hashing: Arc<Hashing>,
    succeeded: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Failures>,
}

/// How many logins there were at a front door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginAttempts {
    pub succeeded: u64,
    pub failed: u64,
}

impl LoginGate {
    pub(super) fn count(&self, has_succeeded: bool) {
        let counter = match has_succeeded {
            true => &self.succeeded,
            false => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How long an attempt waits because of failures lately, unless it is known to succeed.
    pub(super) fn wait(
        &self,
        user: Option<&User>,
        name: &str,
        password: Option<&[u8]>,
        peer: IpAddr,
    ) -> Duration {
        let recalled = password.and_then(|password| {
            let digest = self.logins().digest(name, password);
            self.recall(digest, revision(user))
        });
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

    pub(super) fn attempts(&self) -> LoginAttempts {
        LoginAttempts {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    pub(super) fn forget_attempts(&self) {
        self.succeeded.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }

    /// Whether this is the user's password. Takes tens of milliseconds unless the result is cached.
    pub(super) async fn is_password(
        &self,
        user: Option<&User>,
        name: &str,
        password: &[u8],
        peer: Option<IpAddr>,
    ) -> bool {
        let digest = self.logins().digest(name, password);
        let revision = revision(user);
        match self.recall(digest, revision) {
            Some(right) => right,
            None => {
                let hash = user.and_then(|user| user.password.clone());
                let asker = Asker::new(name, peer);
                self.verify(digest, revision, hash, password, asker).await
            }
        }
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
}

fn revision(user: Option<&User>) -> u64 {
    user.map_or(NO_REVISION, |user| user.revision)
}
