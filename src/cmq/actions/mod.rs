//! What the actions of the API do: one handler each, in files by noun. A handler reads its parameters, checks the
//! caller's rights, asks the broker, and fills the answer.

pub(super) mod dead_letter; // who is whose dead letter queue
pub(super) mod delete; // delete messages by handle
pub(super) mod publish; // messages to topics
pub(super) mod queue; // create, list, change, delete queues
pub(super) mod receive; // receive messages, and wait for them
pub(super) mod send; // send messages
pub(super) mod subscription; // subscribe, list, change, unsubscribe
pub(super) mod topic; // create, list, change, delete topics
