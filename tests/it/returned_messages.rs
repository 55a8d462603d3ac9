//! Returned messages of quorum queues: rests before the next delivery, and consumers that do not answer in time.

use std::time::{Duration, Instant};

use leveret::wire::protocol::basic;
use leveret::wire::{AMQPClass, AMQPValue};

use crate::support::{Event, Peer, TestServer, eventually_eq, long, text};

const REST_MS: i64 = 1_000;
const TIMEOUT_MS: i64 = 300;

async fn with_message(server: &TestServer, arguments: &[(&str, AMQPValue)]) -> Peer {
    let mut peer = Peer::new(server).await;
    let kind = [("x-queue-type", text("quorum"))];
    peer.declare_durable(1, "q", &[&kind, arguments].concat())
        .await;
    peer.publish(1, "q", b"m").await;
    eventually_eq("the message is there", 1, || server.ready("q")).await;
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returned_message_rests_over_a_restart() {
    let server = TestServer::start().await;
    let retry = [
        ("x-delayed-retry-type", text("all")),
        ("x-delayed-retry-min", long(REST_MS)),
    ];
    let mut peer = with_message(&server, &retry).await;
    peer.get(1, "q").await.unwrap();
    let returned = Instant::now();
    peer.requeue(1, 1).await;
    let delayed = || server.queue("q").counts().delayed;
    eventually_eq("it rests", 1, delayed).await;
    server.flush().await;
    assert!(peer.get(1, "q").await.is_none());
    drop(peer);
    let server = server.restart().await;
    let mut peer = Peer::new(&server).await;
    eventually_eq("it is due", 1, || server.ready("q")).await;
    assert!(returned.elapsed() >= Duration::from_millis(REST_MS.unsigned_abs()));
    let again = peer.get(1, "q").await.unwrap();
    assert_eq!(again.delivery(), (1, true, "m".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_does_not_answer_in_time_is_cancelled_and_keeps_its_channel() {
    let server = TestServer::start().await;
    let timeout = [("x-consumer-timeout", long(TIMEOUT_MS))];
    let mut late = with_message(&server, &timeout).await;
    late.consume(1, "q", "late").await;
    assert_eq!(late.content().await.delivery(), (1, false, "m".to_owned()));
    match late.next().await {
        Event::Method(1, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel))) => {
            assert_eq!(cancel.consumer_tag.as_str(), "late");
        }
        other => panic!("{other:?}"),
    }
    let mut other = Peer::new(&server).await;
    let longer = [("x-consumer-timeout", long(600_000))];
    other.consume_with(1, "q", "other", &longer).await;
    assert_eq!(other.content().await.delivery(), (1, true, "m".to_owned()));
    assert_eq!(server.numbers("q"), (0, 1, 2));
    // A late ack ends nothing, and the consumer gets messages again.
    late.ack(1, 1).await;
    other.qos(1, 1).await;
    // One after the other: what comes in one read may go to one consumer.
    for (body, unacked) in [("2", 2), ("3", 3)] {
        late.publish(1, "q", body.as_bytes()).await;
        eventually_eq("it is delivered", unacked, || server.unacked("q")).await;
    }
    let content = late.content().await;
    assert!(!content.delivery().1);
}
