//! What survives a crash: every failure point of a store in memory under a broker in this process, and the real
//! process killed under load, and with a full disk.

mod client;
mod every_failure;
mod full_disk;
mod held;
mod killed;
mod ledger;
mod power;
mod process;
mod rewinds;
mod streams;
