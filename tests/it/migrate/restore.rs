//! The restore exchange: messages enter a queue with the exchange and routing key that they had elsewhere.

use bytes::BytesMut;
use leveret::model::{RESTORE_EXCHANGE, with_provenance};
use leveret::wire::protocol::{basic, queue};
use leveret::wire::{AMQPClass, FieldTable, encode_method, put_body_frame, put_content_header};

use crate::support::reply_code::{ACCESS_REFUSED, PRECONDITION_FAILED};
use crate::support::{Client, Peer, TestServer};

/// A user id, headers with two fields of one name, one of them an unsigned short, and one whose name is not UTF-8.
const ODD: &[u8] = b"\x20\x10\0\0\0\x0d\x01bt\x01\x01bu\0\x07\x02\xff\xfeV\x05other";
const PLAIN: &[u8] = b"\0\0";
const DEAD: &[u8] = b"\x20\0\0\0\0\x0d\x07x-deathA\0\0\0\0";

fn restored(queue: &str, raw: &[u8], failures: u32) -> BytesMut {
    content(
        queue,
        &with_provenance(raw, "gone", "a.b", failures).unwrap(),
    )
}

/// The frames of a message for the restore exchange.
fn content(queue: &str, properties: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    let publish = basic::Publish {
        exchange: RESTORE_EXCHANGE.into(),
        routing_key: queue.into(),
        mandatory: true,
        immediate: false,
    };
    let method = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
    encode_method(&mut out, 1, &method);
    put_content_header(&mut out, 1, properties, 1);
    put_body_frame(&mut out, 1, b"m");
    out
}

async fn confirming(server: &TestServer) -> Peer {
    let mut peer = Peer::new(server).await;
    peer.declare_durable(1, "q", &[]).await;
    peer.confirm_select(1).await;
    peer
}

async fn expect_confirm(peer: &mut Peer) {
    let (_, method) = peer.method().await;
    assert!(
        matches!(method, AMQPClass::Basic(basic::AMQPMethod::Ack(_))),
        "{method:?}"
    );
}

#[tokio::test]
async fn a_restored_message_is_delivered_as_it_was_elsewhere() {
    let server = TestServer::start().await;
    let mut peer = confirming(&server).await;
    for (raw, failures) in [
        (ODD, 0),
        (PLAIN, 0),
        (b"\x20\0\0\0\0\0", 0),
        (ODD, 1),
        (DEAD, 2),
    ] {
        peer.raw(&restored("q", raw, failures)).await;
        expect_confirm(&mut peer).await;
        let got = peer.get_no_ack(1, "q").await.unwrap();
        assert_eq!(got.properties, raw);
        assert_eq!(got.body, b"m");
        let AMQPClass::Basic(basic::AMQPMethod::GetOk(method)) = got.method else {
            panic!("{got:?}");
        };
        let origin = (method.exchange.as_str(), method.routing_key.as_str());
        assert_eq!(origin, ("gone", "a.b"));
        assert_eq!(method.redelivered, failures > 0, "{raw:?}");
    }
}

#[tokio::test]
async fn failed_deliveries_count_on_in_a_quorum_queue() {
    let server = TestServer::start().await;
    let mut peer = confirming(&server).await;
    let quorum = [(
        "x-queue-type",
        leveret::wire::AMQPValue::LongString("quorum".into()),
    )];
    peer.declare_durable(1, "quorum", &quorum).await;
    peer.raw(&restored("quorum", PLAIN, 3)).await;
    expect_confirm(&mut peer).await;
    let got = peer.get(1, "quorum").await.unwrap();
    let count = got.headers().inner().get("x-delivery-count").cloned();
    assert_eq!(count, Some(leveret::wire::AMQPValue::LongLongInt(3)));
}

#[tokio::test]
async fn a_restored_message_without_its_queue_is_returned() {
    let server = TestServer::start().await;
    let mut peer = confirming(&server).await;
    peer.raw(&restored("none", PLAIN, 0)).await;
    let returned = peer.content().await;
    let AMQPClass::Basic(basic::AMQPMethod::Return(method)) = &returned.method else {
        panic!("{returned:?}");
    };
    assert_eq!(method.reply_code, 312);
    expect_confirm(&mut peer).await;
}

#[tokio::test]
async fn only_administrators_restore_messages() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    users.add("plain", b"pw", Vec::new()).await.unwrap();
    users
        .set_permissions("plain", "/", [".*"; 3])
        .await
        .unwrap();
    let mut peer = Peer::log_in(server.address, Client::default(), "plain", "pw").await;
    peer.method().await;
    peer.open_vhost("/").await;
    peer.open(1).await;
    peer.raw(&restored("q", PLAIN, 0)).await;
    let error = "ACCESS_REFUSED - write access to exchange 'amq.leveret.restore' in vhost '/' refused for user 'plain'";
    assert_eq!(peer.closed().await, (ACCESS_REFUSED, error.to_owned()));
}

#[tokio::test]
async fn a_message_without_its_origin_is_refused() {
    let server = TestServer::start().await;
    let mut peer = confirming(&server).await;
    peer.raw(&content("q", PLAIN)).await;
    let error =
        "PRECONDITION_FAILED - message for exchange 'amq.leveret.restore' without its origin";
    assert_eq!(peer.closed().await, (PRECONDITION_FAILED, error.to_owned()));
}

#[tokio::test]
async fn the_restore_exchange_cannot_be_bound() {
    let server = TestServer::start().await;
    let mut peer = confirming(&server).await;
    let bind = queue::Bind {
        queue: "q".into(),
        exchange: RESTORE_EXCHANGE.into(),
        routing_key: "".into(),
        nowait: false,
        arguments: FieldTable::default(),
    };
    peer.send(1, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)))
        .await;
    let error = "PRECONDITION_FAILED - exchange 'amq.leveret.restore' in vhost '/' cannot be bound";
    assert_eq!(peer.closed().await, (PRECONDITION_FAILED, error.to_owned()));
}
