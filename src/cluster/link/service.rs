//! What a node does with the requests and streams of others.

use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;

use super::stream::LinkStream;

/// An answer under way.
pub type Answering = Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send>>;

/// Which calls wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The receiver begins to handle calls in order, and answers them in order.
    Raft,
    /// The receiver handles calls together.
    Control,
}

/// A node that has proven itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub node: u64,
    pub name: String,
    /// The set that it belongs to; `None` before it belongs to one.
    pub set: Option<u64>,
    /// Where it connects from.
    pub address: SocketAddr,
    /// The version of links that both speak.
    pub version: u16,
}

/// Why a service has no answer: a text for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Handles what other nodes ask of this one.
pub trait Service: Send + Sync + 'static {
    /// Answers a request. When the connection ends, the answer is dropped where it waits.
    fn call(&self, from: &Caller, kind: u8, request: Bytes) -> Answering;

    /// The last lane of a node has ended.
    fn left(&self, from: &Caller);

    /// Takes a connection of its own, in a task of its own. Dropping the stream closes it.
    fn stream(&self, from: &Caller, kind: u8, header: Bytes, stream: LinkStream);
}
