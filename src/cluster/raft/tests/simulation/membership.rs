//! Changes of members of a simulated set: nodes join and are removed, one begins anew whose files are damaged, and one
//! survives all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::events::Loss;
use super::schedule::{Replacing, Schedule, index};
use crate::cluster::raft::MemberError;

const NODES_MAX: usize = 6;
/// How many nodes join one that has survived all others.
const NEW_NODES: usize = 2;
/// After this time a node that begins anew asks again to be a member.
const ASK_AGAIN: Duration = Duration::from_secs(2);
const ASKS: u32 = 30;

impl Schedule {
    pub(super) fn grow(&mut self) {
        if self.leader().is_some() && self.nodes.len() < NODES_MAX {
            self.add_node();
        }
        self.let_last_join();
    }

    /// The leader is asked to add the newest node.
    fn let_last_join(&mut self) {
        let Some((process, leader)) = self.leader() else {
            return;
        };
        let new = self.nodes[self.nodes.len() - 1].info.clone();
        self.removed.remove(&new.id);
        self.tell(format!("{} joins", new.name));
        let checker = Arc::clone(&self.checker);
        self.world.spawn_on(process, async move {
            // It may be a member already.
            let has_joined = leader.add(new).await.is_ok();
            checker.count("joins", u64::from(has_joined));
        });
    }

    /// A member is removed, unless another one is lost: a majority must be left.
    pub(super) fn shrink(&mut self) {
        let Some((process, leader)) = self.leader().filter(|_| self.are_all_there()) else {
            return;
        };
        let id = self.nodes[index(self.world.below(self.nodes.len() as u64))]
            .info
            .id;
        if leader.status().members.len() < 3 || id == leader.this().id {
            return;
        }
        self.removed.insert(id);
        self.tell(format!("n{id} is removed"));
        let checker = Arc::clone(&self.checker);
        self.world.spawn_on(process, async move {
            // Another event may keep it from that.
            let is_gone = leader.remove(id).await.is_ok();
            checker.count("removals", u64::from(is_gone));
        });
    }

    /// The files of a node are damaged, and it begins anew, if a leader is there that others follow. One at a time: nothing
    /// protects a set that loses more.
    pub(super) fn damage(&mut self, at: usize) {
        if !self.are_all_there() {
            return self.replace();
        }
        let id = self.nodes[at].info.id;
        let serves = self.nodes[at].serves(&self.world);
        let voters = self.voters();
        let is_one_leaving = voters.iter().any(|voter| self.removed.contains(voter));
        if serves || is_one_leaving || voters.len() < 3 || !voters.contains(&id) {
            return;
        }
        self.lose(at);
        self.add_node();
        self.replacing = self.nodes.last().map(|new| Replacing {
            old: id,
            new: new.info.clone(),
            is_done: Arc::new(AtomicBool::new(false)),
        });
        self.replace();
    }

    /// Whether no member is lost that was not replaced yet.
    fn are_all_there(&self) -> bool {
        let is_over = |it: &Replacing| it.is_done.load(Ordering::Relaxed);
        self.replacing.as_ref().is_none_or(is_over)
    }

    /// A node is gone for good.
    fn lose(&mut self, at: usize) {
        self.crash(at, Loss::Power);
        let lost = self.nodes.remove(at);
        self.tell(format!("{} is lost", lost.info.name));
    }

    /// The node that begins anew asks the leader to take it in the place of the member that it was.
    fn replace(&mut self) {
        let Some((process, leader)) = self.leader() else {
            return;
        };
        let Some(Replacing { old, new, is_done }) = &self.replacing else {
            return;
        };
        let (old, new, is_done) = (*old, new.clone(), Arc::clone(is_done));
        self.tell(format!(
            "{} asks to be a member in the place of n{old}",
            new.name
        ));
        let checker = Arc::clone(&self.checker);
        self.world.spawn_on(process, async move {
            let removed = leader.remove(old).await;
            let is_removed = matches!(removed, Ok(()) | Err(MemberError::Unknown(_)));
            // Another event may keep it from that, or an earlier request may have been heard.
            if is_removed && matches!(leader.add(new).await, Ok(()) | Err(MemberError::Known(_))) {
                let was_done = is_done.swap(true, Ordering::Relaxed);
                checker.count("replaced", u64::from(!was_done));
            }
        });
    }

    pub(super) fn until_replaced(&mut self) -> Result<(), String> {
        for _ in 0..ASKS {
            if self.are_all_there() {
                return Ok(());
            }
            self.replace();
            self.pass(ASK_AGAIN)?;
        }
        Err("the node that began anew is no member in time".to_owned())
    }

    /// All nodes but one are lost for good. It goes on alone, and others join it.
    pub(super) fn survive(&mut self) -> Result<(), String> {
        let voters = self.voters();
        let members = self.leader().map(|(_, leader)| leader.status().members);
        if members.is_none_or(|members| members.len() > voters.len()) {
            return Ok(()); // one that is lost while it joins holds up all changes
        }
        let survivor = voters[index(self.world.below(voters.len() as u64))];
        for at in (0..self.nodes.len()).rev() {
            if self.nodes[at].info.id != survivor {
                self.lose(at);
            }
        }
        let (process, member) = self.member(0).ok_or("it runs")?;
        self.checker.lose_others(survivor, &self.nodes[0].store);
        self.tell(format!("n{survivor} goes on alone"));
        let checker = Arc::clone(&self.checker);
        self.world.spawn_on(process, async move {
            if let Err(failure) = member.stand_alone().await {
                checker.violate(format!("it does not go on alone: {failure}"));
            }
        });
        self.until_confirmed(0)?;
        for _ in 0..NEW_NODES {
            self.add_node();
            let new = self.nodes.last().map(|node| node.info.id);
            let new = new.ok_or("it was added")?;
            self.until("a node has started", |all| all.has_started(new))?;
            self.let_last_join();
            self.until("it is a voter", |all| all.voters().contains(&new))?;
        }
        self.checker.count("survivors", 1);
        self.work_again()
    }
}
