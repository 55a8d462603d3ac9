//! Which changes of a set's members its leader permits. Pure.

use std::time::Duration;

use super::facts::Holds;
use crate::cluster::raft::{ClusterStatus, MemberInfo, MemberRole, MemberStatus};

/// Members of a set: more copies make it slower and hardly safer.
pub(super) const MEMBERS_MAX: usize = 5;
/// A member that was heard within this time is there.
pub(super) const ALIVE_WITHIN: Duration = Duration::from_secs(3);

/// What adding a node takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Addition {
    /// It is a member already.
    Done,
    /// It takes the place of this member, which has its name and is gone.
    Replaces(u64),
    New,
}

/// Whether a node may become a member.
pub(super) fn may_add(status: &ClusterStatus, new: &MemberInfo) -> Result<Addition, String> {
    let members = &status.members;
    match members.iter().find(|known| known.member.id == new.id) {
        Some(known) if known.member.name == new.name && known.member.address != new.address => {
            return Err(format!(
                "leveret@{} is a member at {}, and not at {}: give it that address again, or forget it first ('leveret ctl \
                 forget_cluster_node')",
                new.name, known.member.address, new.address
            ));
        }
        Some(known) if known.member != *new => {
            return Err(format!(
                "leveret@{} has the id of the member leveret@{} at {}: each node needs a data directory of its own",
                new.name, known.member.name, known.member.address
            ));
        }
        Some(known) if known.role == MemberRole::Voter => return Ok(Addition::Done),
        // Its addition was cut short, and goes on.
        Some(_) => return Ok(Addition::New),
        None => {}
    }
    let same_address = |known: &&MemberStatus| {
        known.member.address == new.address && known.member.name != new.name
    };
    if let Some(known) = members.iter().find(same_address) {
        return Err(format!(
            "leveret@{} is a member with the address {}: each node needs an address of its own",
            known.member.name, new.address
        ));
    }
    if let Some(known) = members.iter().find(|known| known.member.name == new.name) {
        if is_alive(status, known) {
            return Err(format!(
                "leveret@{} is a member already, and runs: two nodes cannot have one name",
                new.name
            ));
        }
        may_remove(status, known.member.id)?;
        return Ok(Addition::Replaces(known.member.id));
    }
    if members.len() >= MEMBERS_MAX {
        return Err(format!(
            "the set has {MEMBERS_MAX} members, as many as a set may have: forget one first ('leveret ctl \
             forget_cluster_node')"
        ));
    }
    Ok(Addition::New)
}

/// Whether what a new node has lets it become a member: it gets everything from the set.
pub(super) fn may_come_with(name: &str, holds: Option<Holds>) -> Result<(), String> {
    match holds {
        Some(Holds::Nothing) => Ok(()),
        Some(Holds::Defaults | Holds::Data) => Err(format!(
            "leveret@{name} has data of its own, which it cannot bring along: start it with a new data directory"
        )),
        None => Err(format!(
            "leveret@{name} is of an earlier release, which does not tell whether it has data of its own: upgrade it first"
        )),
    }
}

/// Whether a member may be removed: it is gone, and the others keep a majority.
pub(super) fn may_remove(status: &ClusterStatus, id: u64) -> Result<(), String> {
    let members = &status.members;
    let Some(leaving) = members.iter().find(|known| known.member.id == id) else {
        return Err("there is no such member".to_owned());
    };
    let name = &leaving.member.name;
    if members.len() == 1 {
        return Err(format!("leveret@{name} is the last member of the set"));
    }
    if is_alive(status, leaving) {
        return Err(format!(
            "leveret@{name} runs: stop it first ('leveret ctl stop' there)"
        ));
    }
    if leaving.role == MemberRole::Learner {
        return Ok(());
    }
    let voters = members
        .iter()
        .filter(|known| known.role == MemberRole::Voter && known.member.id != id);
    let (alive, gone): (Vec<_>, Vec<_>) = voters.partition(|known| is_alive(status, known));
    let all = alive.len() + gone.len();
    if alive.len() > all / 2 {
        return Ok(());
    }
    let gone: Vec<String> = gone
        .iter()
        .map(|known| format!("leveret@{}", known.member.name))
        .collect();
    Err(format!(
        "without leveret@{name} the set has {all} voting members, and {} of them are there, which is no majority: first \
         bring back {}",
        alive.len(),
        gone.join(", ")
    ))
}

