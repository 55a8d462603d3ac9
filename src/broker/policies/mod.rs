//! Policies of a virtual host: their table, and why a change of one is refused. `vhost/policies.rs` applies them to queues
//! and exchanges.

mod error; // refusals
mod table; // the policies of one virtual host

pub use error::PolicyError;
pub(in crate::broker) use table::{Change, PolicyTable};
