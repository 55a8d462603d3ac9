//! Raft's calls to the other members.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::RaftNetworkFactory;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use tracing::{debug, info};

use super::appends::{self, Answer};
use super::machine::Image;
use super::message::{self, Envelope, MessageError, kind};
use super::peers::{Lane, PeerError, Peers};
use super::sending::Sendings;
use super::set_id::SetId;
use super::snapshot_stream;
use super::standing::MemberInfo;
use super::types::{Group, NodeFacts, store_index};
use super::unanswered::Unanswered;
use super::wire;
use crate::store::Replica;

/// How long an append may take, besides the time for its bytes: the follower's disk may be slow.
const APPEND_WITHIN: Duration = Duration::from_secs(10);
/// The slowest network and disk for which an entry is not given up, in bytes per second.
const SLOWEST_BYTES: usize = 1_000_000;

/// Makes the connections.
pub(super) struct Network<R> {
    pub(super) peers: Arc<dyn Peers>,
    pub(super) me: u64,
    pub(super) set: Arc<SetId>,
    pub(super) sendings: Arc<Sendings>,
    pub(super) replica: PhantomData<fn() -> R>,
    pub(super) unanswered: Arc<Unanswered>,
}

/// The calls to one member.
pub(super) struct Connection<R> {
    peers: Arc<dyn Peers>,
    me: u64,
    set: Arc<SetId>,
    sendings: Arc<Sendings>,
    unanswered: Arc<Unanswered>,
    to: MemberInfo,
    replica: PhantomData<fn() -> R>,
}

impl<R: Replica> RaftNetworkFactory<Group> for Network<R> {
    type Network = Connection<R>;

    async fn new_client(&mut self, target: u64, node: &NodeFacts) -> Connection<R> {
        Connection {
            sendings: self.sendings.clone(),
            replica: PhantomData,
            peers: self.peers.clone(),
            me: self.me,
            set: self.set.clone(),
            unanswered: self.unanswered.clone(),
            to: node.member(target),
        }
    }
}

impl<R: Replica> Connection<R> {
    fn envelope(&self) -> Envelope {
        Envelope {
            set: self.set.get().unwrap_or(0),
            from: self.me,
            to: self.to.id,
        }
    }

    async fn append(
        &self,
        append: AppendEntriesRequest<Group>,
        lane: Lane,
        option: &RPCOption,
    ) -> Result<AppendEntriesResponse<Group>, RPCError<Group>> {
        let request = message::append_request(self.envelope(), &append);
        drop(append);
        let bytes = |parts: &Vec<Bytes>| parts.iter().map(Bytes::len).sum();
        let within = match lane {
            Lane::Control => option.hard_ttl(),
            Lane::Raft => append_within(request.as_ref().map_or(0, bytes)),
        };
        let appended: wire::Appended = self.call(lane, kind::APPEND, request, within).await?;
        Ok(appended.into())
    }

    async fn ask(
        &self,
        kind: u8,
        vote: VoteRequest<Group>,
        option: &RPCOption,
    ) -> Result<VoteResponse<Group>, RPCError<Group>> {
        let request = message::request(self.envelope(), &wire::VoteAsked::from(vote));
        let within = option.hard_ttl();
        let voted: wire::Voted = self.call(Lane::Control, kind, request, within).await?;
        Ok(voted.into())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        lane: Lane,
        kind: u8,
        request: Result<Vec<Bytes>, MessageError>,
        within: Duration,
    ) -> Result<T, RPCError<Group>> {
        let request = request.map_err(|e| self.unreachable(&e))?;
        let answer = self.peers.call(&self.to, lane, kind, request, within).await;
        let answer = answer.map_err(|e: PeerError| self.unreachable(&e))?;
        message::read_answer(&answer).map_err(|e| self.unreachable(&e))
    }

