//! Digests of what a store holds. They are equal for two stores that hold the same messages, states and definitions,
//! wherever their files have them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::Xxh3;

use super::EntryId;
use crate::model::LogId;

/// The digest of entries that differ from each other, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Adds an entry of several fields.
    pub(super) fn add(&mut self, fields: &[&[u8]]) {
        let mut hash = Xxh3::new();
        for field in fields {
            hash.update(&(field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        self.0 = self.0.wrapping_add(hash.digest128());
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreDigest {
    /// The last entry that it has applied, in a set.
    pub entry: Option<EntryId>,
    /// The set's members, as a store of a member has them.
    pub members: Option<Digest>,
    /// Definitions by key.
    pub definitions: BTreeMap<Vec<u8>, Digest>,
    pub logs: BTreeMap<LogId, LogDigest>,
}

/// What a log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogDigest {
    /// Messages that a queue may read: all but settled ones, and with history those that a rewind brings back.
    pub messages: u64,
    /// How many of them cannot be read.
    pub unreadable: u64,
    /// The chunks with these messages.
    pub bodies: Digest,
    /// Offsets, settled messages, delivery counts, receives, segments and history.
    pub states: Digest,
}

/// Something in which two stores differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    Members,
    /// The definition under a key.
    Definition(Vec<u8>, Presence),
    Log(LogId, Box<LogDifference>),
}

/// Which of two stores has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    First,
    Second,
    /// Both have it, and not the same.
    Both,
}

/// What two stores have of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDifference {
    pub first: Option<LogDigest>,
    pub second: Option<LogDigest>,
}

impl LogDifference {
    /// Whether both have the log, with other messages.
    pub fn is_of_bodies(&self) -> bool {
        let bodies = |digest: Option<LogDigest>| digest.map(|digest| digest.bodies);
        let (first, second) = (bodies(self.first), bodies(self.second));
        first.is_some() && second.is_some() && first != second
    }
}

impl StoreDigest {
    /// The digest of everything.
    pub fn whole(&self) -> Digest {
        let mut whole = Digest::default();
        if let Some(Digest(members)) = self.members {
            whole.add(&[b"members", &members.to_le_bytes()]);
        }
        for (key, Digest(value)) in &self.definitions {
            whole.add(&[b"definition", key, &value.to_le_bytes()]);
        }
        for (log, digest) in &self.logs {
            let Digest(of_log) = digest.whole();
            let id = log.0.to_le_bytes();
            whole.add(&[b"log", &id, &of_log.to_le_bytes()]);
        }
        whole
    }

    /// The digest of all definitions.
    pub fn of_definitions(&self) -> Digest {
        let mut all = Digest::default();
        for (key, Digest(value)) in &self.definitions {
            all.add(&[key, &value.to_le_bytes()]);
        }
        all
    }

    /// In what another store differs. How far the stores are is not compared.
    pub fn differences(&self, other: &StoreDigest) -> Vec<Difference> {
        let mut found = Vec::new();
        if self.members != other.members {
            found.push(Difference::Members);
        }
        let keys: BTreeSet<_> = self
            .definitions
            .keys()
            .chain(other.definitions.keys())
            .collect();
        for key in keys {
            let presence = match (self.definitions.get(key), other.definitions.get(key)) {
                (Some(first), Some(second)) if first == second => continue,
                (None, None) => continue,
                (Some(_), Some(_)) => Presence::Both,
                (Some(_), None) => Presence::First,
                (None, Some(_)) => Presence::Second,
            };
            found.push(Difference::Definition(key.clone(), presence));
        }
        let logs: BTreeSet<_> = self.logs.keys().chain(other.logs.keys()).collect();
        for log in logs {
            let (first, second) = (self.logs.get(log), other.logs.get(log));
            if first != second {
                let difference = LogDifference {
                    first: first.copied(),
                    second: second.copied(),
                };
                found.push(Difference::Log(*log, Box::new(difference)));
            }
        }
        found
    }
}

impl LogDigest {
    /// The digest of messages and states.
    pub fn whole(&self) -> Digest {
        let mut whole = Digest::default();
        let (Digest(bodies), Digest(states)) = (self.bodies, self.states);
        whole.add(&[
            &self.messages.to_le_bytes(),
            &self.unreadable.to_le_bytes(),
            &bodies.to_le_bytes(),
            &states.to_le_bytes(),
        ]);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fields: &[&[u8]]) -> Digest {
        let mut digest = Digest::default();
        digest.add(fields);
        digest
    }

    fn store() -> StoreDigest {
        let log = LogDigest {
            messages: 2,
            unreadable: 0,
            bodies: digest(&[b"bodies"]),
            states: digest(&[b"states"]),
        };
        StoreDigest {
            entry: None,
            members: None,
            definitions: BTreeMap::from([(b"k".to_vec(), digest(&[b"v"]))]),
            logs: BTreeMap::from([(LogId(7), log)]),
        }
    }

    #[test]
    fn entries_count_in_any_order_and_fields_do_not_run_together() {
        let mut forth = digest(&[b"a"]);
        forth.add(&[b"b"]);
        let mut back = digest(&[b"b"]);
        back.add(&[b"a"]);
        assert_eq!(forth, back);
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"a"]), Digest::default());
    }

    #[test]
    fn each_change_is_a_difference_of_its_own() {
        let same = store();
        assert_eq!(same.differences(&store()), []);
        type Change = fn(&mut StoreDigest);
        let changes: [Change; 6] = [
            |it| it.members = Some(digest(&[b"three"])),
            |it| it.definitions = BTreeMap::from([(b"k".to_vec(), digest(&[b"w"]))]),
            |it| it.definitions.clear(),
            |it| it.definitions.extend([(b"l".to_vec(), digest(&[b"v"]))]),
            |it| it.logs.get_mut(&LogId(7)).unwrap().bodies = digest(&[b"others"]),
            |it| it.logs.clear(),
        ];
        let log = store().logs.get(&LogId(7)).copied();
        let others = log.map(|log| LogDigest {
            bodies: digest(&[b"others"]),
            ..log
        });
        let of_log = |second| {
            let difference = LogDifference { first: log, second };
            Difference::Log(LogId(7), Box::new(difference))
        };
        let expected = [
            Difference::Members,
            Difference::Definition(b"k".to_vec(), Presence::Both),
            Difference::Definition(b"k".to_vec(), Presence::First),
            Difference::Definition(b"l".to_vec(), Presence::Second),
            of_log(others),
            of_log(None),
        ];
        for (change, expected) in changes.into_iter().zip(expected) {
            let mut changed = store();
            change(&mut changed);
            assert_ne!(same.whole(), changed.whole(), "{expected:?}");
            assert_eq!(same.differences(&changed), [expected]);
        }
    }
}
