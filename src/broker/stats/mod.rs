//! Statistics: what the broker counts, and the rates that follow from it.

mod message_stats; // the counters of messages

pub use message_stats::MessageStats;
