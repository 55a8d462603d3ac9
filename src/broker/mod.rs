//! What the broker does, whatever the protocol: virtual hosts, exchanges, queues, users and their rights.
//! Knows no channel numbers, reply codes or sockets.

pub mod alarms; // memory and disk: when publishers must wait
#[expect(
    clippy::module_inception,
    reason = "the room is named after what it holds"
)]
pub mod broker; // virtual hosts, users, and what they share
pub mod connections; // who is connected, for operators
pub mod definitions; // the one door for every change of what clients and operators declare
pub mod error; // why something is refused
pub mod exchange; // exchanges and what is bound to them, per type
mod hashing; // whose turn it is to have a password hashed
pub mod limits; // limits per user and virtual host
mod logins; // verified logins, remembered for a minute
pub mod password; // password hashes
pub mod permissions; // patterns per user and virtual host
pub mod queue; // queues: the state machine and its shell
pub mod routing; // from an exchange to queues
pub mod secrets; // keys that sign requests over HTTP
pub mod session; // what one connection may do
mod timekeeper; // the broker's time line over a restart
pub mod users; // users and what they may do
pub mod vhost; // exchanges, queues and bindings of a virtual host, and every change of them
pub mod vhosts; // which virtual hosts there are
