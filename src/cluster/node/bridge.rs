//! Carries the calls of the Raft group over the links.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};

use crate::cluster::link::{self, LinkError, Links, Peer};
use crate::cluster::raft::{Lane, MemberInfo, PeerError, PeerStream, Peers};

/// The links as the Raft group uses them.
pub(super) struct Bridge(pub(super) Arc<Links>);

impl Peers for Bridge {
    fn call(
        &self,
        to: &MemberInfo,
        lane: Lane,
        kind: u8,
        request: Vec<Bytes>,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let (links, peer) = (Arc::clone(&self.0), peer(to));
        let lane = match lane {
            Lane::Raft => link::Lane::Raft,
            Lane::Control => link::Lane::Control,
        };
        async move {
            let answer = links.call(&peer, lane, kind, request, within).await;
            answer.map_err(peer_error)
        }
        .boxed()
    }

    fn is_gone(&self, member: &MemberInfo) -> BoxFuture<'static, bool> {
        let (links, member) = (Arc::clone(&self.0), member.clone());
        async move { links.is_gone(member.id, &member.address).await }.boxed()
    }

    fn open(
        &self,
        to: &MemberInfo,
        kind: u8,
        header: Bytes,
    ) -> BoxFuture<'static, Result<Box<dyn PeerStream>, PeerError>> {
        let (links, peer) = (Arc::clone(&self.0), peer(to));
        async move {
            let stream = links.open(&peer, kind, header).await.map_err(peer_error)?;
            Ok(Box::new(stream) as Box<dyn PeerStream>)
        }
        .boxed()
    }
}

/// A member as the links call it.
pub(super) fn peer(member: &MemberInfo) -> Peer {
    Peer {
        node: Some(member.id),
        address: member.address.clone(),
    }
}

fn peer_error(error: LinkError) -> PeerError {
    match error {
        LinkError::TimedOut => PeerError::TimedOut,
        LinkError::Failed(_) | LinkError::TooLarge { .. } => PeerError::Refused(error.to_string()),
        LinkError::Unreachable { .. }
        | LinkError::Refused { .. }
        | LinkError::Stranger { .. }
        | LinkError::AnotherNode { .. }
        | LinkError::Cut
        | LinkError::TooManyNodes => PeerError::Unreachable(error.to_string()),
    }
}
