//! Names of recently deleted queues and topics, which CMQ clients may not use again for a while (`cmq-name-rest`). Kept
//! in memory only: after a restart every name may be used.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::Name;

/// Queues and topics may have equal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NameOf {
    Queue,
    Topic,
}

/// A virtual host, and a name in lower case.
type Key = (NameOf, Name, String);

#[derive(Debug)]
pub(crate) struct RecentlyDeleted {
    rest: Duration,
    /// When each name may be used again.
    until: Mutex<HashMap<Key, Instant>>,
}

impl RecentlyDeleted {
    /// `rest` is how long a name may not be used. Zero allows it immediately.
    pub(crate) fn new(rest: Duration) -> RecentlyDeleted {
        RecentlyDeleted {
            rest,
            until: Mutex::default(),
        }
    }

    /// Notes a deletion. Also forgets names that may be used again, which bounds the memory.
    pub(crate) fn insert(&self, of: NameOf, vhost: &Name, name: &str, now: Instant) {
        if self.rest.is_zero() {
            return;
        }
        let mut until = self.until.lock();
        until.retain(|_, until| now < *until);
        until.insert(key(of, vhost, name), now + self.rest);
    }

    /// Whether a name may not be used yet.
    pub(crate) fn contains(&self, of: NameOf, vhost: &Name, name: &str, now: Instant) -> bool {
        if self.rest.is_zero() {
            return false;
        }
        let until = self.until.lock();
        let until = until.get(&key(of, vhost, name));
        until.is_some_and(|until| now < *until)
    }
}

fn key(of: NameOf, vhost: &Name, name: &str) -> Key {
    (of, vhost.clone(), name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn a_name_may_be_used_again_after_its_rest_and_is_then_forgotten() {
        let deleted = RecentlyDeleted::new(Duration::from_secs(10));
        let (v, w): (Name, Name) = ("v".into(), "w".into());
        let begun = monotonic();
        let at = |secs| begun + Duration::from_secs(secs);
        deleted.insert(NameOf::Queue, &v, "Q", at(0));
        assert!(deleted.contains(NameOf::Queue, &v, "q", at(9)));
        assert!(!deleted.contains(NameOf::Queue, &v, "q", at(10)));
        assert!(!deleted.contains(NameOf::Topic, &v, "q", at(1)));
        assert!(!deleted.contains(NameOf::Queue, &w, "q", at(1)));
        deleted.insert(NameOf::Topic, &v, "t", at(11));
        assert_eq!(deleted.until.lock().len(), 1);
        let without_rest = RecentlyDeleted::new(Duration::ZERO);
        without_rest.insert(NameOf::Queue, &v, "q", at(0));
        assert!(!without_rest.contains(NameOf::Queue, &v, "q", at(0)));
    }
}
