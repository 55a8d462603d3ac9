//! A connection to a broker as its client: connect, log in, call methods, and exchange frames. Keeps heartbeats. Knows no
//! rule of moving messages; `relay` and `pump` do.

mod calls; // methods with a reply
mod error;
mod frames; // frames in both directions
mod handshake;
mod socket;

pub use calls::{Consume, QueueToDeclare};
pub use error::LinkError;
pub use frames::{Link, Reading};
pub use handshake::{Client, open};
pub use socket::{Duplex, LocalDoor, Socket};

/// The channel that carries messages.
pub const CHANNEL: u16 = 1;
