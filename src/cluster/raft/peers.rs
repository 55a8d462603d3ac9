//! How this node calls the other members: bytes to a member, and bytes back. The code that starts a member
//! brings the links.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use super::MemberInfo;

/// Calls to other members.
pub trait Peers: Send + Sync + 'static {
    /// Sends a request of this kind and waits for its answer.
    fn call(
        &self,
        to: &MemberInfo,
        lane: Lane,
        kind: u8,
        request: Vec<Bytes>,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>>;

    /// Whether the process of a member is gone for certain. One that is cut off or does not answer is not.
    fn is_gone(&self, _member: &MemberInfo) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(false))
    }

    /// Opens a connection of its own for much data.
    fn open(
        &self,
        to: &MemberInfo,
        kind: u8,
        header: Bytes,
    ) -> BoxFuture<'static, Result<Box<dyn PeerStream>, PeerError>>;
}

/// A connection of its own.
pub trait PeerStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> PeerStream for T {}

/// Which calls wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The receiver begins to handle them in order, and answers them in order.
    Raft,
    /// The receiver handles them together.
    Control,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("unreachable: {0}")]
    Unreachable(String),
    #[error("no answer in time")]
    TimedOut,
    #[error("refused: {0}")]
    Refused(String),
}
