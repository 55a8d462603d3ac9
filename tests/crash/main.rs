//! What survives a crash: every failure point of a store in memory, under a broker in this process.

mod every_failure;
