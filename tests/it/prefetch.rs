//! Prefetch: how many unacked messages a consumer, or all consumers of a channel together, may have.

use std::collections::BTreeMap;

use leveret::wire::AMQPClass;
use leveret::wire::protocol::basic;

use crate::support::{Content, Peer, TestServer, eventually_eq};

/// The consumer tag of a delivery.
fn consumer(content: &Content) -> String {
    match &content.method {
        AMQPClass::Basic(basic::AMQPMethod::Deliver(m)) => m.consumer_tag.to_string(),
        other => panic!("no delivery: {other:?}"),
    }
}

async fn publish(peer: &mut Peer, server: &TestServer, queue: &str, count: u64) {
    for number in 0..count {
        peer.publish(1, queue, number.to_string().as_bytes()).await;
    }
    let there = || server.ready(queue) + server.unacked(queue);
    eventually_eq("the messages are there", count, there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_has_no_more_unacked_messages_than_its_prefetch() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    publish(&mut peer, &server, "q", 6).await;
    peer.qos(1, 2).await;
    peer.consume(1, "q", "t").await;
    assert_eq!(peer.content().await.delivery(), (1, false, "0".to_owned()));
    assert_eq!(peer.content().await.delivery(), (2, false, "1".to_owned()));
    peer.expect_nothing(1).await;
    peer.ack(1, 2).await;
    assert_eq!(peer.content().await.delivery(), (3, false, "2".to_owned()));
    peer.expect_nothing(1).await;
    peer.ack_all(1).await;
    assert_eq!(peer.content().await.delivery(), (4, false, "3".to_owned()));
    assert_eq!(peer.content().await.delivery(), (5, false, "4".to_owned()));
    peer.expect_nothing(1).await;
    assert_eq!(server.numbers("q"), (1, 2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prefetch_of_a_channel_limits_all_its_consumers_together() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    publish(&mut peer, &server, "q", 10).await;
    peer.qos_of_channel(1, 3).await;
    peer.consume(1, "q", "a").await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(peer.content().await.text());
    }
    peer.consume(1, "q", "b").await;
    peer.expect_nothing(1).await;
    peer.ack_up_to(1, 2).await;
    for _ in 0..2 {
        bodies.push(peer.content().await.text());
    }
    peer.expect_nothing(1).await;
    // A new limit holds for consumers that exist already.
    peer.qos_of_channel(1, 5).await;
    for _ in 0..2 {
        bodies.push(peer.content().await.text());
    }
    peer.expect_nothing(1).await;
    bodies.sort();
    assert_eq!(bodies, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_share_the_prefetch_of_a_channel_fairly() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    for (prefetch, acked_together) in [(1, 1), (10, 10), (10, 1)] {
        let mut reader = Peer::new(&server).await;
        reader.qos_of_channel(1, prefetch).await;
        let queues = ["a", "b", "c"].map(|name| format!("{name} {prefetch} {acked_together}"));
        for queue in &queues {
            peer.declare(1, queue).await;
            reader.consume(1, queue, queue).await;
        }
        for queue in &queues {
            publish(&mut peer, &server, queue, 100).await;
        }
        let mut deliveries = BTreeMap::new();
        for _ in 0..90 / acked_together {
            let mut tag = 0;
            for _ in 0..acked_together {
                let content = reader.content().await;
                tag = content.delivery_tag();
                *deliveries.entry(consumer(&content)).or_insert(0) += 1;
            }
            reader.ack_up_to(1, tag).await;
        }
        for queue in &queues {
            let count = deliveries.get(queue).copied().unwrap_or(0);
            assert!((20..=45).contains(&count), "{deliveries:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_prefetch_of_a_channel_also_stops_its_consumers_without_acks_which_use_none_of_it() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    for queue in ["acked", "free"] {
        peer.declare(1, queue).await;
        publish(&mut peer, &server, queue, 5).await;
    }
    let mut reader = Peer::new(&server).await;
    reader.qos_of_channel(1, 2).await;
    reader.consume(1, "acked", "acked").await;
    for tag in [1, 2] {
        assert_eq!(reader.content().await.delivery_tag(), tag);
    }
    reader.consume_no_ack(1, "free", "free").await;
    reader.expect_nothing(1).await;
    assert_eq!(server.ready("free"), 5);
    // Each place that an ack frees goes to a message that needs an ack; the other consumer gets some before that.
    reader.ack_all(1).await;
    let mut acked = 0;
    while acked < 2 {
        let content = reader.content().await;
        acked += usize::from(consumer(&content) == "acked");
    }
    reader.expect_nothing(1).await;
    assert_eq!(server.unacked("acked"), 2);
    let free = server.ready("free");
    assert!(free < 5, "no message went to the consumer without acks");
    // A limit per consumer replaces the limit of the channel, and the rest is delivered.
    reader.qos(1, 1).await;
    for _ in 0..free + 1 {
        reader.content().await;
    }
    assert_eq!(server.ready("free"), 0);
}
