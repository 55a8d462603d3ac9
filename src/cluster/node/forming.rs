//! How a new set is formed: the decision of one of its first members, from what it knows of the others. Pure.

use super::facts::Facts;
use crate::cluster::raft::MemberInfo;

/// What a node knows of one of its configured peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It has not answered, for this reason.
    Nothing(String),
    Facts(Facts),
}

/// A configured peer: its name, its address and its answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) heard: Heard,
}

/// What a node without a set does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It begins the set with these members.
    Form(Vec<MemberInfo>),
    /// It waits, for this reason.
    Wait(String),
    /// Its peers have a set without it: an operator must decide.
    Outside(String),
}

/// Decides for the new node `this`. The peers are all members of the set but this one.
pub(super) fn next(this: &MemberInfo, peers: &[Asked]) -> Step {
    for peer in peers {
        if let Heard::Facts(facts) = &peer.heard {
            if facts.this.name != peer.name {
                return Step::Wait(format!(
                    "the node at {} is {}, and not {} as --cluster-peers says",
                    peer.address, facts.this.name, peer.name
                ));
            }
            if facts.this.id == this.id {
                return Step::Wait(format!(
                    "{} has the id of this node: one address is given twice, or a data directory was copied",
                    peer.address
                ));
            }
        }
    }
    if let Some(peer) = peers.iter().find(|peer| has_set(peer)) {
        return Step::Outside(format!(
            "{0} belongs to a set already, and this node's data directory is new: to make this node a member, run 'leveret \
             ctl join_cluster leveret@{0}' here; it takes the place of a member with its name",
            peer.name
        ));
    }
    let silent: Vec<String> = peers
        .iter()
        .filter_map(|peer| match &peer.heard {
            Heard::Nothing(why) => Some(format!("{} ({why})", peer.name)),
            Heard::Facts(_) => None,
        })
        .collect();
    if !silent.is_empty() {
        return Step::Wait(format!("not heard yet: {}", silent.join(", ")));
    }
    match peers.iter().map(|peer| &peer.name).min() {
        Some(first) if *first < this.name => Step::Wait(format!("{first} begins the set")),
        Some(_) | None => {
            let others = peers.iter().filter_map(|peer| match &peer.heard {
                Heard::Facts(facts) => Some(MemberInfo {
                    address: peer.address.clone(),
                    ..facts.this.clone()
                }),
                Heard::Nothing(_) => None,
            });
            Step::Form(others.chain([this.clone()]).collect())
        }
    }
}

fn has_set(peer: &Asked) -> bool {
    matches!(&peer.heard, Heard::Facts(facts) if facts.set.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, id: u64) -> MemberInfo {
        MemberInfo {
            id,
            name: name.to_owned(),
            address: format!("{name}:1"),
        }
    }

    fn asked(name: &str, heard: Heard) -> Asked {
        Asked {
            name: name.to_owned(),
            address: format!("{name}:1"),
            heard,
        }
    }

    fn new(name: &str, id: u64) -> Asked {
        let facts = Facts {
            this: member(name, id),
            ..Facts::default()
        };
        asked(name, Heard::Facts(facts))
    }

    fn of_a_set(name: &str, id: u64) -> Asked {
        let facts = Facts {
            this: member(name, id),
            set: Some(7),
            ..Facts::default()
        };
        asked(name, Heard::Facts(facts))
    }

    fn silent(name: &str) -> Asked {
        asked(name, Heard::Nothing("no route".to_owned()))
    }

    #[test]
    fn the_first_by_name_begins_when_all_are_there_and_new() {
        let (a, b, c) = (member("a", 1), member("b", 2), member("c", 3));
        let all = vec![b.clone(), c.clone(), a.clone()];
        assert_eq!(next(&a, &[new("b", 2), new("c", 3)]), Step::Form(all));
        assert_eq!(next(&a, &[]), Step::Form(vec![a.clone()]));
        for (this, peers, reason) in [
            (&b, [new("a", 1), new("c", 3)], "a begins the set"),
            (&c, [new("b", 2), new("a", 1)], "a begins the set"),
            (
                &a,
                [new("b", 2), silent("c")],
                "not heard yet: c (no route)",
            ),
            (
                &a,
                [silent("b"), silent("c")],
                "not heard yet: b (no route), c (no route)",
            ),
            (
                &a,
                [new("b", 1), new("c", 3)],
                "b:1 has the id of this node",
            ),
        ] {
            match next(this, &peers) {
                Step::Wait(why) => assert!(why.starts_with(reason), "{why}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_new_node_never_begins_a_second_set() {
        for peers in [
            [of_a_set("b", 2), of_a_set("c", 3)],
            [of_a_set("b", 2), silent("c")],
            [new("b", 2), of_a_set("c", 3)],
        ] {
            let step = next(&member("a", 9), &peers);
            assert!(matches!(step, Step::Outside(_)), "{step:?}");
        }
    }

    #[test]
    fn a_peer_with_another_name_is_waited_for() {
        let mut peer = new("b", 2);
        peer.name = "x".to_owned();
        let step = next(&member("a", 1), &[peer]);
        assert!(matches!(step, Step::Wait(why) if why.contains("and not x")));
    }
}
