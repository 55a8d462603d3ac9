//! Opening, keeping and ending connections and channels, and what a peer is told that breaks the rules.

use std::time::Instant;

use leveret::wire::protocol::{basic, channel, connection, queue};
use leveret::wire::{AMQPClass, FieldTable, FrameKind};

use crate::support::{Client, Event, PATIENCE, Peer, TestServer, eventually};

/// Payload of a publish to the default exchange with an empty key.
const PUBLISH: &[u8] = &[0, 60, 0, 40, 0, 0, 0, 0, 0];
/// Frames by kind, channel and payload.
type Frames = Vec<(FrameKind, u16, Vec<u8>)>;

/// Payload of `basic.qos` with nothing limited.
const QOS: &[u8] = &[0, 60, 0, 10, 0, 0, 0, 0, 0, 0, 0];

fn header(class: u8, size: u8, properties: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, class, 0, 0, 0, 0, 0, 0, 0, 0, 0, size];
    payload.extend_from_slice(properties);
    payload
}

/// What frames on channel 1 (or another) lead to: the code and text of the close that comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_rules_are_answered_as_rabbitmq_does() {
    use FrameKind::{Body, Header, Heartbeat, Method};
    let server = TestServer::start().await;
    let cases: Vec<(&str, Frames, u16, &str)> = vec![
        (
            "method for header",
            vec![(Method, 1, PUBLISH.into()), (Method, 1, QOS.into())],
            505,
            "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ),
        (
            "body for header",
            vec![(Method, 1, PUBLISH.into()), (Body, 1, vec![1])],
            505,
            "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ),
        (
            "header of another class",
            vec![
                (Method, 1, PUBLISH.into()),
                (Header, 1, header(50, 3, &[0, 0])),
            ],
            505,
            "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
        ),
        (
            "header for body",
            vec![
                (Method, 1, PUBLISH.into()),
                (Header, 1, header(60, 3, &[0, 0])),
                (Header, 1, header(60, 3, &[0, 0])),
            ],
            505,
            "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        ),
        (
            "header for method",
            vec![(Header, 1, header(60, 3, &[0, 0]))],
            505,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            "body for method",
            vec![(Body, 1, vec![1])],
            505,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            "header on a channel not open",
            vec![(Header, 9, header(60, 3, &[0, 0]))],
            505,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            "too much body",
            vec![
                (Method, 1, PUBLISH.into()),
                (Header, 1, header(60, 1, &[0, 0])),
                (Body, 1, vec![1, 2]),
            ],
            505,
            "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        ),
        (
            "heartbeat on a channel",
            vec![(Heartbeat, 1, vec![])],
            505,
            "UNEXPECTED_FRAME - type 8, all octets = <<>>",
        ),
        (
            "heartbeat with payload",
            vec![(Heartbeat, 0, vec![b'x'])],
            501,
            "FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame",
        ),
        (
            "body on channel 0",
            vec![(Body, 0, b"abc".to_vec())],
            505,
            "UNEXPECTED_FRAME - type 3, all octets = <<\"abc\">>",
        ),
        (
            "method on a channel not open",
            vec![(Method, 5, QOS.into())],
            504,
            "CHANNEL_ERROR - expected 'channel.open'",
        ),
        (
            "second open",
            vec![(Method, 1, vec![0, 20, 0, 10, 0])],
            504,
            "CHANNEL_ERROR - second 'channel.open' seen",
        ),
        (
            "queue method on channel 0",
            vec![(Method, 0, vec![0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0])],
            504,
            "CHANNEL_ERROR - unexpected method in connection state running",
        ),
        (
            "server's method",
            vec![(Method, 1, vec![0, 60, 0, 11])],
            503,
            "COMMAND_INVALID - unimplemented method",
        ),
        (
            "arguments too long",
            vec![(Method, 1, [QOS, b"xx"].concat())],
            501,
            "FRAME_ERROR - cannot decode <<0,0,0,0,0,0,0,120,120>>",
        ),
        (
            "prefetch size",
            vec![(Method, 1, vec![0, 60, 0, 10, 0, 0, 0, 5, 0, 0, 0])],
            540,
            "NOT_IMPLEMENTED - prefetch_size!=0 (5)",
        ),
        (
            "flow off",
            vec![(Method, 1, vec![0, 20, 0, 20, 0])],
            540,
            "NOT_IMPLEMENTED - active=false",
        ),
        (
            "recover without requeue",
            vec![(Method, 1, vec![0, 60, 0, 110, 0])],
            540,
            "NOT_IMPLEMENTED - requeue=false",
        ),
        (
            "immediate",
            vec![
                (Method, 1, vec![0, 60, 0, 40, 0, 0, 0, 0, 2]),
                (Header, 1, header(60, 0, &[0, 0])),
            ],
            540,
            "NOT_IMPLEMENTED - immediate=true",
        ),
        (
            "broken properties",
            vec![
                (Method, 1, PUBLISH.into()),
                (Header, 1, header(60, 0, &[0x80, 0])),
            ],
            541,
            "INTERNAL_ERROR",
        ),
        (
            "unknown tag",
            vec![(Method, 1, vec![0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 99, 0])],
            406,
            "PRECONDITION_FAILED - unknown delivery tag 99",
        ),
        (
            "commit without select",
            vec![(Method, 1, vec![0, 90, 0, 20])],
            406,
            "PRECONDITION_FAILED - channel is not transactional",
        ),
        (
            "confirm, then tx",
            vec![
                (Method, 1, vec![0, 85, 0, 10, 1]),
                (Method, 1, vec![0, 90, 0, 10]),
            ],
            406,
            "PRECONDITION_FAILED - cannot switch from confirm to tx mode",
        ),
        (
            "no queue declared",
            vec![(Method, 1, vec![0, 60, 0, 70, 0, 0, 0, 0])],
            404,
            "NOT_FOUND - no previously declared queue",
        ),
        (
            "expiration",
            vec![
                (Method, 1, PUBLISH.into()),
                (Header, 1, header(60, 0, &[1, 0, 2, b'1', b'x'])),
            ],
            406,
            "PRECONDITION_FAILED - invalid expiration '1x': {leftover_string,\"x\"}",
        ),
        (
            "user id",
            vec![
                (Method, 1, PUBLISH.into()),
                (Header, 1, header(60, 0, &[0, 0x10, 1, b'j'])),
            ],
            406,
            "PRECONDITION_FAILED - user_id property set to 'j' but authenticated user was 'guest'",
        ),
    ];
    for (name, frames, code, text) in cases {
        let mut peer = Peer::new(&server).await;
        for (kind, channel, payload) in frames {
            peer.frame(kind, channel, &payload).await;
        }
        assert_eq!(peer.closed().await, (code, text.to_owned()), "{name}");
    }
    // What RabbitMQ drops without a word.
    for payload in [
        vec![0, 99, 0, 10],
        vec![0, 60, 0, 99],
        vec![0, 50, 0, 10, 0, 0, 1, b'q', 0, 0, 0, 0, 2, 5, b'a'],
    ] {
        let mut peer = Peer::new(&server).await;
        peer.frame(Method, 1, &payload).await;
        assert_eq!(peer.next().await, Event::End, "{payload:?}");
    }
    eventually("all connections are gone", || {
        server.broker.connections().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_error_ends_the_channel_only() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.open(2).await;
    peer.declare(2, "q").await;
    let publish = peer.publish_bytes(1, "q", false, false, b"ignored");
    let bad = basic::Publish {
        exchange: "nowhere".into(),
        routing_key: "k".into(),
        mandatory: false,
        immediate: false,
    };
    peer.basic(1, basic::AMQPMethod::Publish(bad)).await;
    peer.frame(FrameKind::Header, 1, &header(60, 0, &[0, 0]))
        .await;
    // What follows on the channel until the client knows has no effect.
    peer.raw(&publish).await;
    assert_eq!(
        peer.closed().await,
        (
            404,
            "NOT_FOUND - no exchange 'nowhere' in vhost '/'".to_owned()
        )
    );
    peer.open(1).await;
    assert_eq!(peer.declare(2, "q").await.message_count, 0);
    peer.publish(1, "q", b"counts").await;
    eventually("the message is there", || server.numbers("q") == (1, 0, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_counted() {
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
    assert_eq!(peer.closed().await, (530, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_not_be_too_large() {
    let server = TestServer::start_with(|settings| settings.message_bytes_max = 10).await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"0123456789").await;
    eventually("ten bytes are taken", || server.numbers("q").0 == 1).await;
    peer.publish(1, "q", b"0123456789a").await;
    let text = "PRECONDITION_FAILED - message size 11 is larger than configured max size 10";
    assert_eq!(peer.closed().await, (406, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exclusive_queues_are_gone_before_close_ok() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let declare = queue::Declare {
        queue: "mine".into(),
        passive: false,
        durable: false,
        exclusive: true,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    peer.call(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
        .await;
    assert!(server.counts("mine").is_some());
    let close = connection::Close {
        reply_code: 200,
        reply_text: "bye".into(),
        class_id: 0,
        method_id: 0,
    };
    let answer = peer
        .call(
            0,
            AMQPClass::Connection(connection::AMQPMethod::Close(close)),
        )
        .await;
    assert!(matches!(
        answer,
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))
    ));
    assert!(server.counts("mine").is_none());
    assert_eq!(peer.next().await, Event::End);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_and_close_connections() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"m").await;
    peer.get(1, "q", false).await.unwrap();
    let connection = server.broker.connections().list().pop().unwrap();
    assert!(connection.info.name().starts_with("127.0.0.1:"));
    eventually("the figures are there", || {
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
            320,
            "CONNECTION_FORCED - Closed via management plugin".to_owned()
        )
    );
    eventually("the message is back", || server.numbers("q") == (1, 0, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_client_that_goes_gives_back_what_it_has() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"m").await;
    peer.get(1, "q", false).await.unwrap();
    let connection = server.broker.connections().list().pop().unwrap();
    // After this the broker has nothing left to do for the connection, and no timer that would ring soon.
    eventually("the figures were told", || {
        let status = connection.status();
        status
            .channels
            .iter()
            .any(|channel| channel.unacknowledged == 1)
    })
    .await;
    drop(peer);
    eventually("the message is back", || server.numbers("q") == (1, 0, 0)).await;
    eventually("nobody is connected", || {
        server.broker.connections().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_go_both_ways() {
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
    // The broker beats twice a second, hears nothing, and gives up after two to three intervals.
    let mut beats = 0;
    while peer.next().await == Event::Heartbeat {
        beats += 1;
    }
    assert!(beats >= 2, "{beats} heartbeats");
    assert!(
        silent_since.elapsed().as_millis() >= 1_900,
        "gave up after {:?}",
        silent_since.elapsed()
    );
    assert!(silent_since.elapsed() < PATIENCE / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_stops_those_who_publish() {
    let server = TestServer::start().await;
    let mut publisher = Peer::new(&server).await;
    let mut consumer = Peer::new(&server).await;
    publisher.declare(1, "q").await;
    publisher.confirm_select(1).await;
    publisher.publish(1, "q", b"1").await;
    assert!(matches!(
        publisher.method().await.1,
        AMQPClass::Basic(basic::AMQPMethod::Ack(_))
    ));
    server.alarms.set_memory(true);
    publisher.nothing(1).await;
    publisher.publish(1, "q", b"2").await;
    let (_, blocked) = publisher.method().await;
    match blocked {
        AMQPClass::Connection(connection::AMQPMethod::Blocked(blocked)) => {
            assert_eq!(blocked.reason.as_str(), "low on memory");
        }
        other => panic!("not blocked: {other:?}"),
    }
    // The publish that met the alarm waits, and so does what comes after it.
    publisher.publish(1, "q", b"3").await;
    assert_eq!(consumer.get(1, "q", true).await.unwrap().body, b"1");
    assert!(consumer.get(1, "q", true).await.is_none());
    server.alarms.set_memory(false);
    let (_, unblocked) = publisher.method().await;
    assert!(
        matches!(
            unblocked,
            AMQPClass::Connection(connection::AMQPMethod::Unblocked(_))
        ),
        "{unblocked:?}"
    );
    for body in [b"2", b"3"] {
        eventually("it is taken", || server.numbers("q").0 > 0).await;
        assert_eq!(consumer.get(1, "q", true).await.unwrap().body, body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_may_close_a_channel_at_once() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let close = channel::Close {
        reply_code: 200,
        reply_text: "".into(),
        class_id: 0,
        method_id: 0,
    };
    let close = AMQPClass::Channel(channel::AMQPMethod::Close(close));
    peer.ack(1, 7, false).await;
    peer.send(1, close).await;
    assert!(matches!(
        peer.method().await.1,
        AMQPClass::Channel(channel::AMQPMethod::Close(_))
    ));
    assert!(matches!(
        peer.method().await.1,
        AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))
    ));
    peer.send(
        1,
        AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
    )
    .await;
    peer.open(1).await;
    peer.nothing(1).await;
}