/// Whether a member is there, as this node knows: itself always.
pub(super) fn is_alive(status: &ClusterStatus, member: &MemberStatus) -> bool {
    member.member.id == status.this.id
        || member
            .unheard
            .is_some_and(|unheard| unheard <= ALIVE_WITHIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::raft::{Leadership, Standing};

    fn member(id: u64, name: &str) -> MemberInfo {
        MemberInfo {
            id,
            name: name.to_owned(),
            address: format!("{name}:1"),
        }
    }

    /// A set led by member 1. Members are a, b, c, ...; `-` is gone, `+` is there, `l` a learner that is there.
    fn set(members: &str) -> ClusterStatus {
        let members = members
            .chars()
            .zip('a'..)
            .zip(1..)
            .map(|((kind, name), id)| MemberStatus {
                member: member(id, &name.to_string()),
                role: match kind {
                    'l' => MemberRole::Learner,
                    _ => MemberRole::Voter,
                },
                matched: None,
                unheard: (kind != '-').then_some(Duration::ZERO),
            });
        ClusterStatus {
            this: member(1, "a"),
            set: Some(1),
            standing: Standing::Leads(Leadership { term: 1, number: 1 }),
            term: 1,
            last_index: None,
            committed: None,
            applied: None,
            purged: None,
            elections: 0,
            members: members.collect(),
        }
    }

    #[test]
    fn a_member_that_runs_or_is_needed_stays() {
        for (members, id, refusal) in [
            ("++-", 3, ""),
            ("+++", 3, "leveret@c runs"),
            (
                "+--",
                3,
                "without leveret@c the set has 2 voting members, and 1 of them",
            ),
            ("+-", 2, ""),
            ("+", 1, "leveret@a is the last"),
            ("+++--", 5, ""),
            (
                "++---",
                5,
                "without leveret@e the set has 4 voting members, and 2",
            ),
            ("+-", 9, "there is no such member"),
            ("++l", 1, "leveret@a runs"),
        ] {
            match may_remove(&set(members), id) {
                Ok(()) => assert_eq!(refusal, "", "{members} {id}"),
                Err(text) => {
                    assert!(
                        !refusal.is_empty() && text.starts_with(refusal),
                        "{members} {id}: {text}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_node_comes_with_nothing_of_its_own() {
        for (holds, refusal) in [
            (Some(Holds::Nothing), None),
            (Some(Holds::Defaults), Some("leveret@b has data of its own")),
            (Some(Holds::Data), Some("leveret@b has data of its own")),
            (None, Some("leveret@b is of an earlier release")),
        ] {
            match (may_come_with("b", holds), refusal) {
                (Ok(()), None) => {}
                (Err(text), Some(start)) => assert!(text.starts_with(start), "{text}"),
                other => panic!("{holds:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_node_is_added_or_replaces_the_one_with_its_name() {
        for (members, new, expected) in [
            ("+", member(9, "z"), Ok(Addition::New)),
            ("++", member(2, "b"), Ok(Addition::Done)),
            ("+l", member(2, "b"), Ok(Addition::New)),
            ("++-", member(9, "c"), Ok(Addition::Replaces(3))),
            ("+++", member(9, "c"), Err("leveret@c is a member already")),
            ("+--", member(9, "c"), Err("without leveret@c")),
            ("+++++", member(9, "z"), Err("the set has 5 members")),
            (
                "++l",
                MemberInfo {
                    address: "c:2".to_owned(),
                    ..member(3, "c")
                },
                Err("leveret@c is a member at c:1, and not at c:2"),
            ),
            (
                "+++",
                member(3, "z"),
                Err("leveret@z has the id of the member leveret@c at c:1"),
            ),
        ] {
            match (may_add(&set(members), &new), expected) {
                (Err(text), Err(start)) => assert!(text.starts_with(start), "{text}"),
                (added, expected) => {
                    assert_eq!(added, expected.map_err(str::to_owned), "{members}")
                }
            }
        }
        let mut copy = member(9, "z");
        copy.address = "b:1".to_owned();
        assert!(may_add(&set("++"), &copy).is_err_and(|text| text.contains("b:1")));
    }
}
