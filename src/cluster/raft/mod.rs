//! This node's part in the Raft group of its set, over the log of the store.

mod appends; // appends to one member, several under way together
mod awake; // whether the machine was asleep
mod hurt; // what a member knows of damage of its own files
mod log; // the log of the store as Raft's, with its thread
mod machine; // the database as Raft's state machine
mod member; // this node's part, as the node uses it
mod message; // messages between members as bytes, pure
mod network; // Raft's calls to the others
mod origin; // who asks this node
mod peers; // how this node calls the others
mod proposer; // proposes the changes of one leadership
mod purge; // up to where the log is purged, pure
mod records; // what the store has of entries and members
mod replicated; // the store on which the leader runs the broker
mod runtime; // tasks, time and threads of the group
mod sending; // the snapshots that are being sent
mod set_id; // the id of the set
mod snapshot_stream; // a snapshot on its way to another member
mod standing; // who leads, as this node knows it
mod succession; // a follower takes over from a leader that is gone
mod tracker; // how far proposals are
mod types; // Raft's types and the store's
mod unanswered; // tells that a member cannot be called
mod wire; // what members tell each other, as JSON

pub use member::{Led, Member, MemberError, MemberOptions, NotLeading};
pub use origin::Origin;
pub use peers::{Lane, PeerError, PeerStream, Peers};
pub use standing::{ClusterStatus, Leadership, MemberInfo, MemberRole, MemberStatus, Standing};

#[cfg(test)]
mod frozen_tests;
#[cfg(test)]
mod tests;
