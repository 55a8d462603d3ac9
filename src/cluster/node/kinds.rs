//! The kinds of calls and streams between nodes. A kind keeps its meaning in all releases.

/// Kinds below are those of the Raft group.
pub(super) const RAFT_BELOW: u8 = 16;
/// What a node says of itself. The request is empty.
pub(super) const FACTS: u8 = 16;
/// A node asks the leader to become a member. The request is a `Candidate` in JSON.
pub(super) const JOIN: u8 = 17;
/// The leader removes a member. The request is its name.
pub(super) const FORGET: u8 = 18;
/// The leader hands over. The request is the name of its successor, or empty.
pub(super) const TRANSFER: u8 = 19;
