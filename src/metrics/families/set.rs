//! The set of nodes, as the node that answers sees it.

use super::super::exposition::{Exposition, Kind};
use crate::views::{MemberView, SetView};

/// A number of each member that not every node knows.
type Number = fn(&MemberView) -> Option<f64>;

const OF_MEMBERS: &[(&str, &str, Number)] = &[
    (
        "leveret_set_member_running",
        "1 for members that the answering node has heard lately",
        |member| Some(f64::from(u8::from(member.is_running))),
    ),
    (
        "leveret_set_member_voter",
        "1 for members that count for the majority",
        |member| Some(f64::from(u8::from(member.is_voter))),
    ),
    (
        "leveret_set_member_leader",
        "1 for the member that leads",
        |member| Some(f64::from(u8::from(member.is_leader))),
    ),
    (
        "leveret_set_member_lag_entries",
        "Entries of the log that a member does not have; the leader knows",
        |member| member.lag.map(|lag| lag as f64),
    ),
    (
        "leveret_set_member_unheard_seconds",
        "Seconds since the answering node heard a member",
        |member| member.unheard.map(|unheard| unheard.as_secs_f64()),
    ),
];

pub(in crate::metrics) fn write(set: &SetView, out: &mut Exposition) {
    let mut gauge = |name, help, value: u64| out.single(name, Kind::Gauge, help, value);
    gauge(
        "leveret_set_leads",
        "1 while the answering node leads the set",
        u64::from(set.leads()),
    );
    gauge(
        "leveret_set_has_leader",
        "1 while the answering node knows a leader",
        u64::from(set.leader.is_some()),
    );
    gauge("leveret_set_term", "Term of the set's leadership", set.term);
    for (name, help, value) in [
        (
            "leveret_set_last_index",
            "Number of the last entry in this node's log",
            set.last_index,
        ),
        (
            "leveret_set_committed_index",
            "Number of the last entry that a majority has, as this node knows",
            set.committed,
        ),
        (
            "leveret_set_applied_index",
            "Number of the last entry that is applied to this node's database",
            set.applied,
        ),
    ] {
        gauge(name, help, value.unwrap_or(0));
    }
    out.single(
        "leveret_set_elections_total",
        Kind::Counter,
        "Changes of leader that this node has seen",
        set.elections,
    );
    for (name, help, number) in OF_MEMBERS {
        out.family(name, Kind::Gauge, help);
        for member in &set.members {
            if let Some(value) = number(member) {
                out.sample(name, &[("member", &member.name)], value);
            }
        }
    }
}
