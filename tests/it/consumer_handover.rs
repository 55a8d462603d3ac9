//! Who gets what a channel or connection had when it ends; and the prefetch that a channel's consumers share.

use std::collections::BTreeMap;

use leveret::wire::protocol::{basic, channel};
use leveret::wire::{AMQPClass, AMQPValue, LongString};

use crate::support::{Content, Peer, TestServer, eventually};

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

/// The consumer that a delivery is for.
fn consumer(content: &Content) -> String {
    match &content.method {
        AMQPClass::Basic(basic::AMQPMethod::Deliver(m)) => m.consumer_tag.to_string(),
        other => panic!("no delivery: {other:?}"),
    }
}

async fn publish(peer: &mut Peer, server: &TestServer, queue: &str, count: u64) {
    let there = || {
        let (ready, unacked, _) = server.numbers(queue);
        ready + unacked
    };
    let before = there();
    for number in 0..count {
        peer.publish(1, queue, number.to_string().as_bytes()).await;
    }
    eventually("the messages are there", || there() == before + count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_active_consumer_begins_with_what_the_last_one_held() {
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
        first.declare_with(1, &queue, true, &arguments).await;
        first.qos(1, 3, false).await;
        first.consume(1, &queue, "first", false).await;
        if ends == "socket" {
            // It waits behind the first one, and ends with it.
            first.open(2).await;
            first.consume(2, &queue, "other", false).await;
        }
        let mut second = Peer::new(&server).await;
        second.consume(1, &queue, "second", false).await;
        publish(&mut first, &server, &queue, 8).await;
        for number in 0..3 {
            assert_eq!(first.content().await.told().2, number.to_string());
        }
        match ends {
            "channel" => {
                let close = channel::AMQPMethod::Close(channel::Close {
                    reply_code: 200,
                    reply_text: "".into(),
                    class_id: 0,
                    method_id: 0,
                });
                first.send(1, AMQPClass::Channel(close)).await;
            }
            "error" => first.ack(1, 4711, false).await,
            _ => drop(first),
        }
        for (tag, number) in (1..).zip(0..8) {
            let told = second.content().await.told();
            assert_eq!(told, (tag, number < 3, number.to_string()), "{queue}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_gives_its_own_consumers_nothing() {
    let server = TestServer::start().await;
    let mut watcher = Peer::new(&server).await;
    watcher.declare(1, "dead").await;
    let arguments = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(1)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    watcher.declare_with(1, "q", true, &arguments).await;
    let mut ending = Peer::new(&server).await;
    for number in 2..=8 {
        ending.open(number).await;
    }
    for number in 1..=8 {
        ending.qos(number, 2, false).await;
        ending.consume(number, "q", "c", false).await;
    }
    for number in 0..40 {
        let body = format!("{number}");
        watcher.publish(1, "q", body.as_bytes()).await;
    }
    eventually("all consumers are busy", || {
        server.numbers("q") == (24, 16, 8)
    })
    .await;
    drop(ending);
    eventually("everything is back", || server.numbers("q") == (40, 0, 0)).await;
    assert_eq!(server.numbers("dead").0, 0);
    let mut seen = BTreeMap::new();
    for _ in 0..40 {
        let (_, redelivered, body) = watcher.get(1, "q", false).await.unwrap().told();
        seen.insert(body.parse::<u32>().unwrap(), redelivered);
    }
    let again = seen.values().filter(|redelivered| **redelivered).count();
    assert_eq!((seen.len(), again), (40, 16));
    assert!(seen.iter().all(|(number, again)| *again == (*number < 16)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_shared_prefetch_frees_goes_round_the_queues() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    for (prefetch, at_once) in [(1, 1), (10, 10), (10, 1)] {
        let mut reader = Peer::new(&server).await;
        reader.qos(1, prefetch, true).await;
        let queues = ["a", "b", "c"].map(|name| format!("{name} {prefetch} {at_once}"));
        for queue in &queues {
            peer.declare(1, queue).await;
            reader.consume(1, queue, queue, false).await;
        }
        for queue in &queues {
            publish(&mut peer, &server, queue, 100).await;
        }
        let mut got = BTreeMap::new();
        for _ in 0..90 / at_once {
            let mut tag = 0;
            for _ in 0..at_once {
                let content = reader.content().await;
                tag = content.told().0;
                *got.entry(consumer(&content)).or_insert(0) += 1;
            }
            reader.ack(1, tag, true).await;
        }
        for queue in &queues {
            let count = got.get(queue).copied().unwrap_or(0);
            assert!((20..=45).contains(&count), "{got:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_shared_prefetch_holds_consumers_without_acks_back_and_does_not_charge_them() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    for queue in ["acked", "free"] {
        peer.declare(1, queue).await;
        publish(&mut peer, &server, queue, 5).await;
    }
    let mut reader = Peer::new(&server).await;
    reader.qos(1, 2, true).await;
    reader.consume(1, "acked", "acked", false).await;
    for tag in [1, 2] {
        assert_eq!(reader.content().await.told().0, tag);
    }
    reader.consume(1, "free", "free", true).await;
    reader.nothing(1).await;
    assert_eq!(server.numbers("free").0, 5);
    // Each place that comes back goes to one that needs an answer, with some for the other before.
    reader.ack(1, 0, true).await;
    let mut acked = 0;
    while acked < 2 {
        let content = reader.content().await;
        acked += usize::from(consumer(&content) == "acked");
    }
    reader.nothing(1).await;
    assert_eq!(server.numbers("acked").1, 2);
    let free = server.numbers("free").0;
    assert!(free < 5, "none was let through");
    // A limit of each consumer's own lifts it, and all of it comes.
    reader.qos(1, 1, false).await;
    for _ in 0..free + 1 {
        reader.content().await;
    }
    assert_eq!(server.numbers("free").0, 0);
}
