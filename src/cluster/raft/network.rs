//! Raft's calls to the other members.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::RaftNetworkFactory;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;

use super::machine::Image;
use super::message::{self, Envelope, MessageError, kind};
use super::peers::{Lane, PeerError, Peers};
use super::set_id::SetId;
use super::standing::MemberInfo;
use super::types::{Group, NodeFacts};

/// How long an append may take: the follower's disk may be slow, and an entry large.
const APPEND_WITHIN: Duration = Duration::from_secs(10);

/// Makes the connections.
pub(super) struct Network {
    pub(super) peers: Arc<dyn Peers>,
    pub(super) me: u64,
    pub(super) set: Arc<SetId>,
}

/// The calls to one member.
pub(super) struct Connection {
    peers: Arc<dyn Peers>,
    me: u64,
    set: Arc<SetId>,
    to: MemberInfo,
}

impl RaftNetworkFactory<Group> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &NodeFacts) -> Connection {
        Connection {
            peers: self.peers.clone(),
            me: self.me,
            set: self.set.clone(),
            to: node.member(target),
        }
    }
}

impl Connection {
    fn envelope(&self) -> Envelope {
        Envelope {
            set: self.set.get().unwrap_or(0),
            from: self.me,
            to: self.to.id,
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        lane: Lane,
        kind: u8,
        request: Result<Vec<Bytes>, MessageError>,
        within: Duration,
    ) -> Result<T, RPCError<Group>> {
        let request = request.map_err(|e| unreachable(&e))?;
        let answer = self.peers.call(&self.to, lane, kind, request, within).await;
        let answer = answer.map_err(|e: PeerError| unreachable(&e))?;
        message::read_answer(&answer).map_err(|e| unreachable(&e))
    }
}

/// Raft waits a little after this before it calls again.
fn unreachable(error: &(impl std::error::Error + 'static)) -> RPCError<Group> {
    RPCError::Unreachable(Unreachable::new(error))
}

impl RaftNetworkV2<Group> for Connection {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        append: AppendEntriesRequest<Group>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Group>, RPCError<Group>> {
        let (lane, within) = match append.entries.is_empty() {
            // A heartbeat does not wait behind entries.
            true => (Lane::Control, option.hard_ttl()),
            false => (Lane::Raft, APPEND_WITHIN),
        };
        let request = message::append_request(self.envelope(), &append);
        self.call(lane, kind::APPEND, request, within).await
    }

    async fn vote(
        &mut self,
        vote: VoteRequest<Group>,
        option: RPCOption,
    ) -> Result<VoteResponse<Group>, RPCError<Group>> {
        let request = message::request(self.envelope(), &vote);
        self.call(Lane::Control, kind::VOTE, request, option.hard_ttl())
            .await
    }

    async fn pre_vote(
        &mut self,
        vote: VoteRequest<Group>,
        option: RPCOption,
    ) -> Result<VoteResponse<Group>, RPCError<Group>> {
        let request = message::request(self.envelope(), &vote);
        self.call(Lane::Control, kind::PRE_VOTE, request, option.hard_ttl())
            .await
    }

    async fn full_snapshot(
        &mut self,
        _: VoteOf<Group>,
        _: SnapshotOf<Group, Image>,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Group>, StreamingError<Group>> {
        let error = PeerError::Refused("snapshots are not sent yet".to_owned());
        Err(StreamingError::Unreachable(Unreachable::new(&error)))
    }

    async fn transfer_leader(
        &mut self,
        transfer: TransferLeaderRequest<Group>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Group>, RPCError<Group>> {
        let request = message::request(self.envelope(), &transfer);
        self.call(Lane::Control, kind::TRANSFER, request, option.hard_ttl())
            .await
    }
}
