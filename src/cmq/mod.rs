//! The front door for clients of Tencent's CMQ: its HTTP API 2.0 on the broker's own queues. Knows HTTP, signatures,
//! parameters and answers; what a queue does with a message is the broker's.

mod actions; // one handler per action, in files by noun
mod answer; // JSON answers
mod attributes; // attributes of queues
mod caller; // who calls, and what it may
mod dispatch; // from an action's name to its handler
pub mod error; // the table of errors
mod filter; // tags and binding keys
mod front; // listeners and what they share
mod http; // one connection, one request
mod limits; // bounds
mod names; // names that rest
mod push; // messages to HTTP endpoints
mod quotas; // requests a second
mod replay; // requests that were seen
mod request; // parameters
mod room; // room for large requests
mod sequence; // numbers that are never given twice
mod signature; // what is signed, and by whom
mod spelling; // names in other letters
mod topics; // topics and subscriptions
mod written; // what happens once an answer has left

pub use front::Front;
pub use limits::CmqConfig;
pub use push::PushConfig;
