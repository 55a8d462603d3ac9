//! Moves messages from broker to broker over AMQP 0-9-1: this side is the client of both. `link` is one connection,
//! `pump` moves messages from one link to another and acks them at the source when the destination has them, and `shovels`
//! runs pumps as the definitions of dynamic shovels say.

pub mod in_flight; // which messages may be acked at the source, pure
pub mod link; // a connection to a broker
pub mod progress; // numbers that others read while a pump runs
mod publication; // how a shovel publishes, pure
pub mod pump; // from link to link
mod relay; // contents on their way through, pure
mod shovels; // all shovels of a broker
mod status; // what operators see
mod worker; // one shovel

pub use shovels::{Force, Shovels};
pub use status::{Ends, ShovelState, ShovelStatus};
