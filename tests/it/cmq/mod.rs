//! CMQ's HTTP API over real sockets, with a client of its own.

mod access; // signatures, clocks, rights
mod client; // a small client
mod dead_letters; // dead letter policies
mod endpoint; // an HTTP endpoint that messages are pushed to
mod pushing; // messages to HTTP endpoints
mod queues; // queues and their attributes
mod receiving; // messages on their way out
mod sending; // messages on their way in
mod topics; // topics and subscriptions

use client::{Client, secret};

pub(crate) use client::codes;

use crate::support::TestServer;

/// A client that may do everything.
pub(crate) async fn client(server: &TestServer) -> Client {
    let key = secret(server.broker.users(), "guest", "/").await;
    Client::connect(server.cmq, key).await
}
