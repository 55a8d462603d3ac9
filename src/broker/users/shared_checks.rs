//! Password checks under way. Equal logins that come together share one check, and so one place among the requests for
//! hashing: a thousand clients that connect with one password cost one hash. Holds no password.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::broker::logins::LoginDigest;

/// A login for one revision of its user.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CheckKey {
    pub(super) digest: LoginDigest,
    pub(super) revision: u64,
}

/// As many as there are different logins that wait.
#[derive(Default)]
pub(super) struct SharedChecks {
    under_way: Mutex<HashMap<CheckKey, Check>>,
}

#[derive(Default)]
struct Check {
    result: Arc<OnceCell<bool>>,
    /// Logins that wait for it.
    logins: usize,
}

impl SharedChecks {
    /// The result of `check`, or of an equal one that another login runs just now. When that login is dropped, or `check`
    /// gives nothing, the next of those who wait runs its own.
    pub(super) async fn result(
        &self,
        key: CheckKey,
        check: impl AsyncFnOnce() -> Option<bool>,
    ) -> Option<bool> {
        let joined = self.join(key);
        let result = joined
            .result
            .get_or_try_init(|| async { check().await.ok_or(()) });
        result.await.ok().copied()
    }

    fn join(&self, key: CheckKey) -> Joined<'_> {
        let mut under_way = self.under_way.lock();
        let check = under_way.entry(key).or_default();
        check.logins += 1;
        Joined {
            checks: self,
            key,
            result: Arc::clone(&check.result),
        }
    }
}

/// A login that waits for a check. The last one to leave removes the check.
struct Joined<'a> {
    checks: &'a SharedChecks,
    key: CheckKey,
    result: Arc<OnceCell<bool>>,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut check) = self.checks.under_way.lock().entry(self.key) {
            check.get_mut().logins -= 1;
            if check.get().logins == 0 {
                check.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;
    use crate::broker::logins::Logins;

    fn key(password: &[u8], revision: u64) -> CheckKey {
        static LOGINS: std::sync::LazyLock<Logins> = std::sync::LazyLock::new(Logins::default);
        CheckKey {
            digest: LOGINS.digest("u", password),
            revision,
        }
    }

    fn count(checks: &SharedChecks) -> usize {
        checks.under_way.lock().len()
    }

    #[tokio::test]
    async fn equal_logins_share_a_check_and_leave_nothing_behind() {
        let checks = Arc::new(SharedChecks::default());
        let (begun, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let mut logins = JoinSet::new();
        for n in 0..300_u64 {
            let (checks, begun, go) = (checks.clone(), begun.clone(), go.clone());
            // Three different logins: another password, another revision.
            let (key, right) = match n % 3 {
                0 => (key(b"right", 1), true),
                1 => (key(b"wrong", 1), false),
                _ => (key(b"right", 2), true),
            };
            logins.spawn(async move {
                let check = async || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    Some(right)
                };
                checks.result(key, check).await == Some(right)
            });
        }
        tokio::task::yield_now().await;
        while begun.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(count(&checks), 3);
        go.notify_waiters();
        assert!(
            logins
                .join_all()
                .await
                .into_iter()
                .all(|is_as_expected| is_as_expected)
        );
        assert_eq!(begun.load(Ordering::SeqCst), 3);
        assert_eq!(count(&checks), 0);
    }

    #[tokio::test]
    async fn the_next_login_checks_when_the_first_is_dropped_or_refused() {
        let checks = Arc::new(SharedChecks::default());
        let never = {
            let checks = checks.clone();
            tokio::spawn(async move { checks.result(key(b"pw", 1), std::future::pending).await })
        };
        tokio::task::yield_now().await;
        let refused = {
            let checks = checks.clone();
            tokio::spawn(async move { checks.result(key(b"pw", 1), async || None).await })
        };
        tokio::task::yield_now().await;
        let last = {
            let checks = checks.clone();
            tokio::spawn(async move { checks.result(key(b"pw", 1), async || Some(true)).await })
        };
        tokio::task::yield_now().await;
        assert_eq!(count(&checks), 1);
        assert!(!refused.is_finished() && !last.is_finished());
        never.abort();
        assert_eq!(refused.await.unwrap(), None);
        assert_eq!(last.await.unwrap(), Some(true));
        assert_eq!(count(&checks), 0);
    }
}
