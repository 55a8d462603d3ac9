//! Pushing: posts the messages of subscriptions to their HTTP endpoints, and offers messages again that a subscribed queue
//! was too full to take. Until then they wait in queues of the broker's own.
//!
//! One worker per subscription takes them by lease, so that a message is gone only when its endpoint has it or its retries
//! are over; a restart repeats interrupted pushes. The waits between attempts are leases as well.

mod address; // which addresses are allowed
mod config; // options
mod connections; // connections to endpoints
mod request; // the request that an endpoint gets
mod resolver; // the addresses of host names
mod retry; // when to try again
mod supervisor; // one worker for each subscription
mod target; // the URL of an endpoint
mod waiting; // queues in which messages wait
mod worker; // the messages of one subscription

pub use config::PushConfig;
pub(super) use resolver::Resolver;
pub(super) use supervisor::run;
pub(super) use target::check_endpoint;
pub(super) use waiting::{keep_for, queue_of, waiting_in};
