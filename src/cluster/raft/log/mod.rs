//! The log of a member as Raft sees it. One thread writes it: everything that has gathered goes to the disk before one
//! sync, and is then reported in order. Recent entries stay in memory, so that a live follower never makes this node
//! read its disk.

mod durability; // waits for what is durable
mod entries; // reads of entries
mod shared; // what the log's thread and its users share
mod state; // what is known of the log
mod storage; // Raft's view of it
mod writer; // what the log's thread does

pub(super) use durability::Durability;
pub(super) use state::weight;
pub(super) use storage::LogStore;
