//! A *set*: several nodes that hold the whole broker, so that a majority of them has on disk what was confirmed. One
//! of them leads and runs the broker; the others follow, and one of them takes over.

#[cfg(test)]
mod frozen; // encodings as release 1 has them
pub mod link; // connections between the nodes
pub mod node; // the life of this node in its set
pub mod pass; // clients of the nodes that do not lead
pub mod raft; // this node's part in the set's Raft group
