//! Publishing: confirms, returns, and queues that refuse messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leveret::store::faulty::{Call, Fault, FaultyStore, What, When};
use leveret::wire::protocol::basic;
use leveret::wire::{AMQPClass, AMQPValue};
use tokio::time::timeout;

use crate::support::reply_code::NO_ROUTE;
use crate::support::{Client, Peer, Publish, TestServer, eventually_eq};

/// Reads confirms until `count` messages are confirmed; returns their delivery tags in order, and whether each was acked.
async fn confirms(peer: &mut Peer, count: u64) -> Vec<(u64, bool)> {
    let mut confirmed: BTreeMap<u64, bool> = BTreeMap::new();
    let mut all_before = 0;
    while (confirmed.len() as u64) < count {
        let (tag, multiple, ack) = match peer.method().await.1 {
            AMQPClass::Basic(basic::AMQPMethod::Ack(m)) => (m.delivery_tag, m.multiple, true),
            AMQPClass::Basic(basic::AMQPMethod::Nack(m)) => (m.delivery_tag, m.multiple, false),
            other => panic!("no confirm: {other:?}"),
        };
        assert!(!confirmed.contains_key(&tag), "{tag} was confirmed before");
        let first = if multiple { all_before + 1 } else { tag };
        for tag in first..=tag {
            confirmed.entry(tag).or_insert(ack);
        }
        if multiple {
            all_before = tag;
        }
    }
    confirmed.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_confirmed_once_and_persistent_ones_survive_a_restart() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "q", &[]).await;
    peer.confirm_select(1).await;
    let mut bytes = Vec::new();
    for i in 0..5_000_u32 {
        let key = if i % 7 == 0 { "nowhere" } else { "q" };
        let body = i.to_be_bytes();
        let message = Publish::to_queue(key, &body);
        let message = if i % 3 > 0 {
            message
        } else {
            message.transient()
        };
        bytes.extend_from_slice(&peer.frames(1, &message));
    }
    peer.raw(&bytes).await;
    let confirmed = confirms(&mut peer, 5_000).await;
    assert_eq!(
        confirmed,
        (1..=5_000).map(|tag| (tag, true)).collect::<Vec<_>>()
    );
    let server = server.restart().await;
    let mut peer = Peer::new(&server).await;
    for i in (0..5_000_u32).filter(|i| i % 7 > 0 && i % 3 > 0) {
        assert_eq!(peer.get_no_ack(1, "q").await.unwrap().body, i.to_be_bytes());
    }
    assert_eq!(peer.get_no_ack(1, "q").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transient_and_unroutable_messages_are_confirmed_without_waiting_for_the_disk() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let server = TestServer::start_on(store.clone()).await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "q", &[]).await;
    peer.confirm_select(1).await;
    let what = What::PowerLoss;
    let (at, when) = (Call::Sync(store.syncs() + 1), When::Before);
    store.add_fault(Fault { at, when, what });
    let mut bytes = Vec::new();
    for message in [
        Publish::to_queue("q", b"m"),
        Publish::to_queue("q", b"m").transient(),
        Publish::to_queue("nowhere", b"m"),
        Publish::to_queue("q", b"m"),
    ] {
        bytes.extend_from_slice(&peer.frames(1, &message));
    }
    peer.raw(&bytes).await;
    let mut acks = Vec::new();
    while acks.len() < 2 {
        match peer.method().await.1 {
            AMQPClass::Basic(basic::AMQPMethod::Ack(m)) => acks.push((m.delivery_tag, m.multiple)),
            other => panic!("no ack: {other:?}"),
        }
    }
    assert_eq!(acks, [(2, false), (3, false)]);
    // The persistent ones can never be written.
    peer.expect_nothing(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unroutable_mandatory_message_is_returned_before_its_confirm() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.confirm_select(1).await;
    let bytes = peer.frames(1, &Publish::to_queue("nowhere", b"back").mandatory());
    peer.raw(&bytes).await;
    let returned = peer.content().await;
    match returned.method {
        AMQPClass::Basic(basic::AMQPMethod::Return(m)) => {
            assert_eq!(
                (m.reply_code, m.reply_text.as_str(), m.routing_key.as_str()),
                (NO_ROUTE, "NO_ROUTE", "nowhere")
            );
        }
        other => panic!("not returned: {other:?}"),
    }
    assert_eq!(returned.body, b"back");
    assert_eq!(confirms(&mut peer, 1).await, [(1, true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_with_reject_publish_nacks() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let arguments = [
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    peer.declare_durable(1, "q", &arguments).await;
    peer.confirm_select(1).await;
    let mut bytes = Vec::new();
    for _ in 0..4 {
        bytes.extend_from_slice(&peer.frames(1, &Publish::to_queue("q", b"m")));
    }
    bytes.extend_from_slice(&peer.frames(1, &Publish::to_queue("nowhere", b"m")));
    peer.raw(&bytes).await;
    let expected = [(1, true), (2, true), (3, false), (4, false), (5, true)];
    assert_eq!(confirms(&mut peer, 5).await, expected);
    assert_eq!(server.ready("q"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_any_size_arrive_complete() {
    let server = TestServer::start().await;
    let mut peer = Peer::connect(
        server.address,
        Client {
            frame_max: 4_096,
            ..Client::default()
        },
    )
    .await;
    peer.open(1).await;
    peer.declare(1, "q").await;
    for size in [
        0, 1, 511, 512, 513, 4_087, 4_088, 4_089, 8_176, 100_000, 1_000_000,
    ] {
        let body: Vec<u8> = (0..size)
            .map(|i: u32| u8::try_from(i % 251).unwrap())
            .collect();
        peer.publish(1, "q", &body).await;
        assert!(
            peer.get_no_ack(1, "q").await.unwrap().body == body,
            "{size} bytes"
        );
    }
}

/// Answers to a client that does not read must not grow without bound, and none may be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_returns_is_no_longer_read() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    let body = vec![1; 100_000];
    let returned = peer.frames(
        1,
        &Publish::to_queue("nowhere", &body).mandatory().transient(),
    );
    let mut greedy = Peer::new(&server).await;
    // Each message is returned: far more than the sockets' buffers hold.
    let mut sent = 0;
    while sent < 1_000 {
        let write = timeout(Duration::from_secs(1), greedy.try_raw(&returned));
        if write.await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 1_000, "the broker has read everything");
    // Other clients are not affected.
    peer.publish(1, "q", b"m").await;
    eventually_eq("the message is there", 1, || server.ready("q")).await;
    assert!(peer.get_no_ack(1, "q").await.is_some());
    // The client goes on as soon as it reads.
    assert_eq!(greedy.content().await.body.len(), body.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_over_many_routes_arrive_in_order() {
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
            bytes.extend_from_slice(&peer.frames(1, &Publish::to_queue(queue, &body).transient()));
        }
    }
    for n in 2..2_052_u32 {
        bytes.extend_from_slice(
            &peer.frames(1, &Publish::to_queue("q0", &n.to_be_bytes()).transient()),
        );
    }
    peer.raw(&bytes).await;
    eventually_eq("all are there", (2_052, 2), || {
        (server.ready("q0"), server.ready("q64"))
    })
    .await;
    let mut reader = Peer::new(&server).await;
    for queue in &queues {
        for n in 0..if queue == "q0" { 2_052_u32 } else { 2 } {
            let got = reader.get_no_ack(1, queue).await.unwrap();
            assert_eq!(got.body, n.to_be_bytes());
        }
    }
}
