//! What a node of a set does next, from its standing and from what it runs. Pure.

use crate::cluster::raft::{MemberInfo, Standing};

/// What a node runs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    /// The broker, since this term of its leadership.
    Broker { term: u64 },
    /// Its clients are passed on to the leader.
    Passing { leader: MemberInfo },
    /// Its clients wait for a leader, or are told that there is none.
    Waiting,
}

/// What it does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until the standing changes.
    Stay,
    /// Starts the broker.
    Begin { term: u64 },
    /// Stops delivering and confirming immediately, closes the clients and drops the broker.
    End,
    /// Passes clients on to this leader.
    PassOn { leader: MemberInfo },
    /// Lets clients wait.
    Wait,
}

/// Decides. A broker of an earlier term is never kept: another node may have led between the two.
pub fn next(standing: &Standing, runs: &Runs) -> Next {
    match (standing, runs) {
        (Standing::Leads { term }, Runs::Broker { term: runs }) if term == runs => Next::Stay,
        (
            Standing::Leads { .. } | Standing::Follows { .. } | Standing::NoMajority,
            Runs::Broker { .. },
        ) => Next::End,
        (Standing::Leads { term }, Runs::Passing { .. } | Runs::Waiting) => {
            Next::Begin { term: *term }
        }
        (Standing::Follows { leader, .. }, Runs::Passing { leader: now }) if leader == now => {
            Next::Stay
        }
        (Standing::Follows { leader, .. }, Runs::Passing { .. } | Runs::Waiting) => Next::PassOn {
            leader: leader.clone(),
        },
        (Standing::NoMajority, Runs::Passing { .. }) => Next::Wait,
        (Standing::NoMajority, Runs::Waiting) => Next::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_serves_only_in_the_term_that_it_leads() {
        let member = |id| MemberInfo {
            id,
            ..MemberInfo::default()
        };
        let leads = |term| Standing::Leads { term };
        let follows = |id| Standing::Follows {
            leader: member(id),
            term: 9,
        };
        let broker = |term| Runs::Broker { term };
        let passing = |id| Runs::Passing { leader: member(id) };
        let pass_on = |id| Next::PassOn { leader: member(id) };
        for (standing, runs, expected) in [
            (leads(1), broker(1), Next::Stay),
            (leads(2), broker(1), Next::End),
            (follows(1), broker(1), Next::End),
            (Standing::NoMajority, broker(1), Next::End),
            (leads(3), Runs::Waiting, Next::Begin { term: 3 }),
            (leads(3), passing(1), Next::Begin { term: 3 }),
            (follows(1), passing(1), Next::Stay),
            (follows(2), passing(1), pass_on(2)),
            (follows(2), Runs::Waiting, pass_on(2)),
            (Standing::NoMajority, passing(1), Next::Wait),
            (Standing::NoMajority, Runs::Waiting, Next::Stay),
        ] {
            assert_eq!(next(&standing, &runs), expected, "{standing:?} {runs:?}");
        }
    }
}
