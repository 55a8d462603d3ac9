//! Limits of a connection, each at its last allowed value and one past it.

use std::time::Duration;

use leveret::wire::protocol::channel;
use leveret::wire::{AMQPClass, FRAME_OVERHEAD, FrameKind};

use crate::support::reply_code::{FRAME_ERROR, NOT_ALLOWED, PRECONDITION_FAILED};
use crate::support::{Client, Peer, Publish, TestServer, eventually_eq};

/// The smallest frame size that a client may choose. As in RabbitMQ, payloads may have all of it.
const FRAME_MAX: usize = 4_096;
const MIB: usize = 1024 * 1024;

async fn with_small_frames(server: &TestServer) -> Peer {
    let client = Client {
        frame_max: u32::try_from(FRAME_MAX).unwrap(),
        ..Client::default()
    };
    let mut peer = Peer::connect(server.address, client).await;
    peer.open(1).await;
    peer.declare(1, "q").await;
    peer
}

/// Publishes a message whose body is one frame of any length.
async fn publish_in_one_frame(peer: &mut Peer, length: usize) {
    let body = vec![7; length];
    let mut bytes = peer.frames(1, &Publish::to_queue("q", &body));
    let body_frames = length.div_ceil(FRAME_MAX - FRAME_OVERHEAD);
    bytes.truncate(bytes.len() - length - FRAME_OVERHEAD * body_frames);
    peer.raw(&bytes).await;
    peer.frame(FrameKind::Body, 1, &body).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_may_be_as_long_as_frame_max_and_no_longer() {
    let server = TestServer::start().await;
    let mut peer = with_small_frames(&server).await;
    publish_in_one_frame(&mut peer, FRAME_MAX).await;
    eventually_eq("the longest frame is accepted", 1, || server.ready("q")).await;
    let content = peer.get_no_ack(1, "q").await.unwrap();
    assert_eq!(content.body.len(), FRAME_MAX);
    publish_in_one_frame(&mut peer, FRAME_MAX + 1).await;
    let (code, text) = peer.closed().await;
    assert_eq!(code, FRAME_ERROR, "{text}");
    assert!(text.contains("type 3"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_is_too_long_is_refused_before_its_payload_has_come() {
    /// As much of the payload as RabbitMQ quotes in its error.
    const QUOTED: [u8; 16] = [7; 16];
    for announced in [u32::try_from(FRAME_MAX).unwrap() + 1, u32::MAX] {
        let server = TestServer::start().await;
        let mut peer = with_small_frames(&server).await;
        let mut bytes = vec![3, 0, 1]; // a body on channel 1
        bytes.extend_from_slice(&announced.to_be_bytes());
        bytes.extend_from_slice(&QUOTED);
        peer.raw(&bytes).await;
        assert_eq!(peer.closed().await.0, FRAME_ERROR, "{announced}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_may_open_as_many_channels_as_channel_max_whatever_their_numbers() {
    let server = TestServer::start().await;
    let mut peer = Peer::connect(
        server.address,
        Client {
            channel_max: 2,
            ..Client::default()
        },
    )
    .await;
    peer.open(1).await;
    peer.open(40_000).await;
    peer.send(
        3,
        AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})),
    )
    .await;
    let text =
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)";
    assert_eq!(peer.closed().await, (NOT_ALLOWED, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_be_as_large_as_the_maximum_and_no_larger() {
    let server = TestServer::start_with(|settings| settings.message_bytes_max = 10).await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"0123456789").await;
    eventually_eq("ten bytes are accepted", 1, || server.ready("q")).await;
    peer.publish(1, "q", b"0123456789a").await;
    let text = "PRECONDITION_FAILED - message size 11 is larger than configured max size 10";
    assert_eq!(peer.closed().await, (PRECONDITION_FAILED, text.to_owned()));
}

/// What the operating system buffers comes on top of the broker's limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_with_many_unfinished_messages_is_no_longer_read_and_others_are() {
    const CHANNELS: u16 = 12;
    const BODY: usize = 12 * MIB;
    const BROKER_LIMIT: usize = 48 * MIB;
    const SOCKET_BUFFERS_MAX: usize = 60 * MIB;
    let server = TestServer::start().await;
    let mut greedy = Peer::connect(server.address, Client::default()).await;
    for number in 1..=CHANNELS {
        greedy.open(number).await;
    }
    let body = vec![7; BODY];
    let frame_max = usize::try_from(greedy.client().frame_max).unwrap();
    let last_frame = BODY % (frame_max - FRAME_OVERHEAD) + FRAME_OVERHEAD;
    let mut sent = 0;
    for number in 1..=CHANNELS {
        let mut bytes = greedy.frames(number, &Publish::to_queue("nowhere", &body));
        bytes.truncate(bytes.len() - last_frame);
        let write = tokio::time::timeout(Duration::from_secs(5), greedy.try_raw(&bytes));
        if write.await.is_err() {
            break;
        }
        sent += BODY;
    }
    let expected = BROKER_LIMIT..=BROKER_LIMIT + SOCKET_BUFFERS_MAX;
    assert!(expected.contains(&sent), "{sent}");
    let mut other = Peer::new(&server).await;
    other.declare(1, "q").await;
    other.publish(1, "q", &vec![7; 16 * MIB]).await;
    eventually_eq("the other client is served", 1, || server.ready("q")).await;
}
