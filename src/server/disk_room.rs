//! Which node leads when disks are full, and when publishers are blocked. And what a member does that runs no committer,
//! which would look at its disk.

use std::sync::Weak;
use std::time::Duration;

use super::process::Process;
use crate::store::Journal;
use crate::views::{MemberView, NodeView, SetView};

/// Interval of a member's looks at its disk.
const LOOK: Duration = Duration::from_secs(5);

/// Lets a member's store free space while its disk is short of it, as long as both are there.
pub(super) async fn spare(process: Weak<Process>, store: Weak<impl Journal>) {
    let is_short = || Some(!has_room(&process.upgrade()?.view()));
    spare_while(is_short, store, LOOK).await;
}

async fn spare_while(
    is_short: impl Fn() -> Option<bool>,
    store: Weak<impl Journal>,
    every: Duration,
) {
    while let Some(is_short) = is_short() {
        let Some(store) = store.upgrade() else {
            return;
        };
        if is_short {
            store.spare();
        }
        drop(store);
        tokio::time::sleep(every).await;
    }
}

/// The member that takes over because its disk has room and this leader's has none; the one with the least lag. `None` if
/// this node goes on: then the disk alarm blocks publishers.
pub(super) fn successor<'a>(this: &NodeView, set: &'a SetView) -> Option<&'a str> {
    if !set.leads() || has_room(this) {
        return None;
    }
    let can_lead = |member: &&MemberView| {
        member.is_voter
            && member.is_running
            && !member.is_this
            && member.node.as_ref().is_some_and(has_room)
    };
    let members = set.members.iter().filter(can_lead);
    let member = members.min_by_key(|member| member.lag.unwrap_or(u64::MAX))?;
    Some(&member.name)
}

/// Whether so many disks are full that no majority could take what is published. A member that is gone takes nothing
/// either; one that has not told yet counts as having room.
pub(super) fn majority_is_full(this: &NodeView, set: &SetView) -> bool {
    let voters = || set.members.iter().filter(|member| member.is_voter);
    let takes = |member: &&MemberView| {
        let node = match member.is_this {
            true => Some(this),
            false => member.node.as_ref(),
        };
        member.is_running && node.is_none_or(has_room)
    };
    let (all, taking) = (voters().count(), voters().filter(takes).count());
    let is_full = |member: &MemberView| {
        let is_full = |node| !has_room(node);
        !member.is_this && member.node.as_ref().is_some_and(is_full)
    };
    // Without a full disk another node is the reason, which no alarm tells.
    taking <= all / 2 && voters().any(is_full)
}

fn has_room(node: &NodeView) -> bool {
    node.disk_free
        .is_none_or(|free| free >= node.disk_free_limit)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::broker::alarms::Raised;
    use crate::store::{Batch, StoreError};

    fn node(name: &str, disk_free: u64) -> NodeView {
        NodeView {
            name: name.to_owned(),
            version: String::new(),
            os_pid: 1,
            uptime: Duration::ZERO,
            data_dir: "/".into(),
            listeners: Vec::new(),
            is_under_maintenance: false,
            alarms: Raised::default(),
            mem_used: 0,
            mem_limit: 0,
            disk_free: Some(disk_free),
            disk_free_limit: 50,
            fd_used: None,
            fd_limit: None,
            connections: 0,
            processors: 1,
            cluster_name: None,
        }
    }

    /// A member that was heard, with its free bytes and lag.
    fn member(name: &str, disk_free: u64, lag: u64) -> MemberView {
        MemberView {
            name: name.to_owned(),
            id: 0,
            address: String::new(),
            is_voter: true,
            is_leader: name == "a",
            is_this: name == "a",
            is_running: true,
            lag: Some(lag),
            unheard: None,
            node: Some(node(name, disk_free)),
        }
    }

    fn set(members: Vec<MemberView>) -> SetView {
        SetView {
            this: "a".to_owned(),
            leader: Some("a".to_owned()),
            members,
            ..SetView::default()
        }
    }

    /// Counts how often it was asked for space.
    #[derive(Default)]
    struct Asked(AtomicU64);

    impl Journal for Asked {
        fn append(&self, _batch: &Batch) -> Result<(), StoreError> {
            Ok(())
        }

        fn sync(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn apply(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn reopen(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn spare(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_member_with_a_short_disk_is_asked_for_space() {
        let store = Arc::new(Asked::default());
        let looks = Cell::new(0);
        let is_short = || {
            looks.set(looks.get() + 1);
            [Some(false), Some(true), Some(true), None][looks.get() - 1]
        };
        let every = Duration::from_millis(1);
        spare_while(is_short, Arc::downgrade(&store), every).await;
        assert_eq!(store.0.load(Ordering::Relaxed), 2);
        let weak = Arc::downgrade(&store);
        drop(store);
        spare_while(|| Some(true), weak, every).await;
    }

    #[test]
    fn publishers_are_blocked_when_no_majority_has_room() {
        const ROOM: u64 = 50;
        const FULL: u64 = 49;
        // The free bytes of a, which leads, b and c; `None` is gone.
        for (a, b, c, blocked) in [
            (ROOM, Some(ROOM), Some(ROOM), false),
            (ROOM, Some(FULL), Some(ROOM), false),
            (ROOM, Some(FULL), Some(FULL), true),
            // It hands over to the one with room.
            (FULL, Some(ROOM), Some(ROOM), false),
            (FULL, Some(FULL), Some(ROOM), true),
            (FULL, Some(FULL), Some(FULL), true),
            (ROOM, Some(ROOM), None, false),
            (ROOM, Some(FULL), None, true),
            // A majority is gone, which is another matter.
            (ROOM, None, None, false),
        ] {
            let other = |name, free: Option<u64>| {
                let mut other = member(name, free.unwrap_or_default(), 0);
                other.is_running = free.is_some();
                other.node = other.node.filter(|_| free.is_some());
                other
            };
            let members = vec![member("a", a, 0), other("b", b), other("c", c)];
            let found = majority_is_full(&node("a", a), &set(members));
            assert_eq!(found, blocked, "{a} {b:?} {c:?}");
        }
        let mut silent = member("b", 0, 0);
        silent.node = None;
        let members = vec![member("a", ROOM, 0), silent, member("c", FULL, 0)];
        assert!(!majority_is_full(&node("a", ROOM), &set(members)));
        // A learner's disk does not count.
        let mut learner = member("b", FULL, 0);
        learner.is_voter = false;
        let members = vec![member("a", ROOM, 0), learner];
        assert!(!majority_is_full(&node("a", ROOM), &set(members)));
    }

    #[test]
    fn a_leader_with_a_full_disk_hands_over_to_one_with_room() {
        let own = || member("a", 0, 0);
        for (free, others, expected) in [
            (50, vec![member("b", 99, 0)], None),
            (49, vec![member("b", 99, 5), member("c", 99, 1)], Some("c")),
            (49, vec![member("b", 99, 5), member("c", 49, 1)], Some("b")),
            (49, vec![member("b", 0, 5), member("c", 49, 1)], None),
            (49, vec![], None),
        ] {
            let set = set([own()].into_iter().chain(others).collect());
            assert_eq!(successor(&node("a", free), &set), expected, "{free}");
        }
        let mut gone = member("b", 99, 0);
        gone.is_running = false;
        let mut learner = member("c", 99, 0);
        learner.is_voter = false;
        assert_eq!(
            successor(&node("a", 0), &set(vec![own(), gone, learner])),
            None
        );
    }
}
