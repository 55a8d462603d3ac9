//! What a node of a set does next, from its standing and from what it runs. Pure.

use crate::cluster::raft::{Leadership, MemberInfo, Standing};

/// What a node runs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    /// The broker, for this leadership.
    Broker(Leadership),
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
    Begin(Leadership),
    /// Stops delivering and confirming immediately, closes the clients and drops the broker.
    End,
    /// Passes clients on to this leader.
    PassOn { leader: MemberInfo },
    /// Lets clients wait.
    Wait,
}

/// Decides. A broker of an earlier leadership is never kept: another node may have led between the two, or proposals of
/// the earlier one may have come through without its knowledge.
pub fn next(standing: &Standing, runs: &Runs) -> Next {
    match (standing, runs) {
        (Standing::Leads(leads), Runs::Broker(runs)) if leads == runs => Next::Stay,
        (Standing::Leads(_) | Standing::Follows { .. } | Standing::NoMajority, Runs::Broker(_)) => {
            Next::End
        }
        (Standing::Leads(leads), Runs::Passing { .. } | Runs::Waiting) => Next::Begin(*leads),
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
    fn a_broker_serves_for_one_leadership() {
        let member = |id| MemberInfo {
            id,
            ..MemberInfo::default()
        };
        let leadership = |term, number| Leadership { term, number };
        let leads = |term, number| Standing::Leads(leadership(term, number));
        let follows = |id| Standing::Follows {
            leader: member(id),
            term: 9,
        };
        let broker = |term, number| Runs::Broker(leadership(term, number));
        let passing = |id| Runs::Passing { leader: member(id) };
        let pass_on = |id| Next::PassOn { leader: member(id) };
        for (standing, runs, expected) in [
            (leads(1, 1), broker(1, 1), Next::Stay),
            (leads(2, 2), broker(1, 1), Next::End),
            (leads(1, 2), broker(1, 1), Next::End),
            (follows(1), broker(1, 1), Next::End),
            (Standing::NoMajority, broker(1, 1), Next::End),
            (leads(3, 1), Runs::Waiting, Next::Begin(leadership(3, 1))),
            (leads(3, 2), passing(1), Next::Begin(leadership(3, 2))),
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
