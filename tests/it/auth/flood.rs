//! Thousands of clients that log in together, at a broker that knows none of them yet.

use std::net::SocketAddr;

use leveret::amqp::Settings;
use leveret::net::Capacity;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{Client, PATIENCE, Peer, TestServer};

/// More than there are places for different logins.
const CLIENTS: usize = 5_000;

fn roomy(settings: &mut Settings) {
    settings.connections = Capacity {
        authenticated: CLIENTS,
        // One address may take half of them.
        newcomers: 2 * CLIENTS,
    };
    settings.handshake_timeout = PATIENCE;
}

async fn logs_in(address: SocketAddr) -> Peer {
    Peer::connect(address, Client::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_clients_with_one_password_log_in_together() {
    let server = TestServer::start_with(roomy).await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(logs_in(server.address));
    }
    let peers = timeout(PATIENCE, clients.join_all()).await.unwrap();
    assert_eq!(peers.len(), CLIENTS);
}
