//! Streams: where consumers start, restarts, and retention.

use std::sync::Arc;

use leveret::store::{FjallOptions, FjallStore};
use leveret::wire::protocol::basic;
use leveret::wire::{AMQPClass, AMQPValue};

use crate::support::{Event, Peer, TestServer, eventually, text};

const STREAM: &str = "s";

/// Declares the stream on a channel in confirm mode.
async fn with_stream(server: &TestServer, arguments: &[(&str, AMQPValue)]) -> Peer {
    let mut peer = Peer::new(server).await;
    let mut fields = vec![("x-queue-type", text("stream"))];
    fields.extend_from_slice(arguments);
    peer.declare_durable(1, STREAM, &fields).await;
    peer.confirm_select(1).await;
    peer
}

/// Publishes bodies and waits until all are confirmed; returns the next delivery tag of a confirm.
async fn publish(peer: &mut Peer, first_tag: u64, bodies: &[String]) -> u64 {
    for body in bodies {
        peer.publish(1, STREAM, body.as_bytes()).await;
    }
    let last = first_tag + bodies.len() as u64 - 1;
    loop {
        match peer.next().await {
            Event::Method(1, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)))
                if ack.delivery_tag == last =>
            {
                return last + 1;
            }
            Event::Method(1, AMQPClass::Basic(basic::AMQPMethod::Ack(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn consume(peer: &mut Peer, channel: u16, prefetch: u16, arguments: &[(&str, AMQPValue)]) {
    peer.qos(channel, prefetch).await;
    let tag = channel.to_string();
    peer.consume_with(channel, STREAM, &tag, arguments).await;
}

/// The next delivery: tag, offset, body. Deliveries of streams are never redelivered.
async fn delivery(peer: &mut Peer) -> (u64, i64, String) {
    let content = peer.content().await;
    let offset = match content.headers().inner().get("x-stream-offset") {
        Some(AMQPValue::LongLongInt(offset)) => *offset,
        other => panic!("{other:?}"),
    };
    let (tag, redelivered, body) = content.delivery();
    assert!(!redelivered);
    (tag, offset, body)
}

/// Reads and acks the messages from offset `from` to before `until`.
async fn read(peer: &mut Peer, channel: u16, from: i64, until: i64) {
    for expected in from..until {
        let (tag, offset, body) = delivery(peer).await;
        assert_eq!((offset, body), (expected, format!("{expected}")));
        peer.ack(channel, tag).await;
    }
}

fn bodies(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_can_be_read_again_and_again_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), FjallOptions::default()).unwrap();
    let server = TestServer::start_on(Arc::new(store)).await;
    let mut peer = with_stream(&server, &[]).await;
    let next = publish(&mut peer, 1, &bodies(0..1_000)).await;
    publish(&mut peer, next, &bodies(1_000..2_000)).await;
    for _ in 0..2 {
        let mut reader = Peer::new(&server).await;
        consume(&mut reader, 1, 100, &[("x-stream-offset", text("first"))]).await;
        read(&mut reader, 1, 0, 2_000).await;
    }
    assert_eq!(server.ready(STREAM), 2_000);

    let server = server.restart().await;
    assert_eq!(server.ready(STREAM), 2_000);
    let mut peer = with_stream(&server, &[]).await;
    let mut reader = Peer::new(&server).await;
    let offset = AMQPValue::LongLongInt(1_500);
    consume(&mut reader, 1, 100, &[("x-stream-offset", offset)]).await;
    read(&mut reader, 1, 1_500, 2_000).await;
    reader.expect_nothing(1).await;
    publish(&mut peer, 1, &bodies(2_000..2_100)).await;
    read(&mut reader, 1, 2_000, 2_100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_of_a_stream_can_start_at_a_time() {
    let server = TestServer::start().await;
    let mut peer = with_stream(&server, &[]).await;
    let next = publish(&mut peer, 1, &bodies(0..3)).await;
    // Timestamps are whole seconds, so the later messages need a later second.
    let second = server.broker.clock().wall_ms() / 1_000 + 1;
    eventually("the next second", || {
        server.broker.clock().wall_ms() / 1_000 >= second
    })
    .await;
    publish(&mut peer, next, &bodies(3..5)).await;

    let server = server.restart().await;
    let mut reader = Peer::new(&server).await;
    let at = |second| [("x-stream-offset", AMQPValue::Timestamp(second))];
    consume(&mut reader, 1, 10, &at(second)).await;
    read(&mut reader, 1, 3, 5).await;
    reader.expect_nothing(1).await;
    reader.open(2).await;
    consume(&mut reader, 2, 10, &at(second - 60)).await;
    read(&mut reader, 2, 0, 5).await;
    reader.open(3).await;
    consume(&mut reader, 3, 10, &[("x-stream-offset", text("1m"))]).await;
    read(&mut reader, 3, 0, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_drops_whole_segments_of_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), FjallOptions::default()).unwrap();
    let server = TestServer::start_on(Arc::new(store)).await;
    let limits = [
        ("x-max-length-bytes", AMQPValue::LongInt(500_000)),
        (
            "x-stream-max-segment-size-bytes",
            AMQPValue::LongInt(100_000),
        ),
    ];
    let mut peer = with_stream(&server, &limits).await;
    let mut next = 1;
    for batch in 0..20 {
        let bodies: Vec<String> = (0..100)
            .map(|number| format!("{:01000}", batch * 100 + number))
            .collect();
        next = publish(&mut peer, next, &bodies).await;
    }
    let retained = server.ready(STREAM);
    assert!((250..=500).contains(&retained), "{retained}");

    let server = server.restart().await;
    assert_eq!(server.ready(STREAM), retained);
    let mut reader = Peer::new(&server).await;
    consume(
        &mut reader,
        1,
        1_000,
        &[("x-stream-offset", AMQPValue::LongInt(0))],
    )
    .await;
    let first = 2_000 - i64::try_from(retained).unwrap();
    for expected in first..2_000 {
        let (_, offset, body) = delivery(&mut reader).await;
        assert_eq!((offset, body), (expected, format!("{expected:01000}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_stream_do_not_wait_for_each_other_and_its_memory_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), FjallOptions::default()).unwrap();
    let server = TestServer::start_on(Arc::new(store)).await;
    let mut peer = with_stream(&server, &[]).await;
    let body = "x".repeat(2_000);
    let numbered: Vec<String> = (0..5_000).map(|n| format!("{n:05}{body}")).collect();
    let mut next = 1;
    for part in numbered.chunks(500) {
        next = publish(&mut peer, next, part).await;
    }
    // One reader stands still, one is at the end, the others start all over the stream.
    let mut idle = Peer::new(&server).await;
    consume(&mut idle, 1, 1, &[("x-stream-offset", text("first"))]).await;
    let mut current = Peer::new(&server).await;
    consume(&mut current, 1, 10, &[("x-stream-offset", text("next"))]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for start in (0..5_000).step_by(500) {
        let mut reader = Peer::new(&server).await;
        tasks.spawn(async move {
            let from = AMQPValue::LongLongInt(start);
            consume(&mut reader, 1, 50, &[("x-stream-offset", from)]).await;
            for expected in start..5_000 {
                let (tag, offset, body) = delivery(&mut reader).await;
                assert_eq!(offset, expected);
                assert!(body.starts_with(&format!("{expected:05}")));
                reader.ack(1, tag).await;
            }
        });
    }
    publish(&mut peer, next, &["new".to_owned()]).await;
    assert_eq!(delivery(&mut current).await, (1, 5_000, "new".to_owned()));
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let (tag, offset, _) = delivery(&mut idle).await;
    assert_eq!((tag, offset), (1, 0));
    const MIB: u64 = 1024 * 1024;
    let resident = server.counts(STREAM).unwrap().resident_bytes;
    assert!(resident <= 4 * MIB, "{resident}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_of_one_connection_read_a_stream_independently() {
    let server = TestServer::start().await;
    let mut peer = with_stream(&server, &[]).await;
    publish(&mut peer, 1, &bodies(0..10)).await;
    let mut reader = Peer::new(&server).await;
    reader.open(2).await;
    for (channel, prefetch) in [(1, 3), (2, 2)] {
        let first = [("x-stream-offset", text("first"))];
        consume(&mut reader, channel, prefetch, &first).await;
        for expected in 0..i64::from(prefetch) {
            let (tag, offset, _) = delivery(&mut reader).await;
            assert_eq!((tag, offset), (expected.unsigned_abs() + 1, expected));
        }
        reader.expect_nothing(channel).await;
    }
    reader.ack(2, 1).await;
    assert_eq!(delivery(&mut reader).await, (3, 2, "2".to_owned()));
    reader.expect_nothing(1).await;
    assert_eq!(server.numbers(STREAM), (10, 0, 2));
}
