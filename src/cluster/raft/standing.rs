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

/// A time for which this node leads without a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    pub term: u64,
    /// Counts the leaderships of this process. A term has several if the majority was not heard for a while.
    pub number: u64,
}

/// What this node is in its set now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It leads, and a majority was heard within the election timeout.
    Leads(Leadership),
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

/// The leaderships of this node, one after another.
#[derive(Debug, Default)]
pub(super) struct Leaderships {
    /// The current or last one.
    last: Option<Leadership>,
    is_over: bool,
    /// The last term that this node has given up.
    given_up: Option<u64>,
}

impl Leaderships {
    /// The current one is over, also if this node goes on to lead in its term: something that was proposed in it may be
    /// committed later, unknown to those who proposed it.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// This node serves no more in this term, for another one is asked to take over.
    pub(super) fn give_up(&mut self, term: u64) {
        self.given_up = self.given_up.max(Some(term));
        self.end();
    }

    /// The leadership of this node, which leads in `term`.
    fn of(&mut self, term: u64) -> Option<Leadership> {
        if self.given_up >= Some(term) {
            return None;
        }
        let current = self.last.filter(|last| last.term == term && !self.is_over);
        let leadership = current.unwrap_or(Leadership {
            term,
            number: self.last.map_or(1, |last| last.number + 1),
        });
        self.last = Some(leadership);
        self.is_over = false;
        Some(leadership)
    }
}

/// This node's standing. Followers elect no other leader while they have heard theirs within the election timeout, so
/// a leader that has not heard a majority for so long does not lead for certain. Only a transfer does without this: the
/// leader gives its term up before it asks another one to take over.
pub(super) fn standing_of(
    evidence: Evidence,
    election_timeout: Duration,
    leaderships: &mut Leaderships,
) -> Standing {
    let is_heard = evidence.unheard.is_some_and(|it| it < election_timeout);
    let term = evidence.term;
    if evidence.leads
        && is_heard
        && let Some(leadership) = leaderships.of(term)
    {
        return Standing::Leads(leadership);
    }
    leaderships.end();
    match evidence.leader {
        Some(leader) if is_heard && !evidence.leads => Standing::Follows { leader, term },
        Some(_) | None => Standing::NoMajority,
    }
}

/// Whether so many members are a majority of all.
pub(super) fn is_majority(members: usize, all: usize) -> bool {
    members > all / 2
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
        let mut leaderships = Leaderships::default();
        let mut standing = |leads, leader: Option<&MemberInfo>, unheard: Option<u64>| {
            let evidence = Evidence {
                leads,
                term: 3,
                leader: leader.cloned(),
                unheard: unheard.map(Duration::from_millis),
            };
            standing_of(evidence, timeout, &mut leaderships)
        };
        let follows = Standing::Follows {
            leader: leader.clone(),
            term: 3,
        };
        let leads = Standing::Leads(Leadership { term: 3, number: 1 });
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

    #[test]
    fn a_leadership_that_is_over_is_never_taken_up_again() {
        let timeout = Duration::from_millis(500);
        let mut leaderships = Leaderships::default();
        let leads = |leaderships: &mut Leaderships, term, unheard| {
            let evidence = Evidence {
                leads: true,
                term,
                leader: None,
                unheard: Some(Duration::from_millis(unheard)),
            };
            match standing_of(evidence, timeout, leaderships) {
                Standing::Leads(Leadership { term, number }) => Some((term, number)),
                Standing::Follows { .. } | Standing::NoMajority => None,
            }
        };
        assert_eq!(leads(&mut leaderships, 3, 0), Some((3, 1)));
        assert_eq!(leads(&mut leaderships, 3, 499), Some((3, 1)));
        assert_eq!(leads(&mut leaderships, 3, 700), None);
        assert_eq!(
            leads(&mut leaderships, 3, 0),
            Some((3, 2)),
            "in the same term"
        );
        leaderships.end();
        assert_eq!(
            leads(&mut leaderships, 3, 0),
            Some((3, 3)),
            "a proposal was lost"
        );
        assert_eq!(leads(&mut leaderships, 5, 0), Some((5, 4)));
        leaderships.give_up(5);
        assert_eq!(leads(&mut leaderships, 5, 0), None);
        assert_eq!(leads(&mut leaderships, 6, 0), Some((6, 5)));
    }
}
