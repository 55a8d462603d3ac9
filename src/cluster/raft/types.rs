//! The types of this Raft group, and how the store's terms and indexes are Raft's. The store counts entries from 1 on,
//! and Raft from 0 on.

use openraft::alias::{EntryOf, LogIdOf, StoredMembershipOf, VoteOf};
use openraft::impls::leader_id_std;
use openraft::vote::{RaftLeaderId, RaftVote};
use openraft::{EntryPayload, RaftTypeConfig};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::runtime::Runtime;
use super::standing::MemberInfo;
use super::tracker::Tracker;
use crate::store::{EntryId, Parts, Proposal, Vote};

/// The types of this Raft group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group;

impl RaftTypeConfig for Group {
    type D = Changes;
    type R = ();
    type NodeId = u64;
    type Node = NodeFacts;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Changes, u64, NodeFacts>;
    type Entry = openraft::impls::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Tracker<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(super) type Entry = EntryOf<Group>;
pub(super) type LogId = LogIdOf<Group>;
pub(super) type Members = StoredMembershipOf<Group>;

/// What the set knows of a member besides its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeFacts {
    pub(super) name: String,
    pub(super) address: String,
}

impl NodeFacts {
    pub(super) fn of(member: &MemberInfo) -> NodeFacts {
        NodeFacts {
            name: member.name.clone(),
            address: member.address.clone(),
        }
    }

    pub(super) fn member(&self, id: u64) -> MemberInfo {
        MemberInfo {
            id,
            name: self.name.clone(),
            address: self.address.clone(),
        }
    }
}

/// What an entry changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changes(pub(super) Proposal);

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.weight())
    }
}

// Raft's crate asks for both. Members send entries by `message`.
impl Serialize for Changes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = Parts::default();
        self.0.encode(&mut parts);
        serializer.serialize_bytes(&parts.into_parts().concat())
    }
}

impl<'de> Deserialize<'de> for Changes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Changes, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let proposal = Proposal::decode(&mut bytes.into());
        proposal
            .map(Changes)
            .ok_or_else(|| serde::de::Error::custom("no proposal"))
    }
}

/// Raft's id of an entry of the store. The zero id is none.
pub(super) fn log_id(id: EntryId) -> Option<LogId> {
    let index = id.index.checked_sub(1)?;
    let leader = leader_id_std::LeaderId {
        term: id.term,
        voted_for: 0,
    };
    Some(LogId::new(leader.to_committed(), index))
}

/// The store's id of an entry.
pub(super) fn entry_id(id: &LogId) -> EntryId {
    EntryId {
        term: id.committed_leader_id().term,
        index: id.index() + 1,
    }
}

/// The index after which the store's log must end for Raft's last entry.
pub(super) fn store_index(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| id.index() + 1)
}

/// Raft's vote of the node `me`. `None` before the first one.
pub(super) fn raft_vote(vote: Vote, me: u64) -> Option<VoteOf<Group>> {
    if vote == Vote::default() {
        return None;
    }
    let leader = leader_id_std::LeaderId {
        term: vote.term,
        voted_for: vote.node.unwrap_or(me),
    };
    Some(VoteOf::<Group>::from_leader_id(leader, vote.committed))
}

/// The store's form of a vote.
pub(super) fn stored_vote(vote: &VoteOf<Group>) -> Vote {
    let leader = vote.leader_id();
    Vote {
        term: leader.term,
        node: Some(leader.voted_for),
        committed: vote.is_committed(),
    }
}
