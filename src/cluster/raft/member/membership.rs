//! Changes of members, one at a time. None waits for ever for members that are gone.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::type_config::TypeConfigExt;
use openraft::{ChangeMembers, Instant, RaftMetrics};
use tracing::info;

use super::super::standing::{MemberInfo, Standing};
use super::super::types::{Group, Members, NodeFacts};
use super::{CATCH_UP_WITHIN, Core, Member, MemberError, PATIENCE, raft_error};
use crate::store::{Journal, Replica};

/// Entries that a new member may lack when it gets its vote: the set waits for them then.
const LAG_MAX: u64 = 256;

impl<R: Replica + Journal> Member<R> {
    /// Adds a node. It has what the set has, and votes, when this returns.
    pub async fn add(&self, new: MemberInfo) -> Result<(), MemberError> {
        let _change = self.changes.lock().await;
        let raft = self.running()?.raft;
        self.while_leading(self.add_by(&raft, new)).await
    }

    async fn add_by(&self, raft: &Core<R>, new: MemberInfo) -> Result<(), MemberError> {
        end_joint(raft).await?;
        let members = members(raft).await?;
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
        let caught_up = self.until_caught_up(raft, &new);
        let caught_up = Group::timeout(CATCH_UP_WITHIN, caught_up).await;
        caught_up.map_err(raft_error)??;
        change(raft, ChangeMembers::AddVoterIds(BTreeSet::from([new.id]))).await
    }

    /// As the leader: completes a change of members between whose steps an earlier leader, or who asked for it, was lost.
    pub async fn complete_change(&self) -> Result<(), MemberError> {
        // One that is under way here completes itself.
        let Ok(_change) = self.changes.try_lock() else {
            return Ok(());
        };
        let raft = self.running()?.raft;
        let completed = async {
            if end_joint(&raft).await? {
                return Ok(());
            }
            let ready = self.learner_to_promote(&raft.metrics().borrow_watched());
            let Some(id) = ready else {
                return Ok(());
            };
            info!("an addition that was begun earlier is completed");
            change(&raft, ChangeMembers::AddVoterIds(BTreeSet::from([id]))).await
        };
        self.while_leading(completed).await
    }

    /// A member that was added and does not vote yet, if it answers and has what the set has.
    fn learner_to_promote(&self, metrics: &RaftMetrics<Group>) -> Option<u64> {
        let members = &metrics.membership_config;
        let voters: BTreeSet<u64> = members.voter_ids().collect();
        let learners = members.nodes().map(|(id, _)| *id);
        let mut learners = learners.filter(|id| !voters.contains(id));
        learners.find(|id| self.answers(metrics, *id) && has_caught_up(metrics, *id))
    }

    /// Waits until a member that answers lacks so little that the set can wait for it.
    async fn until_caught_up(&self, raft: &Core<R>, new: &MemberInfo) -> Result<(), MemberError> {
        let begun = Group::now();
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
                let answered = metrics.heartbeat.as_ref();
                let answered = answered.and_then(|all| *all.get(&new.id)?);
                let silent = answered.map_or(Duration::MAX, |at| at.elapsed());
                if silent.min(begun.elapsed()) >= self.patience() {
                    return Err(MemberError::Silent(new.name.clone()));
                }
            }
            tokio::select! {
                biased;
                changed = changes.changed() => changed.map_err(raft_error)?,
                () = Group::sleep(self.options.heartbeat) => {}
            }
        }
    }

    /// Removes a member for good.
    pub async fn remove(&self, id: u64) -> Result<(), MemberError> {
        let _change = self.changes.lock().await;
        let raft = self.running()?.raft;
        self.while_leading(remove_by(&raft, id)).await
    }

    /// Gives a change up when this node has not led for a while: what it has begun is completed by the next leader, or by
    /// this one.
    async fn while_leading<T>(
        &self,
        change: impl Future<Output = Result<T, MemberError>>,
    ) -> Result<T, MemberError> {
        let mut standing = self.standing();
        let is_over = async {
            loop {
                let lost = standing.wait_for(|it| !matches!(it, Standing::Leads(_)));
                drop(lost.await);
                let leads = standing.wait_for(|it| matches!(it, Standing::Leads(_)));
                if Group::timeout(self.patience(), leads).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            changed = change => changed,
            () = is_over => Err(MemberError::GivenUp),
        }
    }

    fn patience(&self) -> Duration {
        self.options.election_timeout * PATIENCE
    }
}

async fn remove_by<R: Replica>(raft: &Core<R>, id: u64) -> Result<(), MemberError> {
    if !members(raft).await?.nodes().any(|(known, _)| *known == id) {
        return Err(MemberError::Unknown(id));
    }
    end_joint(raft).await?;
    let members = members(raft).await?;
    let ids = BTreeSet::from([id]);
    if members.voter_ids().any(|voter| voter == id) {
        change(raft, ChangeMembers::RemoveVoters(ids)).await
    } else if members.nodes().any(|(known, _)| *known == id) {
        change(raft, ChangeMembers::RemoveNodes(ids)).await
    } else {
        Ok(()) // an earlier removal of it was not complete
    }
}

/// The members that this node knows, also if it is not certain yet that they are.
async fn members<R: Replica>(raft: &Core<R>) -> Result<Members, MemberError> {
    let members = raft.with_raft_state(|state| (**state.membership_state.effective()).clone());
    members.await.map_err(raft_error)
}

/// Takes the second step of a change whose first one an earlier leader has taken. True if there was one.
async fn end_joint<R: Replica>(raft: &Core<R>) -> Result<bool, MemberError> {
    let members = members(raft).await?;
    let is_joint = members.membership().get_joint_config().len() > 1;
    if is_joint {
        info!("an earlier change of members is completed");
        change(raft, ChangeMembers::AddVoterIds(BTreeSet::new())).await?;
    }
    Ok(is_joint)
}

/// Changes the members. Voters that are none any more are forgotten, whichever call takes the last step.
async fn change<R: Replica>(
    raft: &Core<R>,
    change: ChangeMembers<u64, NodeFacts>,
) -> Result<(), MemberError> {
    let changed = raft.change_membership(change, false).await;
    changed.map_err(raft_error)?;
    Ok(())
}

/// Whether a member lacks so little that the set can wait for it, as its leader knows.
pub(super) fn has_caught_up(metrics: &RaftMetrics<Group>, id: u64) -> bool {
    let matched = metrics.replication.as_ref().and_then(|all| *all.get(&id)?);
    let last = metrics.last_log_index.unwrap_or(0);
    matched.is_some_and(|matched| last.saturating_sub(matched.index()) <= LAG_MAX)
}
