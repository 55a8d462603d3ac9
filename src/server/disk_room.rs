//! Which node leads when disks are full. Pure.

use crate::views::{MemberView, NodeView, SetView};

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

fn has_room(node: &NodeView) -> bool {
    node.disk_free
        .is_none_or(|free| free >= node.disk_free_limit)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::alarms::Raised;

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
