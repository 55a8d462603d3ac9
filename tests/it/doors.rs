//! Floods of connections: those that say nothing keep nobody out, and the store keeps its files.

use std::time::Duration;

use leveret::accept::Capacity;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{Client, PATIENCE, Peer, TestServer};

/// Sockets that are open and say nothing, as many as the machine lets be.
async fn silent(address: std::net::SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(TcpStream::connect(address).await.unwrap());
    }
    sockets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqp_clients_connect_whatever_says_nothing() {
    let connections = Capacity {
        known: 3,
        newcomers: 20,
    };
    let server = TestServer::start_with(|settings| settings.connections = connections).await;
    let mut before = Peer::new(&server).await;
    let mut sockets = silent(server.address, 300).await;
    // The last of them may still be within their grace.
    sleep(Duration::from_millis(150)).await;
    let mut during = timeout(PATIENCE, Peer::new(&server)).await.unwrap();
    for peer in [&mut before, &mut during] {
        peer.declare(1, "q").await;
    }
    // Those that waited longest were hung up on.
    let ended = timeout(PATIENCE, sockets[0].read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_refused_in_rabbitmqs_words() {
    let connections = Capacity {
        known: 2,
        newcomers: 8,
    };
    let server = TestServer::start_with(|settings| settings.connections = connections).await;
    let first = Peer::new(&server).await;
    let _second = Peer::new(&server).await;
    let mut third = Peer::asking(server.address, Client::default()).await;
    let text = "NOT_ALLOWED - connection refused: node connection limit (2) is reached";
    assert_eq!(third.closed().await, (530, text.to_owned()));
    drop(first);
    // The broker notices when it reads.
    let mut tries = 0;
    while !Peer::is_let_in(server.address).await {
        tries += 1;
        assert!(tries < 500, "there is a place again");
        sleep(Duration::from_millis(10)).await;
    }
}
