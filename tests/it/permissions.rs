//! Permissions and limits of users: what an open connection may do when they change.

use leveret::wire::protocol::{access, basic, channel, connection, tx};
use leveret::wire::{AMQPClass, AMQPValue, BASIC_CLASS_ID, FRAME_OVERHEAD};

use crate::support::reply_code::{ACCESS_REFUSED, NOT_ALLOWED};
use crate::support::{Client, Peer, Publish, TestServer, keys, text};

const BASIC_PUBLISH_ID: u16 = 40;

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
async fn access_request_of_old_clients_is_granted() {
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
async fn update_secret_accepts_any_secret() {
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
async fn update_secret_cancels_consumers_that_have_lost_the_right_to_read() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.open(2).await;
    for queue in ["kept", "lost"] {
        peer.declare(1, queue).await;
        peer.consume(1, queue, queue).await;
    }
    peer.consume(2, "lost", "on another channel").await;
    peer.publish(1, "lost", b"before").await;
    assert_eq!(peer.content().await.delivery_tag(), 1);
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
    assert_eq!((server.consumers("kept"), server.consumers("lost")), (1, 0));
    // An earlier delivery may still be acked.
    peer.ack(1, 1).await;
    peer.publish(1, "kept", b"after").await;
    assert_eq!(peer.content().await.text(), "after");
    assert_eq!(server.numbers("lost"), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_permission_takes_effect_for_the_next_publish() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"m").await;
    peer.expect_nothing(1).await;
    let users = server.broker.users();
    users
        .set_permissions("guest", "/", [".*", "other", ".*"])
        .await
        .unwrap();
    // The channel caches the route, but not the permission.
    peer.publish(1, "q", b"m").await;
    let text = "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'guest'";
    assert_eq!(peer.closed().await, (ACCESS_REFUSED, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_channel_limit_of_a_user_counts_the_channels_of_all_its_connections() {
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
    assert_eq!(second.closed().await, (NOT_ALLOWED, text.to_owned()));
    // A closed channel frees its place for any connection of the user.
    first.close_channel(2).await;
    first.method().await;
    let mut third = Peer::connect(server.address, Client::default()).await;
    third.open(7).await;
    third.open(8).await;
    first.send(2, open()).await;
    assert_eq!(first.closed().await, (NOT_ALLOWED, text.to_owned()));
}

/// Publishes to `amq.topic`; returns the error that closes the channel, and opens it again.
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
            peer.send_channel_close_ok(channel).await;
            peer.open(channel).await;
            Some(close.reply_text.to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_permissions_apply_to_every_routing_key_of_a_message() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    users
        .set_topic_permissions("guest", "/", "amq.topic", ["^mine", ".*"])
        .await
        .unwrap();
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.bind(1, "q", "amq.topic", "#").await;
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
        let error = publish_with_keys(&mut peer, 1, key, &headers).await;
        assert_eq!(error, expected, "{key} {headers:?}");
    }
    peer.open(2).await;
    let select = tx::AMQPMethod::Select(tx::Select {});
    peer.call(2, AMQPClass::Tx(select)).await;
    let cc = [("CC", keys(&["b"]))];
    let error = publish_with_keys(&mut peer, 2, "mine", &cc).await;
    assert_eq!(error, refused("b"));
    assert_eq!(server.numbers("q"), (0, 0, 0));
    let cc = [("CC", keys(&["mine.1"])), ("BCC", keys(&["mine.2"]))];
    assert_eq!(publish_with_keys(&mut peer, 1, "mine", &cc).await, None);
    assert_eq!(server.numbers("q"), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_open_checks_the_user_again_but_not_the_password() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    let all = [".*", ".*", ".*"];
    let mut peers = Vec::new();
    for name in ["gone", "limited", "changed"] {
        users.add(name, b"pw", Vec::new()).await.unwrap();
        users.set_permissions(name, "/", all).await.unwrap();
        let mut peer = Peer::log_in(server.address, Client::default(), name, "pw").await;
        peer.method().await;
        peers.push(peer);
    }
    users.delete("gone").await.unwrap();
    users
        .set_limits("limited", |limits| limits.max_connections = Some(0))
        .await
        .unwrap();
    users.change_password("changed", b"other").await.unwrap();
    let mut answers = Vec::new();
    for peer in &mut peers {
        answers.push(match peer.open_vhost("/").await {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
                close.reply_text.to_string()
            }
            AMQPClass::Connection(connection::AMQPMethod::OpenOk(_)) => "open".to_owned(),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(
        answers,
        [
            "NOT_ALLOWED - access to vhost '/' refused for user 'gone'",
            "NOT_ALLOWED - connection refused for user 'limited': user connection limit (0) is reached",
            // As in RabbitMQ: the password was right at the login.
            "open",
        ]
    );
    assert_eq!(server.broker.connections().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_to_publish_is_checked_before_the_body_comes() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    users.add("reader", b"pw", Vec::new()).await.unwrap();
    users
        .set_permissions("reader", "/", ["", "", ".*"])
        .await
        .unwrap();
    let mut peer = Peer::log_in(server.address, Client::default(), "reader", "pw").await;
    peer.method().await;
    peer.open_vhost("/").await;
    peer.open(1).await;
    let whole = peer.frames(1, &Publish::to_queue("q", &[7; 100_000]).transient());
    // The method alone; header and body follow when the channel is closed.
    let method_size = u32::from_be_bytes(whole[3..7].try_into().unwrap());
    let method_length = usize::try_from(method_size).unwrap() + FRAME_OVERHEAD;
    let (method, rest) = whole.split_at(method_length);
    peer.raw(method).await;
    let (_, refused) = peer.method().await;
    let AMQPClass::Channel(channel::AMQPMethod::Close(close)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (
            close.reply_code,
            close.class_id,
            close.method_id,
            close.reply_text.as_str()
        ),
        (
            ACCESS_REFUSED,
            BASIC_CLASS_ID,
            BASIC_PUBLISH_ID,
            "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'reader'"
        )
    );
    peer.raw(rest).await;
    peer.send_channel_close_ok(1).await;
    peer.open(1).await;
    peer.expect_nothing(1).await;
}
