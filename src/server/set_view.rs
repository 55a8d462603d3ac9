//! The set of nodes as operators see it, from what this node knows of it.

use crate::cluster::node::{Contact, Current, MemberOverview, Overview};
use crate::cluster::raft::MemberRole;
use crate::node;
use crate::views::{MemberView, NodeView, SetSource, SetView};

/// Views of the set that this node takes part in, once it does.
pub(super) fn source(set: &Current) -> SetSource {
    let set = set.clone();
    SetSource::new(move || match set.get() {
        Some(set) => view(&set.overview()),
        None => SetView {
            this: node::name(),
            ..SetView::default()
        },
    })
}

fn view(overview: &Overview) -> SetView {
    let status = &overview.status;
    SetView {
        this: node::full(&status.this.name),
        id: status.set,
        leader: overview.leader().map(node::full),
        term: status.term,
        last_index: status.last_index,
        committed: status.committed,
        applied: status.applied,
        elections: status.elections,
        members: overview
            .members
            .iter()
            .map(|known| member(known, overview))
            .collect(),
        advice: overview.advice(),
        is_critical: overview.is_critical(),
    }
}

fn member(known: &MemberOverview, overview: &Overview) -> MemberView {
    let (info, status) = (&known.status.member, &overview.status);
    let facts = match &known.contact {
        Contact::There(facts) => facts.as_ref(),
        Contact::This | Contact::Gone => None,
    };
    // What a node of another release says may not be understood.
    let node = facts.and_then(|facts| serde_json::from_str::<NodeView>(&facts.report).ok());
    MemberView {
        name: node::full(&info.name),
        id: info.id,
        address: info.address.clone(),
        is_voter: known.status.role == MemberRole::Voter,
        is_leader: known.leads,
        is_this: info.id == status.this.id,
        is_running: known.is_there(),
        lag: known
            .status
            .matched
            .zip(status.last_index)
            .map(|(matched, last)| last.saturating_sub(matched)),
        unheard: known.status.unheard,
        node,
    }
}
