//! A cache of login results for a minute, so that thousands of connections a second do not each cost a slow password
//! hash, and a client that repeats a wrong password does not either. Holds no password, only digests under a key that
//! lives as long as the process.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// How long a login's result is cached.
pub(super) const LOGIN_REMEMBERED: Duration = Duration::from_secs(60);
/// Maximum number of cached logins.
pub(super) const LOGINS_REMEMBERED_MAX: usize = 4096;

/// A user's name and password under the process's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LoginDigest([u8; 32]);

struct Remembered {
    right: bool,
    revision: u64,
    until: Instant,
}

/// The cached logins.
pub(super) struct Logins {
    key: [u8; 32],
    known: HashMap<LoginDigest, Remembered>,
}

impl Default for Logins {
    fn default() -> Logins {
        Logins {
            key: rand::random(),
            known: HashMap::new(),
        }
    }
}

impl Logins {
    /// The key of a login in the cache.
    pub(super) fn digest(&self, name: &str, password: &[u8]) -> LoginDigest {
        let digest = Sha256::new()
            .chain_update(self.key)
            .chain_update(name.len().to_be_bytes())
            .chain_update(name)
            .chain_update(password);
        LoginDigest(digest.finalize().into())
    }

    /// Whether the password was right, if the cache has this login for the same `revision` of the user.
    pub(super) fn recall(&self, digest: LoginDigest, revision: u64, now: Instant) -> Option<bool> {
        self.known
            .get(&digest)
            .filter(|login| login.revision == revision && now < login.until)
            .map(|login| login.right)
    }

    /// Caches whether the password was right for `revision` of the user. A full cache drops the expired logins, or all if
    /// none has expired: each then costs a hash again.
    pub(super) fn remember(
        &mut self,
        digest: LoginDigest,
        revision: u64,
        right: bool,
        now: Instant,
    ) {
        if self.known.len() >= LOGINS_REMEMBERED_MAX {
            self.known.retain(|_, login| now < login.until);
            if self.known.len() >= LOGINS_REMEMBERED_MAX {
                self.known.clear();
            }
        }
        self.known.insert(
            digest,
            Remembered {
                right,
                revision,
                until: now + LOGIN_REMEMBERED,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_good_for_its_revision_and_a_minute() {
        let mut logins = Logins::default();
        let now = Instant::now();
        let digest = logins.digest("u", b"pw");
        assert_eq!(logins.recall(digest, 1, now), None);
        logins.remember(digest, 1, true, now);
        assert_eq!(logins.recall(digest, 1, now), Some(true));
        assert_eq!(logins.recall(digest, 2, now), None, "the user has changed");
        assert_eq!(logins.recall(digest, 1, now + LOGIN_REMEMBERED), None);
        let wrong = logins.digest("u", b"pW");
        assert_eq!(logins.recall(wrong, 1, now), None);
        logins.remember(wrong, 1, false, now);
        assert_eq!(logins.recall(wrong, 1, now), Some(false));
        assert_eq!(
            logins.recall(logins.digest("up", b"w"), 1, now),
            None,
            "name and password do not run together"
        );
    }

    #[test]
    fn there_are_never_too_many() {
        let mut logins = Logins::default();
        let now = Instant::now();
        for n in 0..2 * LOGINS_REMEMBERED_MAX {
            let digest = logins.digest("u", &n.to_be_bytes());
            logins.remember(digest, 1, true, now);
            assert!(logins.known.len() <= LOGINS_REMEMBERED_MAX);
            assert_eq!(logins.recall(digest, 1, now), Some(true));
        }
    }
}
