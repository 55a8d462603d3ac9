//! The front door for clients of Tencent's CMQ: its HTTP API 2.0 on the broker's own queues. Knows HTTP, signatures,
//! parameters and responses; what a queue does with a message is the broker's.

mod actions; // one handler per action, in files by noun
mod attributes; // attributes of queues
mod authentication; // from a signed request to its caller
mod body_budget; // memory for the bodies of large requests
mod connection; // one connection, one request after the other
mod dispatch; // from an action's name to its handler
pub mod error; // the table of errors
mod filter; // tags and binding keys
mod front; // listeners and what they share
mod ids; // ids that are never given twice
mod limits; // bounds
mod parameters; // the parameters of a request
mod push; // messages to HTTP endpoints
mod queue_lookup; // queues by name, whatever the case
mod rate_limits; // requests a second
mod recently_deleted; // names that may not be used again yet
mod replay; // signatures of requests that were carried out
mod response; // the JSON of a response
mod signature; // what is signed, and by whom
mod topics; // topics and subscriptions
mod written; // what happens once a response has left

pub use front::Front;
pub use limits::CmqConfig;
pub use push::PushConfig;
