//! Tells that a member cannot be called: once a minute per member, since Raft calls again all the time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{debug, warn};

use super::standing::MemberInfo;
use crate::clock::monotonic;
use crate::seldom::Seldom;

const LOGGED_EVERY: Duration = Duration::from_secs(60);
/// Members beyond this number share one entry; a set has fewer.
const MEMBERS_MAX: usize = 64;

/// Calls to members that failed.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<HashMap<u64, Arc<Seldom>>>);

impl Unanswered {
    /// A call has failed.
    pub(super) fn note(&self, member: &MemberInfo, error: &dyn std::fmt::Display) {
        match self.of(member.id).passes(monotonic()) {
            Some(unsaid) => {
                warn!(member = member.name, %unsaid, "a member of the set cannot be called: {error}");
            }
            None => debug!(
                member = member.name,
                "a member of the set cannot be called: {error}"
            ),
        }
    }

    fn of(&self, id: u64) -> Arc<Seldom> {
        let mut members = self.0.lock();
        let id = match members.len() < MEMBERS_MAX {
            true => id,
            false => 0,
        };
        let seldom = members
            .entry(id)
            .or_insert_with(|| Arc::new(Seldom::new(1, LOGGED_EVERY)));
        Arc::clone(seldom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_its_own_minute() {
        let unanswered = Unanswered::default();
        let now = monotonic();
        for id in [1, 2] {
            assert!(unanswered.of(id).passes(now).is_some());
            assert!(unanswered.of(id).passes(now).is_none());
            let later = now + LOGGED_EVERY;
            assert!(unanswered.of(id).passes(later).is_some());
        }
        (0..1000).for_each(|id| drop(unanswered.of(id)));
        assert!(unanswered.0.lock().len() <= MEMBERS_MAX + 1);
    }
}
