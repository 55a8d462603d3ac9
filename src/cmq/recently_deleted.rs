//! Names that rest: for a while after a queue or topic was deleted, none is made of its name, if an operator says. Only
//! in memory: after a restart every name may be used.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::Name;

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NameOf {
    Queue,
    Topic,
}

/// A name, in small letters, of a kind, in a virtual host.
type Key = (NameOf, Name, String);

/// Names of what was deleted.
#[derive(Debug)]
pub(crate) struct RecentlyDeleted {
    rest: Duration,
    /// Until when each rests.
    until: Mutex<HashMap<Key, Instant>>,
}

impl RecentlyDeleted {
    /// Names will rest this long; zero for not at all.
    pub(crate) fn new(rest: Duration) -> RecentlyDeleted {
        RecentlyDeleted {
            rest,
            until: Mutex::default(),
        }
    }

    /// What had this name was deleted. Forgets names that rest no longer, so that no more are kept than are deleted in
    /// that time.
    pub(crate) fn deleted(&self, named: NameOf, vhost: &Name, name: &str, now: Instant) {
        if self.rest.is_zero() {
            return;
        }
        let mut until = self.until.lock();
        until.retain(|_, until| now < *until);
        until.insert(key(named, vhost, name), now + self.rest);
    }

    /// Whether nothing may have this name yet.
    pub(crate) fn rests(&self, named: NameOf, vhost: &Name, name: &str, now: Instant) -> bool {
        if self.rest.is_zero() {
            return false;
        }
        let until = self.until.lock();
        let until = until.get(&key(named, vhost, name));
        until.is_some_and(|until| now < *until)
    }
}

fn key(named: NameOf, vhost: &Name, name: &str) -> Key {
    (named, vhost.clone(), name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn names_rest_for_their_time_and_are_forgotten() {
        let names = RecentlyDeleted::new(Duration::from_secs(10));
        let (v, w): (Name, Name) = ("v".into(), "w".into());
        let begun = monotonic();
        let at = |secs| begun + Duration::from_secs(secs);
        names.deleted(NameOf::Queue, &v, "Q", at(0));
        assert!(names.rests(NameOf::Queue, &v, "q", at(9)));
        assert!(!names.rests(NameOf::Queue, &v, "q", at(10)));
        assert!(!names.rests(NameOf::Topic, &v, "q", at(1)));
        assert!(!names.rests(NameOf::Queue, &w, "q", at(1)));
        names.deleted(NameOf::Topic, &v, "t", at(11));
        assert_eq!(names.until.lock().len(), 1);
        let none = RecentlyDeleted::new(Duration::ZERO);
        none.deleted(NameOf::Queue, &v, "q", at(0));
        assert!(!none.rests(NameOf::Queue, &v, "q", at(0)));
    }
}
