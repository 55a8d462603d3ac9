//! The actions of the API: one handler each, in files by noun. A handler reads its parameters, checks the caller's
//! permissions, asks the broker, and fills the response.

mod bodies; // the bodies of messages in a request
mod dead_letter_policy; // rules of dead letter policies
mod listing; // pages of listings
mod names; // names and public ids
mod subscription_parameters; // what a request says of a subscription

pub(super) mod dead_letter; // unbind and list dead letter queues
pub(super) mod delete; // delete messages by receipt handle
pub(super) mod publish; // publish messages to topics
pub(super) mod queue; // create, list, clear, rewind, delete queues
pub(super) mod queue_attributes; // get and set attributes of queues
pub(super) mod receive; // receive messages, and wait for them
pub(super) mod send; // send messages
pub(super) mod subscribe; // subscribe to topics
pub(super) mod subscription; // list, change, end subscriptions
pub(super) mod topic; // create, list, change, delete topics
