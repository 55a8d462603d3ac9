//! Moving to this broker: restored messages, and `leveret migrate` between two brokers.

mod between_brokers;
mod restore;
