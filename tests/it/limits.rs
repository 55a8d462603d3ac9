//! The bounds of a connection, each at its last good value and one past it.

use std::time::{Duration, Instant};

use leveret::wire::protocol::connection::{AMQPMethod, Close};
use leveret::wire::{AMQPClass, FrameKind};

use crate::support::{Client, PATIENCE, Peer, TestServer, eventually};

/// The smallest frame size that may be agreed. As RabbitMQ does, payloads may have all of it.
const FRAME_MAX: u32 = 4_096;
/// How long a peer may take with its part of closing.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

async fn with_small_frames(server: &TestServer) -> Peer {
    let client = Client {
        frame_max: FRAME_MAX,
        ..Client::default()
    };
    let mut peer = Peer::connect(server.address, client).await;
    peer.open(1).await;
    peer.declare(1, "q").await;
    peer
}

/// A publish whose body comes in one frame, whatever was agreed.
async fn publish_in_one_frame(peer: &mut Peer, length: usize) {
    let mut bytes = peer.publish_bytes(1, "q", false, false, &vec![7; length]);
    // Drops the body frames and puts one in their place.
    let frames = length.div_ceil(4_088);
    bytes.truncate(bytes.len() - length - 8 * frames);
    peer.raw(&bytes).await;
    peer.frame(FrameKind::Body, 1, &vec![7; length]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_are_as_long_as_was_agreed() {
    let server = TestServer::start().await;
    let mut peer = with_small_frames(&server).await;
    publish_in_one_frame(&mut peer, 4_096).await;
    eventually("it is taken", || server.numbers("q").0 == 1).await;
    let kept = peer.get(1, "q", true).await.unwrap();
    assert_eq!(kept.body.len(), 4_096);
    publish_in_one_frame(&mut peer, 4_097).await;
    let (code, text) = peer.closed().await;
    assert_eq!(code, 501, "{text}");
    assert!(text.contains("type 3"), "{text}");
}

/// A size that no frame has is refused before its payload is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_of_a_frame_is_looked_at_first() {
    for announced in [4_097_u32, u32::MAX] {
        let server = TestServer::start().await;
        let mut peer = with_small_frames(&server).await;
        let mut head = vec![3, 0, 1];
        head.extend_from_slice(&announced.to_be_bytes());
        // As much as RabbitMQ quotes.
        head.extend_from_slice(&[7; 16]);
        peer.raw(&head).await;
        assert_eq!(peer.closed().await.0, 501);
    }
}

/// Longer than one run, and in as many ways as are not remembered all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_and_many_routes_arrive_in_order() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.confirm_select(1).await;
    let mut bytes = Vec::new();
    let queues: Vec<String> = (0..65).map(|n| format!("q{n}")).collect();
    for queue in &queues {
        peer.declare(1, queue).await;
    }
    for round in 0..2_u32 {
        for queue in &queues {
            let body = round.to_be_bytes();
            bytes.extend_from_slice(&peer.publish_bytes(1, queue, false, false, &body));
        }
    }
    for n in 2..2_052_u32 {
        bytes.extend_from_slice(&peer.publish_bytes(1, "q0", false, false, &n.to_be_bytes()));
    }
    peer.raw(&bytes).await;
    eventually("all are there", || {
        server.numbers("q0").0 == 2_052 && server.numbers("q64").0 == 2
    })
    .await;
    let mut reader = Peer::new(&server).await;
    for queue in &queues {
        for n in 0..if queue == "q0" { 2_052_u32 } else { 2 } {
            let got = reader.get(1, queue, true).await.unwrap();
            assert_eq!(got.body, n.to_be_bytes());
        }
    }
}

/// Whether it is to answer the broker's close, or to end the connection that it has closed itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_end_its_connection_is_not_waited_for() {
    let server = TestServer::start().await;
    let mut asked = Peer::new(&server).await;
    let begun = Instant::now();
    server.broker.connections().close_where("enough", |_| true);
    assert!(matches!(
        asked.method().await,
        (0, AMQPClass::Connection(AMQPMethod::Close(_)))
    ));
    let mut asking = Peer::new(&server).await;
    let close = Close {
        reply_code: 200,
        reply_text: "bye".into(),
        class_id: 0,
        method_id: 0,
    };
    let answer = asking
        .call(0, AMQPClass::Connection(AMQPMethod::Close(close)))
        .await;
    assert!(matches!(
        answer,
        AMQPClass::Connection(AMQPMethod::CloseOk(_))
    ));
    // Both sockets stay open on this side.
    let deadline = begun + CLOSE_TIMEOUT + PATIENCE;
    while server.broker.connections().len() == 2 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() > CLOSE_TIMEOUT - Duration::from_secs(1));
    eventually("both are gone", || server.broker.connections().is_empty()).await;
}
