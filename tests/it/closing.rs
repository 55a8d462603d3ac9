//! How connections and channels end: which side closes the socket, when, and whether it is reset.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use leveret::wire::protocol::connection::{AMQPMethod, CloseOk};
use leveret::wire::protocol::{basic, channel, queue};
use leveret::wire::{AMQPClass, FrameKind, HEARTBEAT};

use crate::support::{
    Client, Event, PATIENCE, Peer, TestServer, declare, eventually, eventually_eq,
};

/// A client that reads nothing for this long loses its connection.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a peer may take with its part of closing.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// The broker's delay after a failed login of a client without `authentication_failure_close`.
const SILENT_CLOSE_DELAY: Duration = Duration::from_secs(3);
/// Clocks and timers may differ by this much.
const TOLERANCE: Duration = Duration::from_millis(100);

async fn with_heartbeat(server: &TestServer, heartbeat: u16) -> Peer {
    let client = Client {
        heartbeat,
        ..Client::default()
    };
    Peer::connect(server.address, client).await
}

async fn assert_reset(peer: &mut Peer) {
    let ended = peer.ended().await.map_err(|error| error.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
}

/// A client that saw the end of the stream together with `close-ok` could believe that its connection was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_close_ok_the_broker_waits_for_the_client_to_close_the_socket() {
    let server = TestServer::start().await;
    // The broker waits for the length of the heartbeat and answers each further close.
    let mut waiting = with_heartbeat(&server, 2).await;
    let began = Instant::now();
    for _ in 0..2 {
        waiting.close_connection().await;
    }
    assert_reset(&mut waiting).await;
    assert!(began.elapsed() + TOLERANCE > Duration::from_secs(2));
    // The end of the client's stream ends the wait, and so does its own `close-ok`.
    let mut leaving = with_heartbeat(&server, 0).await;
    leaving.close_connection().await;
    leaving.stop_sending().await;
    assert_reset(&mut leaving).await;
    let mut answering = with_heartbeat(&server, 0).await;
    answering.close_connection().await;
    answering
        .send(0, AMQPClass::Connection(AMQPMethod::CloseOk(CloseOk {})))
        .await;
    assert_reset(&mut answering).await;
    assert!(server.broker.connections().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_closed_its_connection_does_not_delay_a_shutdown() {
    let server = TestServer::start().await;
    let mut peer = with_heartbeat(&server, 0).await;
    peer.close_connection().await;
    server.broker.connections().close_where("enough", |_| true);
    assert_reset(&mut peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_method_resets_the_socket() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.frame(FrameKind::Method, 1, &[0, 99, 0, 99]).await;
    assert_reset(&mut peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_login_without_the_capability_resets_the_socket_after_a_delay() {
    let server = TestServer::start().await;
    let client = Client {
        capabilities: false,
        ..Client::default()
    };
    let began = Instant::now();
    let mut peer = Peer::log_in(server.address, client.clone(), "guest", "wrong").await;
    assert_reset(&mut peer).await;
    assert!(began.elapsed() + TOLERANCE > SILENT_CLOSE_DELAY);
    // The end of the client's stream ends the delay.
    let began = Instant::now();
    let mut peer = Peer::log_in(server.address, client, "guest", "wrong").await;
    peer.stop_sending().await;
    assert_reset(&mut peer).await;
    assert!(began.elapsed() + TOLERANCE < SILENT_CLOSE_DELAY);
}

/// Heartbeats show that the client lives, but not that it reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_loses_its_connection_and_its_messages_are_requeued() {
    const MESSAGES: u64 = 64;
    let server = TestServer::start().await;
    let mut publisher = Peer::new(&server).await;
    publisher.declare(1, "q").await;
    let body = vec![7; 1024 * 1024];
    for _ in 0..MESSAGES {
        publisher.publish(1, "q", &body).await;
    }
    eventually_eq("all are there", MESSAGES, || server.ready("q")).await;
    let mut stuck = with_heartbeat(&server, 10).await;
    stuck.open(1).await;
    let consume = basic::Consume {
        queue: "q".into(),
        consumer_tag: "".into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: true,
        arguments: Default::default(),
    };
    stuck.basic(1, basic::AMQPMethod::Consume(consume)).await;
    eventually("some are delivered", || server.unacked("q") > 0).await;
    let began = Instant::now();
    while server.broker.connections().len() == 2 {
        assert!(
            began.elapsed() < SEND_TIMEOUT + PATIENCE,
            "still connected after {:?}",
            began.elapsed()
        );
        stuck.try_raw(&HEARTBEAT).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let after = began.elapsed();
    assert!(after > SEND_TIMEOUT - Duration::from_secs(5), "{after:?}");
    eventually_eq("all are requeued", MESSAGES, || server.ready("q")).await;
    assert_reset(&mut stuck).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_finish_closing_is_given_up_after_a_timeout() {
    let server = TestServer::start().await;
    // This one does not answer the broker's close.
    let mut silent = Peer::new(&server).await;
    let began = Instant::now();
    server.broker.connections().close_where("enough", |_| true);
    let (_, close) = silent.method().await;
    assert!(
        matches!(close, AMQPClass::Connection(AMQPMethod::Close(_))),
        "{close:?}"
    );
    // This one has closed its connection and keeps the socket open.
    let mut lingering = Peer::new(&server).await;
    lingering.close_connection().await;
    let deadline = began + CLOSE_TIMEOUT + PATIENCE;
    while server.broker.connections().len() == 2 {
        assert!(Instant::now() < deadline, "both are still connected");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = began.elapsed();
    assert!(after > CLOSE_TIMEOUT - Duration::from_secs(1), "{after:?}");
    eventually("both are gone", || server.broker.connections().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exclusive_queues_are_gone_before_close_ok() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let exclusive = queue::Declare {
        exclusive: true,
        ..declare("mine")
    };
    peer.declare_as(1, exclusive).await;
    assert!(server.counts("mine").is_some());
    peer.close_connection().await;
    assert!(server.counts("mine").is_none());
    assert_eq!(peer.next().await, Event::End);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_both_sides_close_together_can_be_opened_again() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.ack(1, 7).await; // no such tag: the broker closes the channel
    peer.close_channel(1).await;
    let (_, close) = peer.method().await;
    assert!(
        matches!(close, AMQPClass::Channel(channel::AMQPMethod::Close(_))),
        "{close:?}"
    );
    let (_, close_ok) = peer.method().await;
    assert!(
        matches!(
            close_ok,
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))
        ),
        "{close_ok:?}"
    );
    peer.send_channel_close_ok(1).await;
    peer.open(1).await;
    peer.expect_nothing(1).await;
}
