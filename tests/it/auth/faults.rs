//! A server of the backend `http` that hangs, fails, floods or is away.

use super::auth_server::{ALLOW, Answer, Asked, AuthServer, declare_queue};
use crate::support::reply_code::{ACCESS_REFUSED, NOT_ALLOWED};
use crate::support::{Client, Peer, TestServer, eventually};

/// A wait that is long for the broker and short for a test.
const SHORT_TIMEOUT: (&str, &str) = ("auth-http-timeout", "300");

async fn connect(server: &TestServer, user: &str) -> Peer {
    let mut peer = Peer::log_in(server.address, Client::default(), user, "pw").await;
    peer.method().await;
    peer.open_vhost("/").await;
    peer.open(1).await;
    peer
}

/// A broker that waits for a short time, on a server that follows this rule.
async fn start(rule: impl Fn(&Asked) -> Answer + Send + 'static) -> (AuthServer, TestServer) {
    let auth = AuthServer::start(rule).await;
    let server = auth.broker_with(&["http"], &[SHORT_TIMEOUT]).await;
    (auth, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_refused_when_the_server_gives_no_answer() {
    for answer in [
        Answer::Hang,
        Answer::Status(500),
        Answer::Status(302),
        Answer::Flood(10 << 20),
        Answer::Text("<html>"),
    ] {
        let (_auth, server) = start(move |_| answer).await;
        let mut peer = Peer::log_in(server.address, Client::default(), "ann", "pw").await;
        assert_eq!(peer.closed().await.0, ACCESS_REFUSED, "{answer:?}");
    }
    // No one listens there.
    let auth = AuthServer::start(|_| ALLOW).await;
    let nowhere = ("auth-http-user-url", "http://127.0.0.1:1/");
    let server = auth.broker_with(&["http"], &[nowhere]).await;
    let mut peer = Peer::log_in(server.address, Client::default(), "ann", "pw").await;
    assert_eq!(peer.closed().await.0, ACCESS_REFUSED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_is_refused_with_the_reason() {
    for (answer, why) in [
        (Answer::Hang, "timeout"),
        (Answer::Status(500), "status 500 Internal Server Error"),
        (
            Answer::Flood(10 << 20),
            "an answer of more than 65536 bytes",
        ),
        (Answer::Text("allow tag"), "neither allow nor deny"),
    ] {
        let (auth, server) = start(|_| ALLOW).await;
        let mut peer = connect(&server, "ann").await;
        auth.rule(move |_| answer);
        peer.send(1, declare_queue("q")).await;
        let text = format!(
            "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'ann', \
             backend rabbit_auth_backend_http returned an error: {why}"
        );
        assert_eq!(peer.closed().await, (ACCESS_REFUSED, text));
        let mut other = Peer::log_in(server.address, Client::default(), "ann", "pw").await;
        other.method().await;
        server
            .broker
            .add_vhost("v", Default::default())
            .await
            .unwrap();
        other.send_open("v").await;
        let (code, text) = other.closed().await;
        assert_eq!(code, NOT_ALLOWED);
        assert!(text.ends_with(why), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_go_on_while_the_check_of_another_hangs() {
    let auth = AuthServer::start(|asked| match asked.get("name") {
        "hangs" => Answer::Hang,
        _ => ALLOW,
    })
    .await;
    let server = auth.broker().await;
    let mut ann = connect(&server, "ann").await;
    let mut bob = connect(&server, "bob").await;
    ann.declare(1, "q").await;
    bob.send(1, declare_queue("hangs")).await;
    eventually("bob's question has come", || {
        let asked = auth.asked.lock();
        asked.iter().any(|asked| asked.get("name") == "hangs")
    })
    .await;
    for n in 0..100 {
        ann.publish(1, "q", b"x").await;
        if n == 50 {
            ann.declare(1, "another").await;
        }
    }
    assert!(ann.get(1, "q").await.is_some());
    eventually("all messages are there", || server.numbers("q").0 == 99).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_goes_on_while_the_server_is_away() {
    let auth = AuthServer::start(|_| ALLOW).await;
    let options = [("auth-cache-ttl", "50"), SHORT_TIMEOUT];
    let server = auth.broker_with(&["http"], &options).await;
    let mut ann = connect(&server, "ann").await;
    ann.confirm_select(1).await;
    ann.declare(1, "q").await;
    ann.publish(1, "q", b"x").await;
    ann.method().await;
    auth.take_asked();
    auth.rule(|_| Answer::Status(503));
    // Beyond the time of the answer, and of the next ones.
    let mut published = 1;
    while auth.asked.lock().len() < 3 {
        ann.publish(1, "q", b"x").await;
        let (_, confirm) = ann.method().await;
        assert!(format!("{confirm:?}").contains("Ack"), "{confirm:?}");
        published += 1;
    }
    assert_eq!(server.numbers("q").0, published);
}
