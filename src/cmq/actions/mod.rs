//! What the actions of the API do: one handler each, in files by noun. A handler reads its parameters, checks the
//! caller's rights, asks the broker, and fills the answer.

pub(super) mod message; // send, receive, delete
pub(super) mod queue; // create, list, change, delete
