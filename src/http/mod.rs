//! Serves a router of HTTP requests on accepted connections. Bounds what a client may take of time and memory; knows
//! no path and no user.

mod connection; // one connection, one request after the other
mod limits; // fixed bounds
mod patient_socket; // gives up on a client that reads too slowly
mod peer; // the client, as handlers see it

pub use connection::serve;
pub use peer::Peer;
