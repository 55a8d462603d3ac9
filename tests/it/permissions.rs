//! What a session may do when rights change under it, and methods that are about rights.

use leveret::wire::protocol::{access, basic, channel, connection, tx};
use leveret::wire::{AMQPClass, AMQPValue};

use crate::support::{Client, Peer, TestServer};

async fn update_secret(peer: &mut Peer, secret: &str) {
    let update = connection::UpdateSecret {
        new_secret: secret.into(),
        reason: "it was time".into(),
    };
    peer.send(
        0,
        AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(update)),
    )
    .await;
}

fn is_update_secret_ok(method: &AMQPClass) -> bool {
    matches!(
        method,
        AMQPClass::Connection(connection::AMQPMethod::UpdateSecretOk(_))
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_clients_get_their_ticket() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let request = access::Request {
        realm: "/data".into(),
        exclusive: false,
        passive: true,
        active: true,
        write: true,
        read: true,
    };
    let ok = peer
        .call(1, AMQPClass::Access(access::AMQPMethod::Request(request)))
        .await;
    assert!(
        matches!(ok, AMQPClass::Access(access::AMQPMethod::RequestOk(_))),
        "{ok:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_secret_is_not_looked_at() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    for secret in ["guest", "something else", ""] {
        update_secret(&mut peer, secret).await;
        let (channel, answer) = peer.method().await;
        assert!(channel == 0 && is_update_secret_ok(&answer), "{answer:?}");
    }
    peer.declare(1, "q").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_new_secret_consumers_must_still_have_the_right_to_read() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.open(2).await;
    for queue in ["kept", "lost"] {
        peer.declare(1, queue).await;
        peer.consume(1, queue, queue, false).await;
    }
    peer.consume(2, "lost", "on another channel", false).await;
    peer.publish(1, "lost", b"before").await;
    assert_eq!(peer.content().await.told().0, 1);
    server
        .broker
        .users()
        .set_permissions("guest", "/", [".*", ".*", "kept"])
        .await
        .unwrap();
    update_secret(&mut peer, "guest").await;
    let mut cancelled = Vec::new();
    loop {
        match peer.method().await {
            (channel, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel))) => {
                cancelled.push((channel, cancel.consumer_tag.to_string()));
            }
            (0, answer) if is_update_secret_ok(&answer) => break,
            other => panic!("neither cancelled nor answered: {other:?}"),
        }
    }
    assert_eq!(
        cancelled,
        [(1, "lost".to_owned()), (2, "on another channel".to_owned())]
    );
    assert_eq!((server.numbers("kept").2, server.numbers("lost").2), (1, 0));
    // What was delivered before may still be answered.
    peer.ack(1, 1, false).await;
    peer.publish(1, "kept", b"after").await;
    assert_eq!(peer.content().await.told().2, "after");
    assert_eq!(server.numbers("lost"), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_taken_away_hold_at_once() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"m").await;
    peer.nothing(1).await;
    let users = server.broker.users();
    users
        .set_permissions("guest", "/", [".*", "other", ".*"])
        .await
        .unwrap();
    // The route is remembered, the right is not.
    peer.publish(1, "q", b"m").await;
    let text = "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'guest'";
    assert_eq!(peer.closed().await, (403, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_channels_are_counted_over_all_connections() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    users
        .set_limits("guest", |limits| limits.max_channels = Some(3))
        .await
        .unwrap();
    let mut first = Peer::new(&server).await;
    first.open(2).await;
    let mut second = Peer::new(&server).await;
    let open = || AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
    second.send(2, open()).await;
    let text = "NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of (3)";
    assert_eq!(second.closed().await, (530, text.to_owned()));
    // Closing one makes room for another, on whatever connection.
    let close = channel::Close {
        reply_code: 200,
        reply_text: "".into(),
        class_id: 0,
        method_id: 0,
    };
    first
        .call(2, AMQPClass::Channel(channel::AMQPMethod::Close(close)))
        .await;
    let mut third = Peer::connect(server.address, Client::default()).await;
    third.open(7).await;
    third.open(8).await;
    first.send(2, open()).await;
    assert_eq!(first.closed().await, (530, text.to_owned()));
}

/// What is told when a message to `amq.topic` has these keys. The channel is opened anew afterwards.
async fn publish_with_keys(
    peer: &mut Peer,
    channel: u16,
    key: &str,
    headers: &[(&str, AMQPValue)],
) -> Option<String> {
    peer.publish_to(channel, "amq.topic", key, headers, "m")
        .await;
    let flow = channel::AMQPMethod::Flow(channel::Flow { active: true });
    peer.send(channel, AMQPClass::Channel(flow)).await;
    match peer.method().await.1 {
        AMQPClass::Channel(channel::AMQPMethod::FlowOk(_)) => None,
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
            let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
            peer.send(channel, AMQPClass::Channel(ok)).await;
            peer.open(channel).await;
            Some(close.reply_text.to_string())
        }
        other => panic!("{other:?}"),
    }
}

fn keys(keys: &[&str]) -> AMQPValue {
    let keys: Vec<AMQPValue> = keys
        .iter()
        .map(|key| AMQPValue::LongString((*key).into()))
        .collect();
    AMQPValue::FieldArray(keys.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_permissions_hold_for_every_routing_key() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    users
        .set_topic_permissions("guest", "/", "amq.topic", ["^mine", ".*"])
        .await
        .unwrap();
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.bind(1, "q", "amq.topic", "#").await;
    let text = |value: &str| AMQPValue::LongString(value.into());
    let refused = |key: &str| {
        Some(format!(
            "ACCESS_REFUSED - write access to topic '{key}' in exchange 'amq.topic' in vhost '/' refused for user 'guest'"
        ))
    };
    let delay = ("x-delay", AMQPValue::LongInt(3_600_000));
    for (key, headers, expected) in [
        ("a", vec![("CC", keys(&["b"]))], refused("a")),
        ("mine", vec![("CC", keys(&["mine.1", "b"]))], refused("b")),
        ("mine", vec![("BCC", keys(&["b"]))], refused("b")),
        (
            "mine",
            vec![("BCC", keys(&["b"])), ("CC", keys(&["c"]))],
            refused("c"),
        ),
        ("mine", vec![("CC", keys(&["b"])), delay], refused("b")),
        (
            "a",
            vec![("CC", text("b"))],
            Some("PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}".to_owned()),
        ),
    ] {
        let told = publish_with_keys(&mut peer, 1, key, &headers).await;
        assert_eq!(told, expected, "{key} {headers:?}");
    }
    peer.open(2).await;
    let select = tx::AMQPMethod::Select(tx::Select {});
    peer.call(2, AMQPClass::Tx(select)).await;
    let cc = [("CC", keys(&["b"]))];
    let told = publish_with_keys(&mut peer, 2, "mine", &cc).await;
    assert_eq!(told, refused("b"));
    assert_eq!(server.numbers("q"), (0, 0, 0));
    let cc = [("CC", keys(&["mine.1"])), ("BCC", keys(&["mine.2"]))];
    assert_eq!(publish_with_keys(&mut peer, 1, "mine", &cc).await, None);
    assert_eq!(server.numbers("q"), (1, 0, 0));
}
