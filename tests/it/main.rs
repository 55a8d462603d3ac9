//! Integration tests: real brokers, real sockets. One module per subject.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails panics, and its helpers with it"
)]

mod config; // options and who reads them
mod ctl; // leveret ctl against a running broker
mod process; // the binary as a process
