//! Publisher confirms, returns, and what a queue refuses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leveret::store::faulty::{Call, Fault, FaultyStore, What, When};
use leveret::wire::protocol::basic;
use leveret::wire::{AMQPClass, AMQPValue};
use tokio::time::timeout;

use crate::support::{Client, Peer, TestServer, eventually};

/// Reads confirms until `count` messages are answered: their numbers, in order, with whether they were acked.
async fn answers(peer: &mut Peer, count: u64) -> Vec<(u64, bool)> {
    let mut answered: BTreeMap<u64, bool> = BTreeMap::new();
    let mut all_before = 0;
    while (answered.len() as u64) < count {
        let (tag, multiple, ack) = match peer.method().await.1 {
            AMQPClass::Basic(basic::AMQPMethod::Ack(m)) => (m.delivery_tag, m.multiple, true),
            AMQPClass::Basic(basic::AMQPMethod::Nack(m)) => (m.delivery_tag, m.multiple, false),
            other => panic!("no confirm: {other:?}"),
        };
        assert!(!answered.contains_key(&tag), "{tag} was answered before");
        let first = if multiple { all_before + 1 } else { tag };
        for tag in first..=tag {
            answered.entry(tag).or_insert(ack);
        }
        if multiple {
            all_before = tag;
        }
    }
    answered.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_confirmed_once() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_with(1, "q", true, &[]).await;
    peer.confirm_select(1).await;
    let mut bytes = Vec::new();
    for i in 0..5_000_u32 {
        let key = if i % 7 == 0 { "nowhere" } else { "q" };
        bytes.extend_from_slice(&peer.publish_bytes(1, key, i % 3 > 0, false, &i.to_be_bytes()));
    }
    peer.raw(&bytes).await;
    let answered = answers(&mut peer, 5_000).await;
    assert_eq!(
        answered,
        (1..=5_000).map(|tag| (tag, true)).collect::<Vec<_>>()
    );
    let server = server.restart().await;
    let mut peer = Peer::new(&server).await;
    for i in (0..5_000_u32).filter(|i| i % 7 > 0 && i % 3 > 0) {
        assert_eq!(peer.get(1, "q", true).await.unwrap().body, i.to_be_bytes());
    }
    assert_eq!(peer.get(1, "q", true).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transient_messages_do_not_wait_for_the_disk() {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let server = TestServer::start_on(store.clone()).await;
    let mut peer = Peer::new(&server).await;
    peer.declare_with(1, "q", true, &[]).await;
    peer.confirm_select(1).await;
    let what = What::PowerLoss;
    let (at, when) = (Call::Sync(store.syncs() + 1), When::Before);
    store.add_fault(Fault { at, when, what });
    let mut bytes = Vec::new();
    for (key, persistent) in [("q", true), ("q", false), ("nowhere", true), ("q", true)] {
        bytes.extend_from_slice(&peer.publish_bytes(1, key, persistent, false, b"m"));
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
    // The disk will never have the other two.
    peer.nothing(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_comes_before_its_confirm() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.confirm_select(1).await;
    let bytes = peer.publish_bytes(1, "nowhere", true, true, b"back");
    peer.raw(&bytes).await;
    let returned = peer.content().await;
    match returned.method {
        AMQPClass::Basic(basic::AMQPMethod::Return(m)) => {
            assert_eq!(
                (m.reply_code, m.reply_text.as_str(), m.routing_key.as_str()),
                (312, "NO_ROUTE", "nowhere")
            );
        }
        other => panic!("not returned: {other:?}"),
    }
    assert_eq!(returned.body, b"back");
    assert_eq!(answers(&mut peer, 1).await, [(1, true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_nacks() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let arguments = [
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    peer.declare_with(1, "q", true, &arguments).await;
    peer.confirm_select(1).await;
    let mut bytes = Vec::new();
    for _ in 0..4 {
        bytes.extend_from_slice(&peer.publish_bytes(1, "q", true, false, b"m"));
    }
    bytes.extend_from_slice(&peer.publish_bytes(1, "nowhere", true, false, b"m"));
    peer.raw(&bytes).await;
    let expected = [(1, true), (2, true), (3, false), (4, false), (5, true)];
    assert_eq!(answers(&mut peer, 5).await, expected);
    assert_eq!(server.numbers("q").0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_any_size_arrive_whole() {
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
            peer.get(1, "q", true).await.unwrap().body == body,
            "{size} bytes"
        );
    }
}

/// A client that sends without reading must not make the broker hold the answers without bound, nor must a
/// client that reads late lose any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_not_read_stop_the_reading() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    let body = vec![1; 100_000];
    let returned = peer.publish_bytes(1, "nowhere", false, true, &body);
    let mut greedy = Peer::new(&server).await;
    // Each is sent back: far more than sockets hold.
    let mut sent = 0;
    while sent < 1_000 {
        let write = timeout(Duration::from_secs(1), greedy.try_raw(&returned));
        if write.await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 1_000, "the broker has taken everything");
    // Others are not affected.
    peer.publish(1, "q", b"m").await;
    eventually("the message is there", || server.numbers("q").0 == 1).await;
    assert!(peer.get(1, "q", true).await.is_some());
    // Whoever reads after all gets on.
    assert_eq!(greedy.content().await.body.len(), body.len());
}
