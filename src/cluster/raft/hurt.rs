//! What a member knows of damage of its own files that other members have whole. It needs them for that: either they are a
//! majority without it, and it begins anew, or one of them leads in its place.

use std::time::Duration;

use openraft::Instant;
use openraft::alias::InstantOf;
use openraft::type_config::TypeConfigExt;
use parking_lot::Mutex;

use super::types::Group;

type Moment = InstantOf<Group>;

/// How often another member leads in the place of this one. If this one leads again each time, they have damage too.
const TURNS_MAX: u32 = 3;

/// What a member knows of its damage.
#[derive(Debug)]
pub(super) struct Hurt {
    /// How long something that this leader cannot read waits for another leader.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    damage: Option<String>,
    /// Since when something waits that this leader cannot read.
    waits_since: Option<Moment>,
    /// Another member was asked to lead.
    gives_way: bool,
    /// How often one did.
    turns: u32,
}

impl Hurt {
    pub(super) fn new(patience: Duration) -> Hurt {
        Hurt {
            patience,
            state: Mutex::default(),
        }
    }

    /// This member could not read what it should have.
    pub(super) fn note(&self, damage: String) {
        let mut state = self.state.lock();
        state.damage.get_or_insert(damage);
        state.waits_since.get_or_insert_with(Group::now);
    }

    pub(super) fn damage(&self) -> Option<String> {
        self.state.lock().damage.clone()
    }

    /// Whether another member should lead, since something waits that this one cannot read. It is asked then.
    pub(super) fn gives_way(&self) -> bool {
        if self.leaves_out() {
            return false;
        }
        let mut state = self.state.lock();
        state.gives_way |= state.waits_since.is_some();
        state.waits_since.is_some()
    }

    /// Another member leads.
    pub(super) fn follows(&self) {
        let mut state = self.state.lock();
        state.waits_since = None;
        state.turns += u32::from(std::mem::take(&mut state.gives_way));
    }

    /// Whether this leader goes on without what it cannot read, since no other member takes over.
    pub(super) fn leaves_out(&self) -> bool {
        let state = self.state.lock();
        let waited = state.waits_since.map(|since| since.elapsed());
        state.turns >= TURNS_MAX || waited.is_some_and(|waited| waited >= self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_member_leads_when_this_one_cannot_read_until_none_can() {
        let hurt = Hurt::new(Duration::from_secs(3600));
        assert!(!hurt.gives_way(), "it is whole");
        hurt.follows();
        for _ in 0..TURNS_MAX {
            assert!(!hurt.leaves_out());
            hurt.note("chunk 1".to_owned());
            assert!(hurt.gives_way() && hurt.gives_way());
            hurt.follows();
            assert!(!hurt.gives_way(), "nothing waits");
            hurt.follows();
        }
        hurt.note("chunk 2".to_owned());
        assert!(hurt.leaves_out() && !hurt.gives_way());
        assert_eq!(hurt.damage(), Some("chunk 1".to_owned()));
    }

    #[test]
    fn what_no_member_takes_over_is_left_out_after_a_while() {
        let hurt = Hurt::new(Duration::ZERO);
        assert!(!hurt.leaves_out());
        hurt.note("chunk 1".to_owned());
        assert!(hurt.leaves_out() && !hurt.gives_way());
        hurt.follows();
        assert!(!hurt.leaves_out());
    }
}
