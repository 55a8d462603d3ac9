//! How connections end: which side closes the socket, when, and whether it is reset; and who is not let in.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use leveret::wire::protocol::connection::{AMQPMethod, Close, CloseOk};
use leveret::wire::protocol::{basic, channel};
use leveret::wire::{AMQPClass, FrameKind, HEARTBEAT};

use crate::support::{Client, Event, PATIENCE, Peer, TestServer, eventually};

/// How long a socket may take nothing.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

fn close() -> AMQPClass {
    AMQPClass::Connection(AMQPMethod::Close(Close {
        reply_code: 200,
        reply_text: "bye".into(),
        class_id: 0,
        method_id: 0,
    }))
}

async fn with_heartbeat(server: &TestServer, heartbeat: u16) -> Peer {
    let client = Client {
        heartbeat,
        ..Client::default()
    };
    Peer::connect(server.address, client).await
}

async fn is_reset(peer: &mut Peer) {
    let ended = peer.ended().await.map_err(|error| error.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
}

/// A client that saw the end of the stream together with `close-ok` could take its connection for lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_close_ok_the_socket_is_left_to_the_client() {
    let server = TestServer::start().await;
    // Whatever it still says, for as long as its heartbeat; `close-ok` or its own end end it at once.
    let mut waits = with_heartbeat(&server, 2).await;
    let began = Instant::now();
    for _ in 0..2 {
        let answer = waits.call(0, close()).await;
        assert!(matches!(
            answer,
            AMQPClass::Connection(AMQPMethod::CloseOk(_))
        ));
    }
    is_reset(&mut waits).await;
    assert!(began.elapsed() > Duration::from_millis(1_900));
    let mut goes = with_heartbeat(&server, 0).await;
    goes.call(0, close()).await;
    goes.stop_sending().await;
    is_reset(&mut goes).await;
    let mut answers = with_heartbeat(&server, 0).await;
    answers.call(0, close()).await;
    answers
        .send(0, AMQPClass::Connection(AMQPMethod::CloseOk(CloseOk {})))
        .await;
    is_reset(&mut answers).await;
    assert!(server.broker.connections().is_empty());
}

