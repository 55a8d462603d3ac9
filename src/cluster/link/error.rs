//! Why a call or a stream to another node fails.

use super::refused::Refused;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No connection, now or a moment ago.
    #[error("{address} cannot be reached: {why}")]
    Unreachable { address: String, why: String },
    /// The other node refuses this one.
    #[error("{address} refuses this node: {why}")]
    Refused { address: String, why: Refused },
    /// This node cannot speak with what answers there.
    #[error("{address} is no node of this set: {why}")]
    Stranger { address: String, why: String },
    /// Another node answers at the address.
    #[error("{address} is the node {found:016x}, not {expected:016x}")]
    AnotherNode {
        address: String,
        expected: u64,
        found: u64,
    },
    /// The service there has no answer.
    #[error("{0}")]
    Failed(String),
    /// No answer in time. The other node may have done what was asked.
    #[error("no answer in time")]
    TimedOut,
    /// The connection ended before the answer. The other node may have done what was asked.
    #[error("the connection ended before the answer")]
    Cut,
    #[error("a request of {bytes} bytes is too large")]
    TooLarge { bytes: usize },
    #[error("too many nodes are called")]
    TooManyNodes,
}
