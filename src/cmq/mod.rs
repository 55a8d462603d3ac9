//! The front door for clients of Tencent's CMQ: its HTTP API 2.0 on the broker's own queues. Knows HTTP, signatures,
//! parameters and responses; what a queue does with a message is the broker's.
//!
//! A request walks from `front` through `connection`, `parameters`, `authentication` and `dispatch` to its handler in
//! `actions`, which fills a `response`.

mod action; // names of actions
mod actions; // one handler per action, in files by noun
mod api; // what all requests and push workers share
mod attributes; // attributes of queues
mod authentication; // from a signed request to its caller
mod body_budget; // memory for the bodies of large requests
mod call; // an authenticated request, as its handler sees it
mod config; // options
mod connection; // one connection, one request after the other
mod directory; // what operators see of topics and queues
mod dispatch; // from an action to its handler
pub mod error; // the table of errors
mod filter; // tags and binding keys
mod front; // listeners
mod ids; // ids that are never given twice
mod limits; // fixed bounds
mod message; // messages as the API makes and shows them
mod parameters; // the parameters of a request
mod push; // messages to HTTP endpoints
mod queue_lookup; // queues by name, whatever the case
mod rate_limits; // requests a second
mod recently_deleted; // names that may not be used again yet
mod replay; // signatures of earlier requests
mod request_body; // reads the body of a request
mod response; // the JSON of a response
mod response_body; // the JSON on its way to the socket
mod signature; // signatures of requests
mod socket; // the socket under hyper
mod topics; // topics and subscriptions
mod traces; // what the firehose copies of a request
mod turned_away; // clients of a node that cannot serve them

pub use config::CmqConfig;
pub use directory::{Directory, ServedQueueView, SubscriptionView, TopicView};
pub use front::Front;
pub use push::PushConfig;
pub use turned_away::turn_away;
