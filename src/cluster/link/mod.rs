//! Connections between the nodes of a set: calls with answers, and streams. Each begins with a mutual proof that both
//! sides belong together. Knows nothing of what it carries.

mod accepted; // connections that others have opened
mod callers; // which nodes have lanes to this one
mod dial; // connects to others
mod error; // why a call fails
mod frame; // frames after the handshake
mod handshake; // the handshake of either side
mod hello; // the messages of the handshake
mod lane; // this node's connection to another on one lane
mod limits; // limits of the links
mod links; // all links of this node
mod refused; // why a node is refused, and how often that is logged
mod service; // what a node does with the requests of others
mod stream; // a connection after its handshake
#[cfg(test)]
mod tests;
mod trust; // what proves that a node belongs to the set

pub use error::LinkError;
pub use limits::FRAME_MAX;
pub use links::{Identity, Links, Peer};
pub use refused::Refused;
pub use service::{Answering, Caller, Lane, Refusal, Service};
pub use stream::LinkStream;
pub use trust::{NoTrust, Secret, Trust};
