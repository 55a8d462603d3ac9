//! Builds and publishes dead letters.

pub(super) mod letter; // a dead letter
pub(super) mod line; // queues that wait to publish theirs
mod publish; // the publication, in steps
