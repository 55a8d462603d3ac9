//! The set as this member knows it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use openraft::Instant;
use openraft::async_runtime::WatchReceiver;

use super::super::standing::{ClusterStatus, MemberRole, MemberStatus};
use super::Member;
use crate::store::{Journal, Replica};

impl<R: Replica + Journal> Member<R> {
    /// The set as this node knows it.
    pub fn status(&self) -> ClusterStatus {
        let state = self.store.replica_state().unwrap_or_default();
        let mut status = ClusterStatus {
            this: self.options.this.clone(),
            set: self.set.get(),
            standing: self.standing.borrow().clone(),
            term: state.vote.term,
            last_index: Some(state.last.index),
            committed: Some(state.majority),
            applied: Some(state.applied.index),
            purged: Some(state.purged.index),
            elections: self.elections.load(Ordering::Relaxed),
            members: Vec::new(),
        };
        let Ok(running) = self.running() else {
            return status;
        };
        let metrics = running.raft.metrics();
        let metrics = metrics.borrow_watched();
        status.term = metrics.current_term;
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let heard = *self.heard.lock();
        for (id, node) in metrics.membership_config.nodes() {
            let matched = metrics.replication.as_ref().and_then(|all| *all.get(id)?);
            let answered = metrics.heartbeat.as_ref().and_then(|all| *all.get(id)?);
            let heard = heard.filter(|(leader, _)| leader == id);
            let unheard = match answered {
                Some(at) => Some(at.elapsed()),
                None => heard.map(|(_, at)| at.elapsed()),
            };
            status.members.push(MemberStatus {
                member: node.member(*id),
                role: match voters.contains(id) {
                    true => MemberRole::Voter,
                    false => MemberRole::Learner,
                },
                matched: matched.map(|id| id.index() + 1),
                unheard: if *id == self.options.this.id {
                    None
                } else {
                    unheard
                },
            });
        }
        status
    }
}
