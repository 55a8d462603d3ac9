//! Tests of what survives a crash. Some cut the power of a store in memory at every commit and sync of a broker in this
//! process; others kill the real process under load, or fill its disk.

mod client;
#[path = "../it/cmq/client.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "as the other tests use it"
)]
mod cmq; // a client of CMQ's API
mod confirms_and_acks;
mod delayed;
#[path = "../it/cmq/endpoint.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "as the other tests use it")]
mod endpoint; // an HTTP endpoint for pushes
mod full_disk;
mod moves;
mod oracle; // what clients know, to compare with what the broker has
mod power_loss; // a broker on a store that loses power
mod process;
mod process_killed;
mod pushes;
mod receipt_handles;
mod rewinds;
#[path = "../it/support/socketless.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "as the other tests use it")]
mod socketless; // a broker without sockets
mod streams;
