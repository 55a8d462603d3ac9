//! The set as this member knows it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use openraft::Instant;
use openraft::async_runtime::WatchReceiver;

use super::super::standing::{ClusterStatus, MemberRole, MemberStatus};
use super::super::types::store_index;
use super::Member;
use crate::store::{Journal, Replica};

impl<R: Replica + Journal> Member<R> {
    /// The set as this node knows it. Touches no disk, which may have stalled.
    pub fn status(&self) -> ClusterStatus {
        let mut status = ClusterStatus {
            this: self.options.this.clone(),
            set: self.set.get(),
            standing: self.standing.borrow().clone(),
            term: 0,
            last_index: None,
            committed: None,
            applied: None,
            purged: None,
            elections: self.elections.load(Ordering::Relaxed),
            members: Vec::new(),
        };
        let Ok(running) = self.running() else {
            return status;
        };
        let metrics = running.raft.metrics();
        let metrics = metrics.borrow_watched();
        status.term = metrics.current_term;
        status.last_index = Some(metrics.last_log_index.map_or(0, |index| index + 1));
        status.committed = Some(store_index(metrics.local_committed.as_ref()));
        status.applied = Some(store_index(metrics.last_applied.as_ref()));
        status.purged = Some(store_index(metrics.purged.as_ref()));
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
