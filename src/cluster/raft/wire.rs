//! What members tell each other besides entries, and what a member records of the others: types of our own as JSON, so
//! that no update of Raft's crate changes what is sent or stored. A later release may add fields, which are passed over.

use std::collections::{BTreeMap, BTreeSet};

use openraft::Membership;
use openraft::alias::{SnapshotMetaOf, VoteOf};
use openraft::errors::MembershipError;
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{
    AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::vote::{RaftLeaderId, RaftVote};
use serde::{Deserialize, Serialize};

use super::types::{Group, LogId, NodeFacts};

/// For whom a member has voted in a term, and whether that one leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vote {
    leader_id: Leader,
    committed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Leader {
    term: u64,
    voted_for: u64,
}

/// An entry's place: its term, and its index as Raft counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    leader_id: u64,
    index: u64,
}

/// A candidate asks for a vote.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct VoteAsked {
    vote: Vote,
    last_log_id: Option<Position>,
    #[serde(default)]
    leadership_transfer: bool,
}

/// The answer to a candidate.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Voted {
    vote: Vote,
    vote_granted: bool,
    last_log_id: Option<Position>,
}

/// What has become of entries that were sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Appended {
    Success,
    PartialSuccess(Option<Position>),
    Conflict,
    HigherVote(Vote),
}

/// A leader asks its successor to take over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandoverAsked {
    from_leader: Vote,
    to_node_id: u64,
    last_log_id: Option<Position>,
}

/// Whether the successor does.
pub(super) type HandoverAnswer = Result<(), HandoverRefused>;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HandoverRefused {
    VoteChanged {
        expected: Vote,
        actual: Vote,
    },
    LogNotFlushed {
        expected: Option<Position>,
        actual: Option<Position>,
    },
}

/// What comes before the blocks of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotHead {
    vote: Vote,
    meta: SnapshotMeta,
}

#[derive(Debug, Serialize, Deserialize)]
struct SnapshotMeta {
    last_log_id: Option<Position>,
    last_membership: Members,
}

/// The answer to a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotTaken {
    vote: Vote,
}

/// The members after an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Members {
    log_id: Option<Position>,
    membership: Configs,
}

/// Two groups of voters while members change. The nodes are all members, learners too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Configs {
    configs: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, NodeFacts>,
}

impl From<VoteOf<Group>> for Vote {
    fn from(vote: VoteOf<Group>) -> Vote {
        let LeaderId { term, voted_for } = *vote.leader_id();
        Vote {
            leader_id: Leader { term, voted_for },
            committed: vote.is_committed(),
        }
    }
}

impl From<Vote> for VoteOf<Group> {
    fn from(vote: Vote) -> VoteOf<Group> {
        let Leader { term, voted_for } = vote.leader_id;
        RaftVote::from_leader_id(LeaderId { term, voted_for }, vote.committed)
    }
}

impl From<LogId> for Position {
    fn from(id: LogId) -> Position {
        Position {
            leader_id: id.committed_leader_id().term,
            index: id.index(),
        }
    }
}

impl From<Position> for LogId {
    fn from(position: Position) -> LogId {
        let leader = LeaderId {
            term: position.leader_id,
            voted_for: 0_u64,
        };
        LogId::new(leader.to_committed(), position.index)
    }
}

fn position(id: Option<LogId>) -> Option<Position> {
    id.map(Position::from)
}

pub(super) fn log_id(position: Option<Position>) -> Option<LogId> {
    position.map(LogId::from)
}

impl From<VoteRequest<Group>> for VoteAsked {
    fn from(request: VoteRequest<Group>) -> VoteAsked {
        VoteAsked {
            vote: request.vote.into(),
            last_log_id: position(request.last_log_id),
            leadership_transfer: request.leadership_transfer,
        }
    }
}

impl From<VoteAsked> for VoteRequest<Group> {
    fn from(asked: VoteAsked) -> VoteRequest<Group> {
        VoteRequest {
            leadership_transfer: asked.leadership_transfer,
            ..VoteRequest::new(asked.vote.into(), log_id(asked.last_log_id))
        }
    }
}

impl From<VoteResponse<Group>> for Voted {
    fn from(response: VoteResponse<Group>) -> Voted {
        Voted {
            vote: response.vote.into(),
            vote_granted: response.vote_granted,
            last_log_id: position(response.last_log_id),
        }
    }
}

impl From<Voted> for VoteResponse<Group> {
    fn from(voted: Voted) -> VoteResponse<Group> {
        let vote: VoteOf<Group> = voted.vote.into();
        VoteResponse::new(vote, log_id(voted.last_log_id), voted.vote_granted)
    }
}