    /// Raft waits a little after this before it calls again.
    fn unreachable(&self, error: &(impl std::error::Error + 'static)) -> RPCError<Group> {
        self.unanswered.note(&self.to, error);
        RPCError::Unreachable(Unreachable::new(error))
    }

    async fn send(
        &self,
        vote: VoteOf<Group>,
        snapshot: SnapshotOf<Group, Image<R>>,
    ) -> io::Result<SnapshotResponse<Group>> {
        let SnapshotOf::<Group, Image<R>> { meta, snapshot } = snapshot;
        let Image::Outgoing(snapshot) = snapshot else {
            return Err(io::Error::other("there is nothing to send"));
        };
        let entry = store_index(meta.last_log_id.as_ref());
        let head = message::request(self.envelope(), &wire::SnapshotHead::new(vote, &meta));
        let head = head.map_err(io::Error::other)?.concat().into();
        let stream = self.peers.open(&self.to, kind::SNAPSHOT, head).await;
        let mut stream = stream.map_err(io::Error::other)?;
        let _sending = self.sendings.begin(self.to.id, entry);
        let to = &self.to.name;
        info!(
            to,
            entry, "a snapshot is sent: the log no longer has what the member lacks"
        );
        let answer = snapshot_stream::send(&mut *stream, snapshot).await?;
        let taken: wire::SnapshotTaken = message::read_answer(&answer).map_err(io::Error::other)?;
        info!(to, entry, "a snapshot was sent");
        Ok(taken.into())
    }
}

/// How long an append with these bytes may take.
fn append_within(bytes: usize) -> Duration {
    APPEND_WITHIN + Duration::from_millis((bytes / (SLOWEST_BYTES / 1000)) as u64)
}

/// A heartbeat does not wait behind entries.
fn lane_of(append: &AppendEntriesRequest<Group>) -> Lane {
    match append.entries.is_empty() {
        true => Lane::Control,
        false => Lane::Raft,
    }
}

impl<R: Replica> RaftNetworkV2<Group> for Connection<R> {
    type SnapshotData = Image<R>;

    async fn append_entries(
        &mut self,
        append: AppendEntriesRequest<Group>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Group>, RPCError<Group>> {
        let lane = lane_of(&append);
        self.append(append, lane, &option).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Answer>, RPCError<Group>>>
    where
        S: Stream<Item = AppendEntriesRequest<Group>> + Send + Unpin + 'static,
    {
        let connection = &*self;
        let answers = appends::answers(input.boxed(), move |append, is_alone| {
            let lane = match is_alone {
                true => lane_of(&append),
                false => Lane::Raft,
            };
            let option = option.clone();
            Box::pin(async move { connection.append(append, lane, &option).await })
        });
        Box::pin(async { Ok(answers) })
    }

    async fn vote(
        &mut self,
        vote: VoteRequest<Group>,
        option: RPCOption,
    ) -> Result<VoteResponse<Group>, RPCError<Group>> {
        self.ask(kind::VOTE, vote, &option).await
    }

    async fn pre_vote(
        &mut self,
        vote: VoteRequest<Group>,
        option: RPCOption,
    ) -> Result<VoteResponse<Group>, RPCError<Group>> {
        self.ask(kind::PRE_VOTE, vote, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Group>,
        snapshot: SnapshotOf<Group, Image<R>>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Group>, StreamingError<Group>> {
        let sent = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            sent = self.send(vote, snapshot) => sent,
        };
        // Also if this node cannot read: it goes on as the leader, and tries again.
        sent.map_err(|failure| {
            let to = &self.to.name;
            debug!(to, %failure, "a snapshot was not sent");
            self.sendings.note_failure(&failure);
            StreamingError::Unreachable(Unreachable::new(&failure))
        })
    }

    async fn transfer_leader(
        &mut self,
        transfer: TransferLeaderRequest<Group>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Group>, RPCError<Group>> {
        let asked = wire::HandoverAsked::from(transfer);
        let request = message::request(self.envelope(), &asked);
        let within = option.hard_ttl();
        let answer: wire::HandoverAnswer = self
            .call(Lane::Control, kind::TRANSFER, request, within)
            .await?;
        Ok(wire::handover_response(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_entry_has_the_time_that_a_slow_network_takes() {
        let seconds = |bytes| append_within(bytes).as_secs();
        assert_eq!(seconds(0), 10);
        assert_eq!(seconds(1_000_000), 11);
        assert_eq!(seconds(200_000_000), 210);
    }
}
