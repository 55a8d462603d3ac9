//! The life of a node in its set: how the set is formed, who belongs to it, what the node runs, and what it knows of the
//! others.

mod asking; // what other nodes say of themselves
mod bridge; // the Raft group's calls over the links
mod error;
mod facts; // what nodes tell each other
mod forming; // how a new set is formed
mod group; // what a node needs of the Raft group
mod kinds; // kinds of calls
mod membership; // which changes of members are permitted
mod overview; // the set as operators see it
mod requests; // what others ask of this node
pub mod roles; // what a node does next
mod running; // starts and stops this node's part
mod set_node; // this node in its set

pub use error::SetError;
pub use facts::{Facts, Holds};
pub use group::{Group, GroupError};
pub use overview::{Contact, MemberOverview, Overview};
pub use running::{Beginning, RunningSet, SetOptions};
pub use set_node::{Current, Node, SetNode};
