//! Dead letters: how they look, and how they are published.

pub(super) mod letter; // a dead letter
pub(super) mod line;
mod publish; // the publication, in steps // queues that wait for their turn