impl From<AppendEntriesResponse<Group>> for Appended {
    fn from(response: AppendEntriesResponse<Group>) -> Appended {
        match response {
            AppendEntriesResponse::Success => Appended::Success,
            AppendEntriesResponse::PartialSuccess(last) => Appended::PartialSuccess(position(last)),
            AppendEntriesResponse::Conflict => Appended::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Appended::HigherVote(vote.into()),
        }
    }
}

impl From<Appended> for AppendEntriesResponse<Group> {
    fn from(appended: Appended) -> AppendEntriesResponse<Group> {
        match appended {
            Appended::Success => AppendEntriesResponse::Success,
            Appended::PartialSuccess(last) => AppendEntriesResponse::PartialSuccess(log_id(last)),
            Appended::Conflict => AppendEntriesResponse::Conflict,
            Appended::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote.into()),
        }
    }
}

impl From<TransferLeaderRequest<Group>> for HandoverAsked {
    fn from(request: TransferLeaderRequest<Group>) -> HandoverAsked {
        HandoverAsked {
            from_leader: (*request.from_leader()).into(),
            to_node_id: *request.to_node_id(),
            last_log_id: position(request.last_log_id().copied()),
        }
    }
}

impl From<HandoverAsked> for TransferLeaderRequest<Group> {
    fn from(asked: HandoverAsked) -> TransferLeaderRequest<Group> {
        let last = log_id(asked.last_log_id);
        TransferLeaderRequest::new(asked.from_leader.into(), asked.to_node_id, last)
    }
}

pub(super) fn handover_answer(response: TransferLeaderResponse<Group>) -> HandoverAnswer {
    response.map_err(|error| match error {
        TransferLeaderError::VoteChanged { expected, actual } => HandoverRefused::VoteChanged {
            expected: expected.into(),
            actual: actual.into(),
        },
        TransferLeaderError::LogNotFlushed { expected, actual } => HandoverRefused::LogNotFlushed {
            expected: position(expected),
            actual: position(actual),
        },
    })
}

pub(super) fn handover_response(answer: HandoverAnswer) -> TransferLeaderResponse<Group> {
    answer.map_err(|refused| match refused {
        HandoverRefused::VoteChanged { expected, actual } => TransferLeaderError::VoteChanged {
            expected: expected.into(),
            actual: actual.into(),
        },
        HandoverRefused::LogNotFlushed { expected, actual } => TransferLeaderError::LogNotFlushed {
            expected: log_id(expected),
            actual: log_id(actual),
        },
    })
}

impl SnapshotHead {
    pub(super) fn new(vote: VoteOf<Group>, meta: &SnapshotMetaOf<Group>) -> SnapshotHead {
        SnapshotHead {
            vote: vote.into(),
            meta: SnapshotMeta {
                last_log_id: position(meta.last_log_id),
                last_membership: (&meta.last_membership).into(),
            },
        }
    }

    pub(super) fn open(
        self,
    ) -> Result<(VoteOf<Group>, SnapshotMetaOf<Group>), MembershipError<u64>> {
        let meta = SnapshotMetaOf::<Group> {
            last_log_id: log_id(self.meta.last_log_id),
            last_membership: self.meta.last_membership.try_into()?,
        };
        Ok((self.vote.into(), meta))
    }
}

impl From<SnapshotResponse<Group>> for SnapshotTaken {
    fn from(response: SnapshotResponse<Group>) -> SnapshotTaken {
        SnapshotTaken {
            vote: response.vote.into(),
        }
    }
}

impl From<SnapshotTaken> for SnapshotResponse<Group> {
    fn from(taken: SnapshotTaken) -> SnapshotResponse<Group> {
        SnapshotResponse::new(taken.vote.into())
    }
}

impl From<&super::types::Members> for Members {
    fn from(members: &super::types::Members) -> Members {
        let membership = members.membership();
        let nodes = membership.nodes();
        Members {
            log_id: position(*members.log_id()),
            membership: Configs {
                configs: membership.get_joint_config().clone(),
                nodes: nodes.map(|(id, facts)| (*id, facts.clone())).collect(),
            },
        }
    }
}

impl TryFrom<Members> for super::types::Members {
    type Error = MembershipError<u64>;

    fn try_from(members: Members) -> Result<super::types::Members, MembershipError<u64>> {
        let Configs { configs, nodes } = members.membership;
        let membership = match configs.is_empty() {
            true => Membership::default(),
            false => Membership::new(configs, nodes)?,
        };
        Ok(super::types::Members::new(
            log_id(members.log_id),
            membership,
        ))
    }
}
