//! CMQ's HTTP API over real sockets, with a client of its own.

mod access; // signatures, clocks, rights
mod client; // a small client of the API
mod dead_letters; // dead letter policies
mod endpoint; // an HTTP endpoint that messages are pushed to
mod pushing; // messages to HTTP endpoints
mod queues; // queues and their attributes
mod receiving; // messages on their way out
mod sending; // messages on their way in
mod topics; // topics and subscriptions

pub(crate) use client::Refusal;
use client::{Client, secret};

use crate::support::TestServer;

/// The parameter that names the queue of most tests.
const Q: (&str, &str) = ("queueName", "q");

/// A broker with the queue [`Q`], and a client.
async fn start_with_queue() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[Q]).await;
    (server, client)
}

/// A client with all permissions.
pub(crate) async fn client(server: &TestServer) -> Client {
    let key = secret(server.broker.users(), "guest", "/").await;
    Client::connect(server.cmq, key).await
}
