//! How many logins there were at a front door; by address and user, too, if an operator wants it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::model::Name;

/// Maximum number of sources that are counted apart. Logins of further ones count in the sums only.
const SOURCES_MAX: usize = 4096;
/// Maximum length of the name of a source, in bytes: clients choose it.
const NAME_BYTES_MAX: usize = 255;

/// How many logins there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginAttempts {
    pub succeeded: u64,
    pub failed: u64,
}

/// Address and user of logins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginSource {
    pub address: IpAddr,
    pub user: Name,
}

/// The counts of one front door.
#[derive(Default)]
pub(super) struct Attempts {
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// `None`: sources are not counted.
    sources: Mutex<Option<HashMap<LoginSource, LoginAttempts>>>,
}

impl LoginAttempts {
    pub fn total(self) -> u64 {
        self.succeeded + self.failed
    }

    fn add(&mut self, has_succeeded: bool) {
        match has_succeeded {
            true => self.succeeded += 1,
            false => self.failed += 1,
        }
    }
}

impl Attempts {
    pub(super) fn count(&self, user: &str, address: IpAddr, has_succeeded: bool) {
        let counter = match has_succeeded {
            true => &self.succeeded,
            false => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(sources) = &mut *self.sources.lock() {
            let source = LoginSource {
                address: address.to_canonical(),
                user: user.into(),
            };
            let has_place = sources.len() < SOURCES_MAX && user.len() <= NAME_BYTES_MAX;
            if has_place || sources.contains_key(&source) {
                sources.entry(source).or_default().add(has_succeeded);
            }
        }
    }

    pub(super) fn sum(&self) -> LoginAttempts {
        LoginAttempts {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// The counts of each source, ordered.
    pub(super) fn by_source(&self) -> Vec<(LoginSource, LoginAttempts)> {
        let sources = self.sources.lock();
        let counts = sources.iter().flatten();
        let mut counts: Vec<_> = counts.map(|(source, own)| (source.clone(), *own)).collect();
        drop(sources);
        counts.sort_by(|(one, _), (other, _)| one.cmp(other));
        counts
    }

    /// Counts sources from now on.
    pub(super) fn track_sources(&self) {
        self.sources.lock().get_or_insert_default();
    }

    /// Counts no sources any more, and forgets those that it has.
    pub(super) fn ignore_sources(&self) {
        *self.sources.lock() = None;
    }

    pub(super) fn forget(&self) {
        self.succeeded.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
        if let Some(sources) = &mut *self.sources.lock() {
            sources.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn sources_are_counted_while_they_are_tracked() {
        let attempts = Attempts::default();
        attempts.count("ann", ADDRESS, true);
        assert!(attempts.by_source().is_empty());
        attempts.track_sources();
        for (user, has_succeeded) in [("bob", false), ("ann", true), ("ann", false)] {
            attempts.count(user, ADDRESS, has_succeeded);
        }
        attempts.track_sources();
        let counts = |attempts: &Attempts| {
            let counts = attempts.by_source().into_iter();
            let shown = |(source, own): (LoginSource, LoginAttempts)| {
                (source.user.to_string(), own.succeeded, own.failed)
            };
            counts.map(shown).collect::<Vec<_>>()
        };
        let expected = [("ann".to_owned(), 1, 1), ("bob".to_owned(), 0, 1)];
        assert_eq!(counts(&attempts), expected);
        assert_eq!(attempts.sum().total(), 4);
        attempts.forget();
        assert_eq!((attempts.sum().total(), counts(&attempts)), (0, vec![]));
        attempts.count("ann", ADDRESS, true);
        assert_eq!(counts(&attempts), [("ann".to_owned(), 1, 0)]);
        attempts.ignore_sources();
        attempts.count("ann", ADDRESS, true);
        assert!(attempts.by_source().is_empty());
    }

    #[test]
    fn sources_are_bounded_and_known_ones_are_still_counted() {
        let attempts = Attempts::default();
        attempts.track_sources();
        attempts.count(&"x".repeat(NAME_BYTES_MAX + 1), ADDRESS, false);
        for n in 0..2 * SOURCES_MAX {
            attempts.count(&n.to_string(), ADDRESS, false);
        }
        attempts.count("0", ADDRESS, false);
        let counts = attempts.by_source();
        assert_eq!(counts.len(), SOURCES_MAX);
        let failed: u64 = counts.iter().map(|(_, own)| own.failed).sum();
        assert_eq!(failed, SOURCES_MAX as u64 + 1);
    }
}
