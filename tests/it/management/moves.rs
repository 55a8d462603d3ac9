//! Moving messages from queue to queue.

use serde_json::json;

use super::Client;
use super::check::{NONE, check};
use crate::support::{Peer, TestServer, eventually_eq, long, text};

const MOVE: &str = "/api/leveret/queues/%2F/from/move";

/// A server with the queue `from` that has this many ready messages, `1` to `n`.
async fn with_messages(count: u32) -> (TestServer, Client, Peer) {
    let server = TestServer::start().await;
    let guest = Client::guest(&server);
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "from", &[]).await;
    for number in 1..=count {
        let body = number.to_string();
        peer.publish(1, "from", body.as_bytes()).await;
    }
    eventually_eq("they are ready", u64::from(count), || server.ready("from")).await;
    (server, guest, peer)
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_messages_go_to_the_end_of_the_other_queue_in_order() {
    let (server, mut guest, mut peer) = with_messages(300).await;
    peer.declare_durable(1, "to", &[("x-queue-type", text("quorum"))])
        .await;
    peer.publish(1, "to", b"0").await;
    eventually_eq("the first one", 1, || server.ready("to")).await;
    // An unacked message stays.
    assert_eq!(peer.get(1, "from").await.unwrap().body, b"1");
    let moved = guest.send("POST", MOVE, br#"{"to": "to"}"#).await;
    assert_eq!(moved.json(), json!({"moved": 299, "is_full": false}));
    assert_eq!(server.numbers("from"), (0, 1, 0));
    let server = server.restart_without_grace().await;
    let mut peer = Peer::new(&server).await;
    for number in [0].into_iter().chain(2..=300) {
        let got = peer.get_no_ack(1, "to").await.unwrap();
        assert_eq!(got.body, number.to_string().as_bytes());
    }
    assert_eq!(server.ready("to"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_takes_no_more_and_the_rest_stays_in_place() {
    let (server, mut guest, mut peer) = with_messages(10).await;
    let full = [
        ("x-max-length", long(4)),
        ("x-overflow", text("reject-publish")),
    ];
    peer.declare_durable(1, "to", &full).await;
    let moved = guest.send("POST", MOVE, br#"{"to": "to"}"#).await;
    assert_eq!(moved.json(), json!({"moved": 4, "is_full": true}));
    assert_eq!((server.ready("from"), server.ready("to")), (6, 4));
    assert_eq!(peer.get_no_ack(1, "from").await.unwrap().body, b"5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_needs_two_queues_and_the_rights_to_read_and_publish() {
    let (server, mut guest, mut peer) = with_messages(1).await;
    peer.declare_durable(1, "to", &[]).await;
    peer.declare_durable(1, "log", &[("x-queue-type", text("stream"))])
        .await;
    let to = |queue: &str| json!({"to": queue});
    let of_log = "/api/leveret/queues/%2F/log/move";
    let permission =
        |read: &str, write: &str| json!({"configure": "", "write": write, "read": read});
    let set = "/api/permissions/%2F/u";
    check(
        &mut guest,
        &[
            ("POST", MOVE, json!({}), 400, "key_missing"),
            ("POST", MOVE, to("from"), 400, "both queues are the same"),
            ("POST", MOVE, to("nowhere"), 404, "no queue 'nowhere'"),
            ("POST", of_log, to("to"), 400, "a stream keeps its messages"),
            ("GET", MOVE, NONE, 405, ""),
            (
                "PUT",
                "/api/users/u",
                json!({"password": "p", "tags": "management"}),
                201,
                "",
            ),
            ("PUT", set, permission("", "amq.default"), 201, ""),
        ],
    )
    .await;
    let mut user = Client::of(&server, "u", "p");
    check(&mut user, &[("POST", MOVE, to("to"), 401, "")]).await;
    check(
        &mut guest,
        &[("PUT", set, permission("from", "to"), 204, "")],
    )
    .await;
    check(&mut user, &[("POST", MOVE, to("to"), 401, "")]).await;
    check(
        &mut guest,
        &[("PUT", set, permission("from", "amq.default"), 204, "")],
    )
    .await;
    check(&mut user, &[("POST", MOVE, to("to"), 200, "\"moved\":1")]).await;
    assert_eq!((server.ready("from"), server.ready("to")), (0, 1));
}
