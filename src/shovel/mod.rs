//! Moves messages from broker to broker over AMQP 0-9-1: this side is the client of both. `link` is one connection,
//! `pump` moves messages from one link to another and acks them at the source when the destination has them.

pub mod in_flight; // which messages may be acked at the source, pure
pub mod link; // a connection to a broker
pub mod progress; // numbers that others read while a pump runs
pub mod pump; // from link to link
mod relay; // contents on their way through, pure
