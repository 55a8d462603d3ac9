//! Proposes the changes of one leadership.

use std::sync::Arc;

use openraft::Raft;

use super::log::Durability;
use super::machine::Machine;
use super::tracker::{Lost, Proposals};
use super::types::{Changes, Group, LogId};
use crate::model::Ticket;
use crate::store::{Proposal, Replica};

/// Proposes the changes of one leadership.
pub(super) struct Proposer<R: Replica> {
    raft: Raft<Group, Machine<R>>,
    /// An entry of this leadership.
    own: LogId,
    pub(super) proposals: Arc<Proposals>,
    durability: Arc<Durability<R>>,
}

impl<R: Replica> Proposer<R> {
    pub(super) fn new(
        raft: Raft<Group, Machine<R>>,
        own: LogId,
        proposals: Arc<Proposals>,
        durability: Arc<Durability<R>>,
    ) -> Proposer<R> {
        Proposer {
            raft,
            own,
            proposals,
            durability,
        }
    }

    /// Whether so much waits for the disk of this leader that no more should be proposed. What is lost must not wait.
    pub(super) fn waits_for_disk(&self) -> bool {
        self.durability.is_throttled() && !self.proposals.is_lost()
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
