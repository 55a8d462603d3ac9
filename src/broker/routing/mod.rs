//! The routing state of one virtual host: its exchanges, queues and bindings. Pure: queues are handles of any kind;
//! nothing is locked, stored or checked for permissions. `walk` goes from an exchange to the queues of a message.

mod removal; // bindings and exchanges that a removal removes, too
mod state; // exchanges, queues and bindings
#[cfg(test)]
mod tests;
mod walk; // the search for the queues of a message

pub use removal::Removal;
pub use state::{DelayedRoute, Routed, Routing, STEPS_AT_ONCE};
pub(super) use walk::{Progress, Walk};
