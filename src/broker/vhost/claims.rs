//! Claims of changes that are under way: between its proposal and its conclusion, a change is in no table, and no other
//! change may contradict it. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::exchange::Binding;
use crate::model::Name;

/// Something that a change depends on, makes or removes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Queue(Name),
    Exchange(Name),
    Binding(Arc<Binding>),
}

/// How a change claims a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// The change depends on its existence, as other changes may.
    Shared,
    /// The change makes, removes or alters it.
    Exclusive,
}

/// The claims of one change.
#[derive(Debug, Default)]
pub(super) struct ClaimSet(HashMap<Subject, Hold>);

impl ClaimSet {
    /// Adds a claim; the stronger of two on one subject holds.
    pub(super) fn add(&mut self, subject: Subject, hold: Hold) {
        let held = self.0.entry(subject).or_insert(hold);
        *held = hold.max(*held);
    }

    pub(super) fn append(&mut self, other: ClaimSet) {
        for (subject, hold) in other.0 {
            self.add(subject, hold);
        }
    }

    pub(super) fn exclusive(mut self, subject: Subject) -> ClaimSet {
        self.add(subject, Hold::Exclusive);
        self
    }
}

/// All claims of a virtual host.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// `None`: exclusively; else the number of changes that share it.
    held: HashMap<Subject, Option<u32>>,
}

impl Claims {
    /// Whether no change under way contradicts.
    pub(super) fn admit(&self, set: &ClaimSet) -> bool {
        set.0
            .iter()
            .all(|(subject, hold)| match (self.held.get(subject), hold) {
                (None, _) | (Some(Some(_)), Hold::Shared) => true,
                (Some(Some(_)), Hold::Exclusive) | (Some(None), _) => false,
            })
    }

    /// Takes claims that were admitted.
    pub(super) fn take(&mut self, set: &ClaimSet) {
        for (subject, hold) in &set.0 {
            let held = self.held.entry(subject.clone()).or_insert(Some(0));
            *held = match hold {
                Hold::Shared => held.map(|count| count + 1),
                Hold::Exclusive => None,
            };
        }
    }

    pub(super) fn release(&mut self, set: &ClaimSet) {
        for (subject, hold) in &set.0 {
            let left = match (self.held.get(subject), hold) {
                (Some(Some(count)), Hold::Shared) => count.saturating_sub(1),
                (Some(Some(_) | None) | None, _) => 0,
            };
            if left == 0 {
                self.held.remove(subject);
            } else {
                self.held.insert(subject.clone(), Some(left));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(claims: &[(&str, Hold)]) -> ClaimSet {
        let mut set = ClaimSet::default();
        for (name, hold) in claims {
            set.add(Subject::Queue((*name).into()), *hold);
        }
        set
    }

    #[test]
    fn a_subject_is_shared_or_held_by_one_change() {
        let (shared, exclusive) = (Hold::Shared, Hold::Exclusive);
        for (first, second, admitted) in [
            (set(&[("q", shared)]), set(&[("q", shared)]), true),
            (set(&[("q", shared)]), set(&[("q", exclusive)]), false),
            (set(&[("q", exclusive)]), set(&[("q", shared)]), false),
            (set(&[("q", exclusive)]), set(&[("q", exclusive)]), false),
            (set(&[("q", exclusive)]), set(&[("r", exclusive)]), true),
            (
                set(&[("q", shared), ("q", exclusive)]),
                set(&[("q", shared)]),
                false,
            ),
            (
                set(&[("q", shared), ("r", exclusive)]),
                set(&[("q", shared), ("r", shared)]),
                false,
            ),
        ] {
            let mut claims = Claims::default();
            assert!(claims.admit(&first));
            claims.take(&first);
            assert_eq!(claims.admit(&second), admitted, "{first:?} {second:?}");
            claims.release(&first);
            assert!(claims.is_empty() && claims.admit(&second));
        }
    }

    #[test]
    fn a_shared_claim_is_free_when_its_last_change_is_concluded() {
        let (share, take) = (set(&[("q", Hold::Shared)]), set(&[("q", Hold::Exclusive)]));
        let mut claims = Claims::default();
        claims.take(&share);
        claims.take(&share);
        claims.release(&share);
        assert!(!claims.admit(&take));
        claims.release(&share);
        assert!(claims.admit(&take));
    }
}
