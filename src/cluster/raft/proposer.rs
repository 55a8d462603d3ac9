//! Proposes the changes of one leadership.

use std::sync::Arc;

use openraft::Raft;
use openraft::async_runtime::WatchReceiver;

use super::hurt::Hurt;
use super::log::Durability;
use super::machine::Machine;
use super::tracker::{Lost, Proposals};
use super::types::{Changes, Group, LogId};
use crate::model::Ticket;
use crate::store::{Proposal, Replica, StoreError};

/// Proposes the changes of one leadership.
pub(super) struct Proposer<R: Replica> {
    raft: Raft<Group, Machine<R>>,
    /// An entry of this leadership.
    own: LogId,
    pub(super) proposals: Arc<Proposals>,
    durability: Arc<Durability<R>>,
    hurt: Arc<Hurt>,
}

impl<R: Replica> Proposer<R> {
    pub(super) fn new(
        raft: Raft<Group, Machine<R>>,
        own: LogId,
        proposals: Arc<Proposals>,
        durability: Arc<Durability<R>>,
        hurt: Arc<Hurt>,
    ) -> Proposer<R> {
        Proposer {
            raft,
            own,
            proposals,
            durability,
            hurt,
        }
    }

    /// Whether so much waits for the disk of this leader that no more should be proposed. What is lost must not wait.
    pub(super) fn waits_for_disk(&self) -> bool {
        self.durability.is_throttled() && !self.proposals.is_lost()
    }

    /// Notes that this leader cannot read what its store should have. False if no other member can take over that has it.
    pub(super) fn note_unreadable(&self, error: &StoreError) -> bool {
        let metrics = self.raft.metrics();
        let voters = metrics
            .borrow_watched()
            .membership_config
            .voter_ids()
            .count();
        let can_give_way = voters > 1 && !self.hurt.leaves_out();
        if can_give_way {
            self.durability.note_damage(error);
        }
        can_give_way
    }

    /// Proposes the changes of the batch with this ticket. Returns when they are on their way.
    pub(super) async fn propose(&self, ticket: Ticket, proposal: Proposal) -> Result<(), Lost> {
        let tracker = self.proposals.next(ticket)?;
        let write = self
            .raft
            .write(Changes(proposal))
            .with_leader(*self.own.committed_leader_id())
            .responder(tracker);
        write.await.map_err(|_| Lost)
    }
}
