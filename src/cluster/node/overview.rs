//! The set as operators see it: what the Raft group says of its members, and what they have said of themselves.

use std::time::Duration;

use super::facts::Facts;
use super::membership::is_alive;
use crate::cluster::raft::{ClusterStatus, MemberRole, MemberStatus, Standing};

/// Facts that are older are not believed: their node may be gone.
const FACTS_BELIEVED: Duration = Duration::from_secs(4);

/// The set as this node sees it.
#[derive(Clone, Debug)]
pub struct Overview {
    pub status: ClusterStatus,
    pub members: Vec<MemberOverview>,
    /// What keeps a new node from its set, if it waits.
    pub waits_for: Option<String>,
}

/// One member.
#[derive(Clone, Debug)]
pub struct MemberOverview {
    pub status: MemberStatus,
    pub contact: Contact,
    pub leads: bool,
}

/// What this node has heard of a member.
#[derive(Clone, Debug)]
pub enum Contact {
    /// This node itself.
    This,
    /// It was heard lately; its last facts, if it has told them already.
    There(Option<Facts>),
    Gone,
}

impl MemberOverview {
    pub fn is_there(&self) -> bool {
        match self.contact {
            Contact::This | Contact::There(_) => true,
            Contact::Gone => false,
        }
    }
}

impl Overview {
    /// Joins what the group knows with the facts that `heard` finds for a member, with their age.
    pub(super) fn new(
        status: ClusterStatus,
        waits_for: Option<String>,
        heard: impl Fn(u64) -> Option<(Facts, Duration)>,
    ) -> Overview {
        let leader = match &status.standing {
            Standing::Leads(_) => Some(status.this.id),
            Standing::Follows { leader, .. } => Some(leader.id),
            Standing::NoMajority => None,
        };
        let member = |member: &MemberStatus| {
            let id = member.member.id;
            let contact = match heard(id) {
                _ if id == status.this.id => Contact::This,
                // It has gone on without this node, in a set of its own.
                Some((facts, _)) if facts.set.is_some() && facts.set != status.set => Contact::Gone,
                Some((facts, age)) if age <= FACTS_BELIEVED => Contact::There(Some(facts)),
                heard if leader == Some(id) || is_alive(&status, member) => {
                    Contact::There(heard.map(|(facts, _)| facts))
                }
                Some(_) | None => Contact::Gone,
            };
            MemberOverview {
                status: member.clone(),
                contact,
                leads: leader == Some(id),
            }
        };
        let mut members: Vec<MemberOverview> = status.members.iter().map(member).collect();
        members.sort_by(|one, other| one.status.member.name.cmp(&other.status.member.name));
        Overview {
            members,
            waits_for,
            status,
        }
    }

    /// The name of the leader that this node knows.
    pub fn leader(&self) -> Option<&str> {
        let leader = self.members.iter().find(|member| member.leads)?;
        Some(&leader.status.member.name)
    }

    /// Whether the set loses its majority when this node goes.
    pub fn is_critical(&self) -> bool {
        let voters = || {
            let members = self.members.iter();
            members.filter(|member| member.status.role == MemberRole::Voter)
        };
        let is_voter = voters().any(|member| member.status.member.id == self.status.this.id);
        let there = voters().filter(|member| member.is_there()).count();
        let needed = voters().count() / 2 + 1;
        is_voter && voters().count() > 1 && there.saturating_sub(1) < needed
    }

    /// Whether this node has got its set's id, and is no voting member: its addition is under way, or was cut short.
    pub fn has_not_joined_yet(&self) -> bool {
        let this = self.status.this.id;
        let is_voter = |member: &MemberOverview| {
            member.status.member.id == this && member.status.role == MemberRole::Voter
        };
        !self.members.iter().any(is_voter) && self.forgotten_by().is_none()
    }

    /// A member whose set works and does not know this node any more.
    fn forgotten_by(&self) -> Option<&str> {
        let (this, set) = (self.status.this.id, self.status.set?);
        let forgets = |member: &&MemberOverview| match &member.contact {
            Contact::There(Some(facts)) => {
                facts.set == Some(set)
                    && facts.leader.is_some()
                    && !facts.members.is_empty()
                    && !facts.members.contains(&this)
            }
            Contact::There(None) | Contact::This | Contact::Gone => false,
        };
        let member = self.members.iter().find(forgets)?;
        Some(&member.status.member.name)
    }

    /// What is missing for a majority and how to go on, for the operator; `None` while there is one.
    pub fn advice(&self) -> Option<String> {
        if let Some(reason) = &self.waits_for {
            return Some(reason.clone());
        }
        if self.status.standing != Standing::NoMajority {
            return None;
        }
        let voters = || {
            let members = self.members.iter();
            members.filter(|member| member.status.role == MemberRole::Voter)
        };
        let gone: Vec<String> = voters()
            .filter(|member| !member.is_there())
            .map(|member| format!("leveret@{}", member.status.member.name))
            .collect();
        let (all, there) = (voters().count(), voters().count() - gone.len());
        if let Some(member) = self.forgotten_by() {
            return Some(format!(
                "this node was forgotten: the set of leveret@{member} goes on without it. To take part again, start it with an \
                 empty data directory and let it join"
            ));
        }
        if there > all / 2 {
            return Some("a leader is being elected".to_owned());
        }
        Some(format!(
            "{there} of {all} voting members are there, and the set serves clients when {} are: bring back {}, or, if they \
             are lost for good, run 'leveret ctl force_boot' here, which gives up all other nodes",
            all / 2 + 1,
            gone.join(", ")
        ))
    }

    /// Whether this node may go on without the others: there is neither a leader nor a majority. The names of the others.
    pub(super) fn may_go_on_alone(&self) -> Result<Vec<String>, String> {
        let this = self.status.this.id;
        let others = self.members.iter().map(|known| &known.status.member);
        let others: Vec<String> = others
            .filter(|member| member.id != this)
            .map(|member| format!("leveret@{}", member.name))
            .collect();
        let voters = self
            .members
            .iter()
            .filter(|known| known.status.role == MemberRole::Voter);
        let (there, gone): (Vec<_>, Vec<_>) = voters.partition(|known| known.is_there());
        if self.status.set.is_none() {
            return Err("this node belongs to no set".to_owned());
        }
        if let Some(leader) = self.leader() {
            return Err(format!(
                "the set works: leveret@{leader} leads it. Forget members that are gone ('leveret ctl \
                 forget_cluster_node')"
            ));
        }
        if others.is_empty() {
            return Err("this node is the only member of its set".to_owned());
        }
        if there.len() > gone.len() {
            return Err(format!(
                "{} of {} voting members are there, and elect a leader",
                there.len(),
                there.len() + gone.len()
            ));
        }
        Ok(others)
    }
}
