//! Connections and channels: errors that end them, heartbeats, and what operators see and close.

use std::time::{Duration, Instant};

use leveret::wire::HEARTBEAT;

use crate::support::reply_code::{CONNECTION_FORCED, NOT_FOUND};
use crate::support::{Client, Event, PATIENCE, Peer, TestServer, eventually, eventually_eq};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_error_closes_the_channel_and_leaves_the_connection_open() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.open(2).await;
    peer.declare(2, "q").await;
    peer.publish_to(1, "nowhere", "k", &[], "no such exchange")
        .await;
    // The broker ignores the channel until the client has answered its close.
    peer.publish(1, "q", b"ignored").await;
    assert_eq!(
        peer.closed().await,
        (
            NOT_FOUND,
            "NOT_FOUND - no exchange 'nowhere' in vhost '/'".to_owned()
        )
    );
    peer.open(1).await;
    assert_eq!(peer.declare(2, "q").await.message_count, 0);
    peer.publish(1, "q", b"accepted").await;
    eventually_eq("the message is there", (1, 0, 0), || server.numbers("q")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_and_close_connections() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"m").await;
    peer.get(1, "q").await.unwrap();
    let connection = server.broker.connections().list().pop().unwrap();
    assert!(connection.info.name().starts_with("127.0.0.1:"));
    eventually("the status is up to date", || {
        let status = connection.status();
        status.channels.len() == 1
            && status.channels[0].unacknowledged == 1
            && status.received_bytes > 100
    })
    .await;
    connection.close("Closed via management plugin");
    assert_eq!(
        peer.closed().await,
        (
            CONNECTION_FORCED,
            "CONNECTION_FORCED - Closed via management plugin".to_owned()
        )
    );
    eventually_eq("the message is back", (1, 0, 0), || server.numbers("q")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_messages_of_an_idle_client_that_leaves_are_requeued() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"m").await;
    peer.get(1, "q").await.unwrap();
    let connection = server.broker.connections().list().pop().unwrap();
    // Only the end of the stream can wake the connection's task after this.
    eventually("the status is up to date", || {
        let status = connection.status();
        status
            .channels
            .iter()
            .any(|channel| channel.unacknowledged == 1)
    })
    .await;
    drop(peer);
    eventually_eq("the message is back", (1, 0, 0), || server.numbers("q")).await;
    eventually("the connection is gone", || {
        server.broker.connections().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_heartbeats_loses_its_connection_while_the_broker_sends_them() {
    let server = TestServer::start().await;
    let mut peer = Peer::connect(
        server.address,
        Client {
            heartbeat: 1,
            ..Client::default()
        },
    )
    .await;
    let silent_since = Instant::now();
    // The broker sends two heartbeats a second, and gives the client two to three intervals.
    let mut beats = 0;
    while peer.next().await == Event::Heartbeat {
        beats += 1;
    }
    assert!(beats >= 2, "{beats} heartbeats");
    let after = silent_since.elapsed();
    assert!(after >= Duration::from_millis(1_900), "{after:?}");
    assert!(after < PATIENCE / 2, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_gets_a_heartbeat_every_half_interval() {
    let server = TestServer::start().await;
    let client = Client {
        heartbeat: 1,
        ..Client::default()
    };
    let mut peer = Peer::connect(server.address, client).await;
    let mut last = Instant::now();
    for _ in 0..6 {
        assert_eq!(peer.next().await, Event::Heartbeat);
        peer.raw(&HEARTBEAT).await;
        let interval = last.elapsed();
        assert!(interval < Duration::from_millis(950), "{interval:?}");
        last = Instant::now();
    }
}
