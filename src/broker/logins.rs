//! Verified logins, remembered for a minute, so that thousands of connections a second do not each pay for a
//! slow password hash. Holds no password: only digests under a key that lives as long as the process.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// How long a verified login is good for.
pub(super) const LOGIN_REMEMBERED: Duration = Duration::from_secs(60);
/// Bound on the logins remembered at once.
pub(super) const LOGINS_REMEMBERED_MAX: usize = 4096;

/// A user's name and password under the process's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LoginDigest([u8; 32]);

struct Remembered {
    revision: u64,
    until: Instant,
}

/// The logins remembered.
pub(super) struct Logins {
    key: [u8; 32],
    verified: HashMap<LoginDigest, Remembered>,
}

impl Default for Logins {
    fn default() -> Logins {
        Logins {
            key: rand::random(),
            verified: HashMap::new(),
        }
    }
}

impl Logins {
    /// The digest under which a login is remembered.
    pub(super) fn digest(&self, name: &str, password: &[u8]) -> LoginDigest {
        let digest = Sha256::new()
            .chain_update(self.key)
            .chain_update(name.len().to_be_bytes())
            .chain_update(name)
            .chain_update(password);
        LoginDigest(digest.finalize().into())
    }

    /// Whether this login was verified lately against the same `revision` of the user.
    pub(super) fn recall(&self, digest: LoginDigest, revision: u64, now: Instant) -> bool {
        self.verified
            .get(&digest)
            .is_some_and(|login| login.revision == revision && now < login.until)
    }

    /// Remembers a login that was just verified against `revision` of the user. When there are too many, those that
    /// have run out are forgotten; if none has, all are: they only cost a hash again.
    pub(super) fn remember(&mut self, digest: LoginDigest, revision: u64, now: Instant) {
        if self.verified.len() >= LOGINS_REMEMBERED_MAX {
            self.verified.retain(|_, login| now < login.until);
            if self.verified.len() >= LOGINS_REMEMBERED_MAX {
                self.verified.clear();
            }
        }
        self.verified.insert(
            digest,
            Remembered {
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
        assert!(!logins.recall(digest, 1, now));
        logins.remember(digest, 1, now);
        assert!(logins.recall(digest, 1, now));
        assert!(!logins.recall(digest, 2, now), "the user has changed");
        assert!(!logins.recall(digest, 1, now + LOGIN_REMEMBERED));
        assert!(!logins.recall(logins.digest("u", b"pW"), 1, now));
        assert!(
            !logins.recall(logins.digest("up", b"w"), 1, now),
            "name and password do not run together"
        );
    }

    #[test]
    fn there_are_never_too_many() {
        let mut logins = Logins::default();
        let now = Instant::now();
        for n in 0..2 * LOGINS_REMEMBERED_MAX {
            let digest = logins.digest("u", &n.to_be_bytes());
            logins.remember(digest, 1, now);
            assert!(logins.verified.len() <= LOGINS_REMEMBERED_MAX);
            assert!(logins.recall(digest, 1, now));
        }
    }
}
