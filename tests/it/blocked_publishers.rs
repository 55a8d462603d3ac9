//! Publishers that the broker does not read for a while: alarms, a slow disk, full queues; and what it tells them.

use std::sync::Arc;

use leveret::store::Limits;
use leveret::store::faulty::FaultyStore;
use leveret::wire::AMQPClass;
use leveret::wire::protocol::{basic, connection};

use crate::support::{Peer, TestServer, delete_queue, eventually, eventually_eq, long, text};

/// The length limit of the queues here.
const LENGTH_MAX: u64 = 2;

/// Reads `connection.blocked` and returns its reason.
async fn blocked_reason(peer: &mut Peer) -> String {
    match peer.method().await.1 {
        AMQPClass::Connection(connection::AMQPMethod::Blocked(m)) => m.reason.to_string(),
        other => panic!("not blocked: {other:?}"),
    }
}

async fn expect_unblocked(peer: &mut Peer) {
    let (_, method) = peer.method().await;
    assert!(
        matches!(
            method,
            AMQPClass::Connection(connection::AMQPMethod::Unblocked(_))
        ),
        "{method:?}"
    );
}

/// Declares a queue that holds its publishers back.
async fn declare_blocking(peer: &mut Peer, queue: &str) {
    let arguments = [
        ("x-max-length", long(LENGTH_MAX.try_into().unwrap())),
        ("x-overflow", text("block-publish")),
    ];
    peer.declare_durable(1, queue, &arguments).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_blocks_publishers_until_it_clears_and_leaves_consumers_alone() {
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
    publisher.expect_nothing(1).await;
    publisher.publish(1, "q", b"2").await;
    assert_eq!(blocked_reason(&mut publisher).await, "low on memory");
    // The publish that met the alarm waits, and so does everything behind it.
    publisher.publish(1, "q", b"3").await;
    assert_eq!(consumer.get_no_ack(1, "q").await.unwrap().body, b"1");
    assert!(consumer.get_no_ack(1, "q").await.is_none());
    server.alarms.set_memory(false);
    expect_unblocked(&mut publisher).await;
    for body in [b"2", b"3"] {
        eventually("it is enqueued", || server.ready("q") > 0).await;
        assert_eq!(consumer.get_no_ack(1, "q").await.unwrap().body, body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_a_hanging_disk_holds_back_is_told_and_others_are_not() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let server = TestServer::start_on(store.clone()).await;
    let mut publisher = Peer::new(&server).await;
    let mut other = Peer::new(&server).await;
    publisher.declare_durable(1, "q", &[]).await;
    store.stall(true);
    let large = vec![7; 1024 * 1024];
    let sent = Limits::default().pending_bytes_max / large.len() + 1;
    for _ in 0..sent {
        publisher.publish(1, "q", &large).await;
    }
    assert_eq!(blocked_reason(&mut publisher).await, "disk is slow");
    // The last of them may wait in the socket.
    let ready = server.ready("q");
    other.publish(1, "q", b"small").await;
    eventually_eq("a small publish passes", ready + 1, || server.ready("q")).await;
    other.expect_nothing(1).await;
    store.stall(false);
    expect_unblocked(&mut publisher).await;
    publisher.publish(1, "q", b"again").await;
    let all = u64::try_from(sent).unwrap() + 2;
    eventually_eq("the publisher goes on", all, || server.ready("q")).await;
    // An alarm is announced immediately, as before.
    server.alarms.set_disk(true);
    publisher.publish(1, "q", b"during the alarm").await;
    assert_eq!(blocked_reason(&mut publisher).await, "low on disk");
    server.alarms.set_disk(false);
    expect_unblocked(&mut publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_holds_back_its_publishers_only_until_it_has_room() {
    let server = TestServer::start().await;
    let mut publisher = Peer::new(&server).await;
    let mut other = Peer::new(&server).await;
    declare_blocking(&mut publisher, "full").await;
    other.declare(1, "roomy").await;
    publisher.publish(1, "full", b"1").await;
    publisher.publish(1, "full", b"2").await;
    eventually_eq("the queue is full", LENGTH_MAX, || server.ready("full")).await;
    publisher.publish(1, "full", b"3").await;
    assert_eq!(
        blocked_reason(&mut publisher).await,
        "queue 'full' in vhost '/' is full"
    );
    assert_eq!(server.ready("full"), LENGTH_MAX);
    for _ in 0..5 {
        other.publish(1, "roomy", b"m").await;
    }
    eventually_eq("others go on", 5, || server.ready("roomy")).await;
    assert_eq!(other.get_no_ack(1, "full").await.unwrap().body, b"1");
    // The third message fills the queue again, within the time that is not announced.
    expect_unblocked(&mut publisher).await;
    eventually_eq("the third message is in", LENGTH_MAX, || {
        server.ready("full")
    })
    .await;
    for body in [b"2", b"3"] {
        assert_eq!(other.get_no_ack(1, "full").await.unwrap().body, body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_fills_its_own_queue_goes_on() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    declare_blocking(&mut peer, "q").await;
    peer.qos(1, 1).await;
    peer.consume(1, "q", "c").await;
    let all = LENGTH_MAX + 4;
    for _ in 0..all {
        peer.publish(1, "q", b"m").await;
    }
    for tag in 1..=all {
        assert_eq!(peer.content().await.delivery_tag(), tag);
        peer.ack(1, tag).await;
    }
    eventually_eq("all are acked", (0, 0, 1), || server.numbers("q")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deletion_of_a_full_queue_frees_its_publishers() {
    let server = TestServer::start().await;
    let mut publisher = Peer::new(&server).await;
    let mut other = Peer::new(&server).await;
    declare_blocking(&mut publisher, "q").await;
    publisher.declare(1, "next").await;
    for _ in 0..LENGTH_MAX {
        publisher.publish(1, "q", b"m").await;
    }
    eventually_eq("the queue is full", LENGTH_MAX, || server.ready("q")).await;
    publisher.publish(1, "next", b"behind").await;
    blocked_reason(&mut publisher).await;
    assert_eq!(server.ready("next"), 0);
    other.call(1, delete_queue("q")).await;
    expect_unblocked(&mut publisher).await;
    eventually_eq("the publisher goes on", 1, || server.ready("next")).await;
}
