//! What survives a crash: every failure point of a store in memory under a broker in this process, and the real
//! process killed under load, and with a full disk.

mod client;
#[path = "../it/cmq/client.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "as the other tests use it"
)]
mod cmq; // a client of CMQ's API
mod delayed;
#[path = "../it/cmq/endpoint.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "as the other tests use it")]
mod endpoint; // an endpoint of pushes
mod every_failure;
mod full_disk;
mod held;
mod killed;
mod ledger;
mod power;
mod process;
mod pushes;
mod rewinds;
mod streams;
