//! How a new set is formed: the decision of one of its first members, from what it knows of the others. Pure.

use std::cmp::Reverse;

use super::facts::{Facts, Holds};
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
    /// It begins empty, since another node begins the set.
    GiveUp(String),
    /// Its peers have a set without it: an operator must decide.
    Outside(String),
}

/// Decides for the node `this` without a set, which has this. The peers are all members of the set but this one. A set
/// begins with what one node has: the one with data; or one that has run before; or else the first by name.
pub(super) fn next(this: &MemberInfo, holds: Holds, peers: &[Asked]) -> Step {
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
        if holds == Holds::Data {
            return Step::Outside(format!(
                "{0} belongs to a set already, and this node has data of its own, which it cannot bring along: keep its data \
                 directory, and start it with a new one and 'leveret ctl join_cluster leveret@{0}'",
                peer.name
            ));
        }
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
    let mut others = Vec::new();
    let mut all = vec![(Reverse(holds), this.name.as_str())];
    for peer in peers {
        if let Heard::Facts(facts) = &peer.heard {
            let Some(holds) = facts.holds else {
                return Step::Wait(format!(
                    "{} is of an earlier release, which does not tell whether it has data of its own: upgrade it",
                    peer.name
                ));
            };
            all.push((Reverse(holds), &peer.name));
            others.push(MemberInfo {
                address: peer.address.clone(),
                ..facts.this.clone()
            });
        }
    }
    all.sort_unstable();
    let with = |what: Holds| -> Vec<&str> {
        let nodes = all.iter().filter(|(Reverse(holds), _)| *holds == what);
        nodes.map(|(_, name)| *name).collect()
    };
    let (with_data, with_defaults) = (with(Holds::Data), with(Holds::Defaults));
    if with_data.len() > 1 {
        return Step::Wait(format!(
            "{} have data of their own each, and a set begins with those of one node: keep the data directories of the others, \
             and start these with new ones",
            with_data.join(" and ")
        ));
    }
    let first = all.first().map(|(_, name)| *name);
    match first.filter(|first| *first != this.name) {
        Some(first) if holds == Holds::Defaults => Step::GiveUp(format!(
            "{first} begins the set, and this node begins empty"
        )),
        Some(first) => Step::Wait(format!("{first} begins the set")),
        None => match with_defaults.iter().find(|name| **name != this.name) {
            Some(other) => Step::Wait(format!("{other} begins empty first")),
            None => Step::Form(others.into_iter().chain([this.clone()]).collect()),
        },
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

    fn with(name: &str, id: u64, holds: Option<Holds>) -> Asked {
        let facts = Facts {
            this: member(name, id),
            holds,
            ..Facts::default()
        };
        asked(name, Heard::Facts(facts))
    }

    fn new(name: &str, id: u64) -> Asked {
        with(name, id, Some(Holds::Nothing))
    }

    /// What a new node does.
    fn next(this: &MemberInfo, peers: &[Asked]) -> Step {
        super::next(this, Holds::Nothing, peers)
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
    fn a_set_begins_with_the_node_that_has_something() {
        use Holds::{Data, Defaults, Nothing};
        let nodes = [("a", 1), ("b", 2), ("c", 3)];
        // What each does: it forms the set, gives up what it has, or waits for what this text begins with.
        for (all, steps) in [
            ([Nothing, Data, Nothing], ["b begins", "form", "b begins"]),
            (
                [Nothing, Nothing, Defaults],
                ["c begins", "c begins", "form"],
            ),
            (
                [Defaults, Data, Nothing],
                ["give up", "a begins empty first", "b begins"],
            ),
            (
                [Defaults, Defaults, Defaults],
                ["b begins empty first", "give up", "give up"],
            ),
            ([Data, Defaults, Data], ["a and c have data"; 3]),
            ([Data, Data, Data], ["a and b and c have data"; 3]),
        ] {
            for (at, (name, id)) in nodes.into_iter().enumerate() {
                let peers = nodes.into_iter().zip(all);
                let peers = peers.filter(|((other, _), _)| *other != name);
                let peers: Vec<Asked> = peers
                    .map(|((name, id), holds)| with(name, id, Some(holds)))
                    .collect();
                let step = super::next(&member(name, id), all[at], &peers);
                let is_right = match (&step, steps[at]) {
                    (Step::Form(members), "form") => members.len() == 3,
                    (Step::GiveUp(_), expected) => expected == "give up",
                    (Step::Wait(why), expected) => why.starts_with(expected),
                    _ => false,
                };
                assert!(is_right, "{all:?} {name}: {step:?}");
            }
        }
    }

    #[test]
    fn a_node_with_data_is_told_that_it_cannot_take_them_into_a_set() {
        let step = super::next(&member("a", 1), Holds::Data, &[of_a_set("b", 2)]);
        assert!(
            matches!(&step, Step::Outside(why) if why.contains("this node has data of its own")),
            "{step:?}"
        );
    }

    #[test]
    fn a_peer_that_does_not_tell_what_it_has_is_waited_for() {
        let step = next(&member("a", 1), &[with("b", 2, None), new("c", 3)]);
        assert!(
            matches!(&step, Step::Wait(why) if why.starts_with("b is of an earlier release")),
            "{step:?}"
        );
    }

    #[test]
    fn a_peer_with_another_name_is_waited_for() {
        let mut peer = new("b", 2);
        peer.name = "x".to_owned();
        let step = next(&member("a", 1), &[peer]);
        assert!(matches!(step, Step::Wait(why) if why.contains("and not x")));
    }
}
