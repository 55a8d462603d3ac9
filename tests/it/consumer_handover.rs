//! What happens to the unacked messages of a channel or connection that ends.

use std::collections::BTreeMap;

use leveret::wire::AMQPValue;

use crate::support::{Peer, TestServer, eventually_eq, text};

/// No delivery has this tag: an ack of it closes the channel.
const UNKNOWN_TAG: u64 = 4711;

async fn publish(peer: &mut Peer, server: &TestServer, queue: &str, count: u64) {
    let there = || {
        let (ready, unacked, _) = server.numbers(queue);
        ready + unacked
    };
    let before = there();
    for number in 0..count {
        peer.publish(1, queue, number.to_string().as_bytes()).await;
    }
    eventually_eq("the messages are there", before + count, there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_single_active_consumer_begins_with_the_unacked_messages_of_the_last() {
    let server = TestServer::start().await;
    for (kind, ends) in [
        ("classic", "channel"),
        ("classic", "error"),
        ("classic", "socket"),
        ("quorum", "channel"),
        ("quorum", "error"),
        ("quorum", "socket"),
    ] {
        let queue = format!("{kind} {ends}");
        let mut first = Peer::new(&server).await;
        let single = ("x-single-active-consumer", AMQPValue::Boolean(true));
        let arguments = [("x-queue-type", text(kind)), single];
        first.declare_durable(1, &queue, &arguments).await;
        first.qos(1, 3).await;
        first.consume(1, &queue, "first").await;
        if ends == "socket" {
            // The second in line, which ends together with the first.
            first.open(2).await;
            first.consume(2, &queue, "other").await;
        }
        let mut second = Peer::new(&server).await;
        second.consume(1, &queue, "second").await;
        publish(&mut first, &server, &queue, 8).await;
        for number in 0..3 {
            assert_eq!(first.content().await.text(), number.to_string());
        }
        match ends {
            "channel" => first.close_channel(1).await,
            "error" => first.ack(1, UNKNOWN_TAG).await,
            _ => drop(first),
        }
        for (tag, number) in (1..).zip(0..8) {
            let delivery = second.content().await.delivery();
            assert_eq!(delivery, (tag, number < 3, number.to_string()), "{queue}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_messages_of_a_connection_that_ends_are_not_delivered_to_its_other_consumers() {
    let server = TestServer::start().await;
    let mut watcher = Peer::new(&server).await;
    watcher.declare(1, "dead").await;
    let arguments = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(1)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    watcher.declare_durable(1, "q", &arguments).await;
    let mut ending = Peer::new(&server).await;
    for number in 2..=8 {
        ending.open(number).await;
    }
    for number in 1..=8 {
        ending.qos(number, 2).await;
        ending.consume(number, "q", "c").await;
    }
    for number in 0..40 {
        let body = format!("{number}");
        watcher.publish(1, "q", body.as_bytes()).await;
    }
    eventually_eq("all consumers are busy", (24, 16, 8), || {
        server.numbers("q")
    })
    .await;
    drop(ending);
    eventually_eq("all messages are back", (40, 0, 0), || server.numbers("q")).await;
    assert_eq!(server.ready("dead"), 0);
    let mut seen = BTreeMap::new();
    for _ in 0..40 {
        let (_, redelivered, body) = watcher.get(1, "q").await.unwrap().delivery();
        seen.insert(body.parse::<u32>().unwrap(), redelivered);
    }
    let again = seen.values().filter(|redelivered| **redelivered).count();
    assert_eq!((seen.len(), again), (40, 16));
    assert!(seen.iter().all(|(number, again)| *again == (*number < 16)));
}
