//! What a node needs of its member of the Raft group. Tests bring a group without Raft.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, TryFutureExt};
use tokio::sync::watch;

use crate::cluster::raft::{ClusterStatus, Led, Member, MemberInfo, Origin, PeerStream, Standing};

/// Why the group does not do what it is asked: a text for operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GroupError(pub String);

/// This node's member of the Raft group.
pub trait Group: Send + Sync + 'static {
    /// Who leads, as it changes.
    fn standing(&self) -> watch::Receiver<Standing>;

    fn status(&self) -> ClusterStatus;

    /// Begins a set with these members, this node among them.
    fn form(&self, members: Vec<MemberInfo>) -> BoxFuture<'_, Result<(), GroupError>>;

    /// What the leader runs the broker with, when all that was committed before is applied to its store.
    fn lead(&self) -> BoxFuture<'_, Result<Led, GroupError>>;

    /// As the leader: adds a node. It has what the set has, and votes, when this returns.
    fn add(&self, new: MemberInfo) -> BoxFuture<'_, Result<(), GroupError>>;

    /// As the leader: removes a member for good.
    fn remove(&self, id: u64) -> BoxFuture<'_, Result<(), GroupError>>;

    /// As the leader: completes a change of members that was begun and not ended, if there is one.
    fn complete_change(&self) -> BoxFuture<'_, Result<(), GroupError>>;

    /// As the leader: hands over to a member, or to the one that is furthest.
    fn transfer(&self, to: Option<u64>) -> BoxFuture<'_, Result<(), GroupError>>;

    /// Goes on as the only member, in a new set, with everything that this node has.
    fn stand_alone(&self) -> BoxFuture<'_, Result<(), GroupError>>;

    /// Answers a call of another member.
    fn handle(&self, from: Origin, kind: u8, request: Bytes) -> BoxFuture<'_, Bytes>;

    /// The links of this node have ended: it takes over from it if it led and its process is gone.
    fn succeed(&self, node: u64) -> BoxFuture<'_, ()>;

    /// Takes a stream of another member.
    fn receive(
        &self,
        from: Origin,
        header: Bytes,
        stream: Box<dyn PeerStream>,
    ) -> BoxFuture<'_, ()>;

    /// What is damaged, once the files of this node turn out to be.
    fn broken(&self) -> watch::Receiver<Option<String>>;

    /// Takes no part any more.
    fn stop(&self) -> BoxFuture<'_, ()>;
}

impl Group for Member {
    fn standing(&self) -> watch::Receiver<Standing> {
        Member::standing(self)
    }

    fn status(&self) -> ClusterStatus {
        Member::status(self)
    }

    fn form(&self, members: Vec<MemberInfo>) -> BoxFuture<'_, Result<(), GroupError>> {
        Member::form(self, members).map_err(group_error).boxed()
    }

    fn lead(&self) -> BoxFuture<'_, Result<Led, GroupError>> {
        Member::lead(self).map_err(group_error).boxed()
    }

    fn add(&self, new: MemberInfo) -> BoxFuture<'_, Result<(), GroupError>> {
        Member::add(self, new).map_err(group_error).boxed()
    }

    fn remove(&self, id: u64) -> BoxFuture<'_, Result<(), GroupError>> {
        Member::remove(self, id).map_err(group_error).boxed()
    }

    fn complete_change(&self) -> BoxFuture<'_, Result<(), GroupError>> {
        Member::complete_change(self).map_err(group_error).boxed()
    }

    fn transfer(&self, to: Option<u64>) -> BoxFuture<'_, Result<(), GroupError>> {
        Member::transfer(self, to).map_err(group_error).boxed()
    }

    fn stand_alone(&self) -> BoxFuture<'_, Result<(), GroupError>> {
        Member::stand_alone(self).map_err(group_error).boxed()
    }

    fn handle(&self, from: Origin, kind: u8, request: Bytes) -> BoxFuture<'_, Bytes> {
        async move { Member::handle(self, &from, kind, request).await }.boxed()
    }

    fn succeed(&self, node: u64) -> BoxFuture<'_, ()> {
        Member::succeed(self, node).boxed()
    }

    fn receive(
        &self,
        from: Origin,
        header: Bytes,
        stream: Box<dyn PeerStream>,
    ) -> BoxFuture<'_, ()> {
        async move { Member::receive(self, &from, header, stream).await }.boxed()
    }

    fn broken(&self) -> watch::Receiver<Option<String>> {
        Member::broken(self)
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Member::stop(self).boxed()
    }
}

fn group_error(error: impl ToString) -> GroupError {
    GroupError(error.to_string())
}
