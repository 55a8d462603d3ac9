//! Changes of members, one at a time.

use std::collections::BTreeSet;

use openraft::async_runtime::WatchReceiver;
use openraft::type_config::TypeConfigExt;
use openraft::{ChangeMembers, Instant, RaftMetrics};
use tracing::info;

use super::super::standing::MemberInfo;
use super::super::types::{Group, NodeFacts};
use super::{CATCH_UP_WITHIN, Core, Member, MemberError, raft_error};
use crate::store::{Journal, Replica};

/// Entries that a new member may lack when it gets its vote: the set waits for them then.
const LAG_MAX: u64 = 256;

impl<R: Replica + Journal> Member<R> {
    /// Adds a node. It has what the set has, and votes, when this returns.
    pub async fn add(&self, new: MemberInfo) -> Result<(), MemberError> {
        let _change = self.changes.lock().await;
        let raft = self.running()?.raft;
        let members = raft.metrics().borrow_watched().membership_config.clone();
        let clash = members.nodes().find(|(id, node)| {
            let (id, is_voter) = (**id, members.voter_ids().any(|voter| voter == **id));
            match id == new.id {
                true => is_voter || **node != NodeFacts::of(&new),
                false => node.name == new.name || node.address == new.address,
            }
        });
        if let Some((_, node)) = clash {
            return Err(MemberError::Known(node.name.clone()));
        }
        let learner = raft.add_learner(new.id, NodeFacts::of(&new), false).await;
        learner.map_err(raft_error)?;
        let caught_up = self.until_caught_up(&raft, &new);
        let caught_up = Group::timeout(CATCH_UP_WITHIN, caught_up).await;
        caught_up.map_err(raft_error)??;
        let change = ChangeMembers::AddVoterIds(BTreeSet::from([new.id]));
        raft.change_membership(change, true)
            .await
            .map_err(raft_error)?;
        Ok(())
    }

    /// As the leader: completes a change of members between whose steps an earlier leader, or who asked for it, was lost.
    pub async fn complete_change(&self) -> Result<(), MemberError> {
        // One that is under way here completes itself.
        let Ok(_change) = self.changes.try_lock() else {
            return Ok(());
        };
        let raft = self.running()?.raft;
        let new_voters = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            let members = metrics.membership_config.membership();
            match members.get_joint_config().len() {
                0 | 1 => self.learners_to_promote(&metrics),
                _ => Some(BTreeSet::new()),
            }
        };
        let Some(new_voters) = new_voters else {
            return Ok(());
        };
        info!("an earlier change of members is completed");
        raft.change_membership(ChangeMembers::AddVoterIds(new_voters), true)
            .await
            .map_err(raft_error)?;
        Ok(())
    }

    /// One member that was added and does not vote yet, if it answers and has what the set has.
    fn learners_to_promote(&self, metrics: &RaftMetrics<Group>) -> Option<BTreeSet<u64>> {
        let members = &metrics.membership_config;
        let voters: BTreeSet<u64> = members.voter_ids().collect();
        let learners = members.nodes().map(|(id, _)| *id);
        let mut learners = learners.filter(|id| !voters.contains(id));
        let is_ready = |id: &u64| {
            let answered = metrics.heartbeat.as_ref().and_then(|all| *all.get(id)?);
            let answers = answered.is_some_and(|at| at.elapsed() < self.options.election_timeout);
            answers && has_caught_up(metrics, *id)
        };
        Some(BTreeSet::from([learners.find(is_ready)?]))
    }

    /// Waits until a member lacks so little that the set can wait for it.
    async fn until_caught_up(&self, raft: &Core<R>, new: &MemberInfo) -> Result<(), MemberError> {
        let mut changes = raft.metrics();
        loop {
            {
                let metrics = changes.borrow_watched();
                if metrics.replication.is_none() {
                    return Err(MemberError::NotCaughtUp(new.name.clone()));
                }
                if has_caught_up(&metrics, new.id) {
                    return Ok(());
                }
            }
            changes.changed().await.map_err(raft_error)?;
        }
    }

    /// Removes a member for good.
    pub async fn remove(&self, id: u64) -> Result<(), MemberError> {
        let _change = self.changes.lock().await;
        let raft = self.running()?.raft;
        let members = raft.metrics().borrow_watched().membership_config.clone();
        let ids = BTreeSet::from([id]);
        let change = if members.voter_ids().any(|voter| voter == id) {
            ChangeMembers::RemoveVoters(ids)
        } else if members.nodes().any(|(known, _)| *known == id) {
            ChangeMembers::RemoveNodes(ids)
        } else {
            return Err(MemberError::Unknown(id));
        };
        raft.change_membership(change, false)
            .await
            .map_err(raft_error)?;
        Ok(())
    }
}

/// Whether a member lacks so little that the set can wait for it, as its leader knows.
fn has_caught_up(metrics: &RaftMetrics<Group>, id: u64) -> bool {
    let matched = metrics.replication.as_ref().and_then(|all| *all.get(&id)?);
    let last = metrics.last_log_index.unwrap_or(0);
    matched.is_some_and(|matched| last.saturating_sub(matched.index()) <= LAG_MAX)
}
