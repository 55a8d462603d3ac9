//! Topics and subscriptions as the API knows them. What a topic does with a message, its exchange does; a subscription
//! is bindings to a queue. Clients may delete both over AMQP: a topic exists as long as an exchange carries its id, a
//! subscription as long as the queue of its id exists.

mod registry; // all topics, as the API asks for them
mod subscription;
mod table; // all topics in memory, and their records
mod topic;
mod upkeep; // what was deleted over AMQP, and what a crash cut short

pub(crate) use registry::{Subscribed, Topics};
pub(crate) use subscription::{Endpoint, Format, Strategy, Subscription};
pub(crate) use topic::{PUSH_QUEUE, Topic, TopicId, exchange_arguments};
