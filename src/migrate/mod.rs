//! `leveret migrate`: copies the definitions of another broker, moves the messages of its queues, and reports whether the
//! counts agree. Works in both directions between RabbitMQ and Leveret. A message is acked at the source when the target
//! has confirmed it, so the source's queue itself says what is left, and a second run continues.

mod carry; // how one message is published at the target
mod definitions; // what is copied, and what is left out
mod error;
mod inventory; // the queues of the source
mod limits;
mod management; // the HTTP API of both brokers
mod mover; // one queue from link to link
mod options;
mod report; // whether the counts agree
mod run;
mod show; // progress
mod state; // the state file
mod streams; // offsets of streams
mod tallies; // what a broker has of the queues
mod workers; // all queues, a few at a time

pub use options::{Options, OptionsError, command};
pub use run::run;
