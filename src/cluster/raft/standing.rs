//! Who leads the set and who belongs to it, as this node knows it: plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A member of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Random, from the node's data directory. The id of a removed member is never used again.
    pub id: u64,
    pub name: String,
    /// Address of its cluster listener, `HOST:PORT`.
    pub address: String,
}

/// What this node is in its set now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It leads, and a majority was heard within the election timeout.
    Leads { term: u64 },
    /// It follows a leader that it has heard within the election timeout.
    Follows { leader: MemberInfo, term: u64 },
    /// It knows no leader, or leads and does not hear a majority.
    NoMajority,
}

/// Whether a member counts for majorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    Voter,
    /// It receives the log and does not count.
    Learner,
}

/// A member as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    pub member: MemberInfo,
    pub role: MemberRole,
    /// The last entry that it has; only the leader knows.
    pub matched: Option<u64>,
    /// Time since it was heard last; `None` if never, or if this node does not call it.
    pub unheard: Option<Duration>,
}

/// The set as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    pub this: MemberInfo,
    /// The set's id; `None` before this node belongs to one.
    pub set: Option<u64>,
    pub standing: Standing,
    pub term: u64,
    /// The last entry of this node's log.
    pub last_index: Option<u64>,
    /// The last entry that a majority has, as this node knows.
    pub committed: Option<u64>,
    /// The last entry that is applied to this node's database.
    pub applied: Option<u64>,
    /// The last entry that is no longer kept for others.
    pub purged: Option<u64>,
    /// Changes of leader that this node has seen since its start.
    pub elections: u64,
    /// This node too.
    pub members: Vec<MemberStatus>,
}

/// What tells this node's standing.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// Whether it was elected in its term, and no later one is known.
    pub(super) leads: bool,
    pub(super) term: u64,
    pub(super) leader: Option<MemberInfo>,
    /// Time since a leader has heard a majority, or a follower its leader.
    pub(super) unheard: Option<Duration>,
}

/// This node's standing. Followers elect no other leader while they have heard theirs within the election timeout, so
/// a leader that has not heard a majority for so long does not lead for certain.
pub(super) fn standing_of(evidence: Evidence, election_timeout: Duration) -> Standing {
    let is_heard = evidence.unheard.is_some_and(|it| it < election_timeout);
    let term = evidence.term;
    match (evidence.leads, evidence.leader) {
        (true, _) if is_heard => Standing::Leads { term },
        (false, Some(leader)) if is_heard => Standing::Follows { leader, term },
        _ => Standing::NoMajority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_stands_by_what_it_has_heard_lately() {
        let timeout = Duration::from_millis(500);
        let leader = MemberInfo {
            id: 7,
            ..MemberInfo::default()
        };
        let standing = |leads, leader: Option<&MemberInfo>, unheard: Option<u64>| {
            let evidence = Evidence {
                leads,
                term: 3,
                leader: leader.cloned(),
                unheard: unheard.map(Duration::from_millis),
            };
            standing_of(evidence, timeout)
        };
        let follows = Standing::Follows {
            leader: leader.clone(),
            term: 3,
        };
        let leads = Standing::Leads { term: 3 };
        assert_eq!(standing(true, Some(&leader), Some(499)), leads);
        assert_eq!(
            standing(true, Some(&leader), Some(500)),
            Standing::NoMajority
        );
        assert_eq!(standing(true, None, None), Standing::NoMajority);
        assert_eq!(standing(false, Some(&leader), Some(0)), follows);
        assert_eq!(
            standing(false, Some(&leader), Some(501)),
            Standing::NoMajority
        );
        assert_eq!(standing(false, None, Some(0)), Standing::NoMajority);
    }
}
