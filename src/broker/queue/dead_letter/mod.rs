//! Dead letters: how they look, and how they are published.

pub(super) mod letter; // a dead letter
pub(super) mod line; // queues that wait for their turn
mod publish; // the publication, in steps