/// One that has closed its connection, and keeps its socket, does not hold up the end of the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_closed_is_not_asked_to_close() {
    let server = TestServer::start().await;
    let mut peer = with_heartbeat(&server, 0).await;
    peer.call(0, close()).await;
    server.broker.connections().close_where("enough", |_| true);
    is_reset(&mut peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_has_a_heartbeat_every_half_interval() {
    let server = TestServer::start().await;
    let mut peer = with_heartbeat(&server, 1).await;
    let mut last = Instant::now();
    for _ in 0..6 {
        assert_eq!(peer.next().await, Event::Heartbeat);
        peer.raw(&HEARTBEAT).await;
        assert!(
            last.elapsed() < Duration::from_millis(950),
            "{:?}",
            last.elapsed()
        );
        last = Instant::now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_understood_resets_the_socket() {
    let server = TestServer::start().await;
    let mut unknown = Peer::new(&server).await;
    unknown.frame(FrameKind::Method, 1, &[0, 99, 0, 99]).await;
    is_reset(&mut unknown).await;
    let client = Client {
        capabilities: false,
        ..Client::default()
    };
    // Without the capability nothing is said, and it takes a while.
    let began = Instant::now();
    let mut stranger = Peer::log_in(server.address, client.clone(), "guest", "wrong").await;
    is_reset(&mut stranger).await;
    assert!(began.elapsed() > Duration::from_millis(2_900));
    // Unless the client goes first.
    let began = Instant::now();
    let mut stranger = Peer::log_in(server.address, client, "guest", "wrong").await;
    stranger.stop_sending().await;
    is_reset(&mut stranger).await;
    assert!(began.elapsed() < Duration::from_millis(2_900));
}

/// The user is looked up again when a virtual host is opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_is_deleted_after_its_login_is_not_let_in() {
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
        answers.push(match peer.enter("/").await {
            AMQPClass::Connection(AMQPMethod::Close(close)) => close.reply_text.to_string(),
            AMQPClass::Connection(AMQPMethod::OpenOk(_)) => "open".to_owned(),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(
        answers,
        [
            "NOT_ALLOWED - access to vhost '/' refused for user 'gone'",
            "NOT_ALLOWED - connection refused for user 'limited': user connection limit (0) is reached",
            // As in RabbitMQ: the password was right when it was asked for.
            "open",
        ]
    );
    assert_eq!(server.broker.connections().len(), 1);
}

/// Heartbeats show that the client lives, but not that it reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_given_up_and_its_messages_go_back() {
    let server = TestServer::start().await;
    let mut publisher = Peer::new(&server).await;
    publisher.declare(1, "q").await;
    let body = vec![7; 1024 * 1024];
    for _ in 0..64 {
        publisher.publish(1, "q", &body).await;
    }
    eventually("all are there", || server.numbers("q").0 == 64).await;
    let mut stuck = with_heartbeat(&server, 10).await;
    stuck.open(1).await;
    let consume = basic::Consume {
        queue: "q".into(),
        consumer_tag: "".into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: true,
        arguments: Default::default(),
    };
    stuck.basic(1, basic::AMQPMethod::Consume(consume)).await;
    eventually("it is sent some", || server.numbers("q").1 > 0).await;
    let began = Instant::now();
    while server.broker.connections().len() == 2 {
        assert!(began.elapsed() < SEND_TIMEOUT + PATIENCE);
        stuck.try_raw(&HEARTBEAT).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() > SEND_TIMEOUT - Duration::from_secs(5));
    eventually("they are back", || server.numbers("q").0 == 64).await;
    is_reset(&mut stuck).await;
}

/// Who may not publish to an exchange is told so before a body comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_are_checked_before_a_body_comes() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    users.add("reader", b"pw", Vec::new()).await.unwrap();
    users
        .set_permissions("reader", "/", ["", "", ".*"])
        .await
        .unwrap();
    let mut peer = Peer::log_in(server.address, Client::default(), "reader", "pw").await;
    peer.method().await;
    peer.enter("/").await;
    peer.open(1).await;
    let whole = peer.publish_bytes(1, "q", false, false, &[7; 100_000]);
    // The method alone; header and body come when the channel is closed.
    let (method, rest) = whole.split_at(18);
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
            403,
            60,
            40,
            "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'reader'"
        )
    );
    peer.raw(rest).await;
    peer.send(
        1,
        AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
    )
    .await;
    peer.open(1).await;
    peer.nothing(1).await;
}

/// Messages half sent have a bound per connection; others publish on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_messages_half_sent_is_held_back() {
    const MIB: usize = 1024 * 1024;
    let server = TestServer::start().await;
    let mut greedy = Peer::connect(server.address, Client::default()).await;
    for number in 1..=12 {
        greedy.open(number).await;
    }
    let mut sent = 0;
    for number in 1..=12 {
        let mut bytes = greedy.publish_bytes(number, "nowhere", false, false, &vec![7; 12 * MIB]);
        // All but the last frame of the body.
        bytes.truncate(bytes.len() - (12 * MIB % (131_072 - 8) + 8));
        let taken = tokio::time::timeout(Duration::from_secs(5), greedy.try_raw(&bytes)).await;
        if taken.is_err() {
            break;
        }
        sent += 12 * MIB;
    }
    // What the system holds of it comes on top, up to 36 MiB.
    assert!((48 * MIB..=108 * MIB).contains(&sent), "{sent}");
    let mut other = Peer::new(&server).await;
    other.declare(1, "q").await;
    other.publish(1, "q", &vec![7; 16 * MIB]).await;
    eventually("the other is served", || server.numbers("q").0 == 1).await;
}
