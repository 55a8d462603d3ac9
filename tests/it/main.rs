//! Integration tests: real brokers, real sockets. One module per subject.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails panics, and its helpers with it"
)]

mod access; // rights that change, limits of users
mod backlog; // more messages than memory
mod cmq; // CMQ's HTTP API
mod config; // options and who reads them
mod confirms; // publisher confirms, returns, what a queue refuses
mod connection; // opening, keeping and ending connections and channels
mod consuming; // deliveries, acknowledgements, the end of consumers
mod ctl; // leveret ctl against a running broker
mod damage; // a disk that does not give back all that was written
mod delay; // delayed messages
mod doors; // floods of connections, and who makes room for whom
mod ends; // which side closes the socket, when, and how
mod failover; // who gets what others had when they end
mod frozen; // data directories that earlier builds wrote
mod hostile; // peers that send anything
mod leases; // messages that somebody has, and for how long
mod letters; // dead letters, and what waits for its time
mod limits; // bounds, at and past them
mod overrides; // what is said of a queue after it was declared
mod process; // the binary as a process
mod reply_to; // direct reply-to
mod rewind; // acked messages that are read again
mod streams; // queues that are read and left as they are
mod support; // a broker of one's own, and a raw peer
mod time; // a wall clock that is set
mod transactions; // all or nothing
