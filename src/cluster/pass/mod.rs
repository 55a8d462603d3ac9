//! Clients may connect to any node: one that does not lead passes their bytes on to the leader, over a stream of the
//! links, and passes the answers back. On the leader such a client is a connection of the front door like any other.
//! Knows the front doors by name only; what they say to a client without a leader comes from outside (`Courtesy`).

mod courtesy; // what a front door says to a client that no leader serves
mod header; // what the leader learns of a passed client
mod passage; // the leader's end
mod passing; // the other nodes' end
mod splice; // bytes in both directions
#[cfg(test)]
mod tests;

pub use courtesy::{Courtesy, Hearing};
pub use header::{Door, PASSED_CLIENT};
pub use passage::Passage;
pub use passing::{DoorLimits, Passing};
