//! How a set begins: with members that are all new, with what a broker that ran alone has left, or with a survivor.

use std::collections::{BTreeMap, BTreeSet};

use openraft::Membership;
use openraft::type_config::TypeConfigExt;

use super::super::records::encode_members;
use super::super::runtime::blocking;
use super::super::standing::{MemberInfo, Standing};
use super::super::types::{Group, Members, NodeFacts, log_id};
use super::{CATCH_UP_WITHIN, Member, MemberError, raft_error};
use crate::store::{EntryId, Journal, Replica};

impl<R: Replica + Journal> Member<R> {
    /// Begins a set with these members, of which this node is one. What a broker that ran alone has left here is what
    /// the set begins with; then the others are added.
    pub async fn form(&self, members: Vec<MemberInfo>) -> Result<(), MemberError> {
        let change = self.changes.lock().await;
        let state = self.store.replica_state()?;
        let raft = self.running()?.raft;
        let has_members = raft.with_raft_state(|state| {
            let members = state.membership_state.effective();
            members.nodes().next().is_some()
        });
        if state.members.is_some() || has_members.await.map_err(raft_error)? {
            return Err(MemberError::Formed);
        }
        let set = rand::random::<u64>().max(1);
        self.store.note_set(set)?;
        self.set.put(set);
        if self.store.is_empty()? {
            let nodes: BTreeMap<u64, NodeFacts> = members
                .iter()
                .map(|member| (member.id, NodeFacts::of(member)))
                .collect();
            return raft.initialize(nodes).await.map_err(raft_error);
        }
        let me = &self.options.this;
        self.shut_down().await;
        self.store.begin_set(&sole_member(me, state.applied)?)?;
        self.run().await?;
        drop(change);
        self.until_leading().await?;
        // One that does not answer now gets its vote later, and keeps out no other.
        let mut outcome = Ok(());
        for member in members {
            if member.id != me.id {
                outcome = outcome.and(self.add(member).await);
            }
        }
        outcome
    }

    /// Goes on as the only member, in a new set, with everything that this node has. All of its log counts as committed,
    /// since a majority may have had it.
    pub async fn stand_alone(&self) -> Result<(), MemberError> {
        if self.set.get().is_none() {
            return Err(MemberError::Unformed);
        }
        // One that is under way may wait for the majority that is lost.
        let _change = self.shut_down_in_turn().await;
        let set = rand::random::<u64>().max(1);
        let (store, me) = (self.store.clone(), self.options.this.clone());
        let begun = blocking(move || give_up_others(&*store, &me, set));
        let begun = begun.await.map_err(raft_error).flatten();
        if begun.is_ok() {
            self.set.put(set);
        }
        // Without a new set it goes on in the old one.
        self.run().await?;
        begun
    }

    async fn until_leading(&self) -> Result<(), MemberError> {
        let mut standing = self.standing();
        let leads = standing.wait_for(|standing| matches!(standing, Standing::Leads(_)));
        let leads = Group::timeout(CATCH_UP_WITHIN, leads).await;
        leads.map_err(raft_error)?.map_err(raft_error)?;
        Ok(())
    }
}

/// The record of members of a set that begins with this member alone, after this entry.
fn sole_member(me: &MemberInfo, applied: EntryId) -> Result<Vec<u8>, MemberError> {
    let nodes = BTreeMap::from([(me.id, NodeFacts::of(me))]);
    let alone = Membership::new(vec![BTreeSet::from([me.id])], nodes).map_err(raft_error)?;
    encode_members(&Members::new(log_id(applied), alone)).map_err(raft_error)
}

/// Applies all that the log has, and makes this member the only one. A crash on the way leaves a node without a majority,
/// which the other members refuse.
fn give_up_others(store: &impl Replica, me: &MemberInfo, set: u64) -> Result<(), MemberError> {
    store.sync_log()?;
    let last = store.replica_state()?.last;
    store.note_majority(last);
    store.apply_entries(last.index)?;
    store.note_set(set)?;
    let applied = store.replica_state()?.applied;
    store.begin_set(&sole_member(me, applied)?)?;
    Ok(())
}
