//! Direct reply-to: replies through `amq.rabbitmq.reply-to`.

use leveret::wire::protocol::{basic, queue, tx};
use leveret::wire::{AMQPClass, FieldTable, decode_properties};

use crate::support::reply_code::{ACCESS_REFUSED, PRECONDITION_FAILED};
use crate::support::{Event, Peer, Publish, TestServer, declare, eventually, keys};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Sends a request to queue `q` that asks for an answer.
async fn request(peer: &mut Peer) {
    let request = Publish::to_queue("q", b"")
        .transient()
        .with(|properties| properties.with_reply_to(REPLY_TO.into()));
    peer.publish_as(1, &request).await;
}

/// Whether a passive declare finds the queue; if not, it closes the channel.
async fn exists(peer: &mut Peer, name: &str) -> bool {
    let declare = queue::Declare {
        passive: true,
        ..declare(name)
    };
    peer.send(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
        .await;
    match peer.method().await.1 {
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => {
            assert_eq!((ok.message_count, ok.consumer_count), (0, 1));
            true
        }
        AMQPClass::Channel(_) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_reaches_its_requester_until_the_requester_cancels() {
    let server = TestServer::start().await;
    let (mut requester, mut worker) = (Peer::new(&server).await, Peer::new(&server).await);
    worker.declare(1, "q").await;
    requester.consume_no_ack(1, REPLY_TO, "answers").await;
    request(&mut requester).await;
    worker.consume_no_ack(1, "q", "work").await;
    let work = worker.content().await;
    let reply_to = decode_properties(&work.properties)
        .unwrap()
        .reply_to()
        .clone()
        .unwrap();
    assert!(
        reply_to.as_str().starts_with("amq.rabbitmq.reply-to."),
        "{reply_to}"
    );
    assert!(exists(&mut worker, reply_to.as_str()).await);
    worker.publish(1, reply_to.as_str(), b"42").await;
    let answer = requester.content().await;
    assert_eq!(answer.body, b"42");
    match answer.method {
        AMQPClass::Basic(basic::AMQPMethod::Deliver(m)) => {
            assert_eq!(
                (m.consumer_tag.as_str(), m.routing_key.as_str()),
                ("answers", reply_to.as_str())
            );
        }
        other => panic!("{other:?}"),
    }
    requester.cancel(1, "answers").await;
    requester.method().await;
    worker.publish(1, reply_to.as_str(), b"too late").await;
    requester.expect_nothing(1).await;
    assert!(!exists(&mut worker, reply_to.as_str()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_consumer_of_replies_is_refused() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    request(&mut peer).await;
    let text = "PRECONDITION_FAILED - fast reply consumer does not exist";
    assert_eq!(peer.closed().await, (PRECONDITION_FAILED, text.to_owned()));
}

const REPLY_BYTES: usize = 16 * 1024;
/// More replies than the broker buffers for a requester.
const REPLIES: usize = 700;
/// More replies than the broker (8 MiB) and the buffers of both sockets (10 MiB) hold for a requester that does not read.
const REPLIES_BEYOND_BUFFERS: usize = 1_600;
/// The broker stops reading from a sender of replies after this many bytes at the latest.
const READ_BEFORE_WAITING: u64 = 8 * 1024 * 1024;

/// Consumes replies; returns the address for them.
async fn wait_for_answers(server: &TestServer, requester: &mut Peer) -> String {
    let mut reader = Peer::new(server).await;
    reader.declare(1, "q").await;
    requester.consume_no_ack(1, REPLY_TO, "answers").await;
    request(requester).await;
    let work = loop {
        if let Some(work) = reader.get_no_ack(1, "q").await {
            break work;
        }
    };
    let properties = decode_properties(&work.properties).unwrap();
    properties.reply_to().clone().unwrap().to_string()
}

fn nth(n: usize) -> Vec<u8> {
    let mut body = format!("{n} ").into_bytes();
    body.resize(REPLY_BYTES, b'.');
    body
}

/// Sends replies; the socket makes it wait while the broker does not read.
async fn send_replies(peer: &mut Peer, address: &str, replies: usize) {
    for n in 0..replies {
        peer.publish(1, address, &nth(n)).await;
    }
}

/// Waits until the broker has read so much from one connection that it no longer reads from it.
async fn until_sender_waits(server: &TestServer) {
    eventually("the sender waits", || {
        let connections = server.broker.connections().list();
        let mut received = connections.iter().map(|info| info.status().received_bytes);
        received.any(|bytes| bytes > READ_BEFORE_WAITING)
    })
    .await;
}

async fn read_replies(peer: &mut Peer) {
    for n in 0..REPLIES {
        let answer = peer.content().await;
        assert!(answer.body == nth(n), "reply {n}");
        match answer.method {
            AMQPClass::Basic(basic::AMQPMethod::Deliver(m)) => {
                assert_eq!(usize::try_from(m.delivery_tag).unwrap(), n + 1);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_requester_gets_all_replies_and_their_sender_has_to_wait() {
    let server = TestServer::start().await;
    let (mut requester, mut worker) = (Peer::new(&server).await, Peer::new(&server).await);
    let address = wait_for_answers(&server, &mut requester).await;
    worker.confirm_select(1).await;
    let sender = tokio::spawn(async move {
        send_replies(&mut worker, &address, REPLIES).await;
        worker
    });
    // The requester reads nothing until the sender has to wait: some replies are not confirmed yet.
    until_sender_waits(&server).await;
    read_replies(&mut requester).await;
    let mut worker = sender.await.unwrap();
    let mut confirmed = 0;
    while confirmed < REPLIES as u64 {
        match worker.method().await.1 {
            AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => confirmed = ack.delivery_tag,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requesters_may_reply_to_themselves_and_to_each_other() {
    let server = TestServer::start().await;
    let (mut a, mut b) = (Peer::new(&server).await, Peer::new(&server).await);
    let to_a = wait_for_answers(&server, &mut a).await;
    send_replies(&mut a, &to_a, REPLIES).await;
    read_replies(&mut a).await;
    let (mut a, to_a) = {
        let mut fresh = Peer::new(&server).await;
        let address = wait_for_answers(&server, &mut fresh).await;
        (fresh, address)
    };
    let to_b = wait_for_answers(&server, &mut b).await;
    tokio::join!(
        send_replies(&mut a, &to_b, REPLIES),
        send_replies(&mut b, &to_a, REPLIES)
    );
    tokio::join!(read_replies(&mut a), read_replies(&mut b));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_waits_for_a_requester_goes_on_when_the_requester_leaves() {
    let server = TestServer::start().await;
    let (mut requester, mut worker) = (Peer::new(&server).await, Peer::new(&server).await);
    let address = wait_for_answers(&server, &mut requester).await;
    let sender = tokio::spawn(async move {
        send_replies(&mut worker, &address, REPLIES_BEYOND_BUFFERS).await;
        worker.expect_nothing(1).await;
    });
    until_sender_waits(&server).await;
    drop(requester);
    sender.await.unwrap();
}

/// Publishes a mandatory message with further keys in CC; returns whether it came back.
async fn is_returned(peer: &mut Peer, key: &str, cc: &[&str]) -> bool {
    let message = Publish::to_queue(key, b"")
        .transient()
        .with_headers(&[("CC", keys(cc))])
        .mandatory();
    peer.publish_as(1, &message).await;
    match peer.method().await.1 {
        AMQPClass::Basic(basic::AMQPMethod::Ack(_)) => false,
        AMQPClass::Basic(basic::AMQPMethod::Return(_)) => {
            assert!(matches!(peer.next().await, Event::Header(..)));
            let ack = peer.method().await.1;
            assert!(matches!(ack, AMQPClass::Basic(basic::AMQPMethod::Ack(_))));
            true
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_is_delivered_once_whatever_its_keys_and_is_not_returned() {
    let server = TestServer::start().await;
    let (mut requester, mut worker) = (Peer::new(&server).await, Peer::new(&server).await);
    let address = wait_for_answers(&server, &mut requester).await;
    worker.confirm_select(1).await;
    assert!(!is_returned(&mut worker, &address, &[&address, &address]).await);
    assert!(!is_returned(&mut worker, "nowhere", &[&address]).await);
    assert!(!is_returned(&mut worker, "q", &[&address]).await);
    for expected in 1..=3 {
        assert_eq!(requester.content().await.delivery_tag(), expected);
    }
    requester.expect_nothing(1).await;
    assert_eq!(server.numbers("q"), (1, 0, 0));
    for name in [
        "amq.rabbitmq.reply-to.nonsense.abc",
        "amq.rabbitmq.reply-to.",
    ] {
        assert!(is_returned(&mut worker, name, &[]).await, "{name}");
    }
    drop(requester);
    eventually("the requester has left", || {
        server.broker.connections().list().len() < 2
    })
    .await;
    assert!(!is_returned(&mut worker, &address, &[]).await, "was routed");
    worker
        .send(
            1,
            AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
                queue: address.as_str().into(),
                exchange: "amq.direct".into(),
                routing_key: "k".into(),
                nowait: false,
                arguments: FieldTable::default(),
            })),
        )
        .await;
    let text = "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue";
    assert_eq!(worker.closed().await, (ACCESS_REFUSED, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_in_a_transaction_is_delivered_at_the_commit() {
    let server = TestServer::start().await;
    let (mut requester, mut worker) = (Peer::new(&server).await, Peer::new(&server).await);
    let address = wait_for_answers(&server, &mut requester).await;
    let call = |method| AMQPClass::Tx(method);
    let select = call(tx::AMQPMethod::Select(tx::Select {}));
    worker.call(1, select).await;
    worker.publish(1, &address, b"discarded").await;
    let rollback = call(tx::AMQPMethod::Rollback(tx::Rollback {}));
    worker.call(1, rollback).await;
    worker.publish(1, &address, b"sent").await;
    worker.expect_nothing(1).await;
    requester.expect_nothing(1).await;
    let commit = call(tx::AMQPMethod::Commit(tx::Commit {}));
    let ok = worker.call(1, commit).await;
    assert!(matches!(ok, AMQPClass::Tx(tx::AMQPMethod::CommitOk(_))));
    assert_eq!(requester.content().await.text(), "sent");
}
