//! This node's part in the Raft group of its set, over the log of the store.

mod peers; // how this node calls the others
mod standing; // who leads, as this node knows it

pub use peers::{Lane, PeerError, PeerStream, Peers};
pub use standing::{ClusterStatus, MemberInfo, MemberRole, MemberStatus, Standing};
