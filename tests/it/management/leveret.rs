//! What this broker has beyond RabbitMQ: leases, rewinds, streams, CMQ and its keys.

use serde_json::{Value, json};

use super::Client;
use super::check::{NONE, check};
use crate::cmq;
use crate::support::{Peer, TestServer, eventually_eq, long, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_shown_in_detail_and_rewound() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let mut peer = Peer::new(&server).await;
    let arguments = [
        ("x-rewind-seconds", long(3600)),
        ("x-max-length", long(100)),
    ];
    peer.declare_durable(1, "q", &arguments).await;
    for body in [b"a", b"b", b"c"] {
        peer.publish(1, "q", body).await;
    }
    eventually_eq("three messages are ready", 3, || server.ready("q")).await;
    peer.get_no_ack(1, "q").await.unwrap();
    peer.get(1, "q").await.unwrap();
    let policy =
        json!({"pattern": "^q$", "definition": {"max-length": 50, "message-ttl": 3_600_000}});
    check(
        &mut guest,
        &[("PUT", "/api/operator-policies/%2F/bound", policy, 201, "")],
    )
    .await;

    let detail = guest.json("/api/leveret/queues/%2F/q").await;
    for (field, expected) in [
        ("name", json!("q")),
        ("vhost", json!("/")),
        ("type", json!("classic")),
        ("messages_ready", json!(1)),
        ("leases", json!(1)),
        ("delayed", json!(0)),
        ("rewindable", json!(1)),
        ("rewindable_bytes", json!(1)),
        ("lost", json!(0)),
    ] {
        assert_eq!(detail[field], expected, "{field}");
    }
    assert!(detail["oldest_message_timestamp"].is_u64());
    let settings = detail["effective_arguments"].as_array().unwrap();
    let setting = |name: &str| {
        let found = settings.iter().find(|setting| setting["name"] == name);
        found.unwrap_or(&Value::Null).clone()
    };
    assert_eq!(
        setting("max-length"),
        json!({"name": "max-length", "value": 50, "source": "operator policy", "policy": "bound"})
    );
    assert_eq!(
        setting("rewind-seconds"),
        json!({"name": "rewind-seconds", "value": 3600, "source": "argument"})
    );

    let rewind = "/api/leveret/queues/%2F/q/rewind";
    check(
        &mut guest,
        &[
            ("POST", rewind, json!({}), 400, "[{key_missing,to}]"),
            (
                "POST",
                rewind,
                json!({"to": "5m"}),
                400,
                "is neither an offset",
            ),
            (
                "POST",
                rewind,
                json!({"to": 99}),
                400,
                "no message has that offset",
            ),
            (
                "POST",
                rewind,
                json!({"to": "9999-01-01T00:00:00Z"}),
                400,
                "in the future",
            ),
            (
                "POST",
                "/api/leveret/queues/%2F/missing/rewind",
                json!({"to": 0}),
                404,
                "",
            ),
            (
                "POST",
                "/api/leveret/queues/missing/q/rewind",
                json!({"to": 0}),
                404,
                "",
            ),
            ("GET", "/api/leveret/queues/%2F/missing", NONE, 404, ""),
            (
                "POST",
                rewind,
                json!({"to": "0"}),
                200,
                r#"{"rewound":1,"from_offset":0}"#,
            ),
        ],
    )
    .await;
    assert_eq!(server.ready("q"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewind_takes_read_permission() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "q", &[("x-rewind-seconds", long(3600))])
        .await;
    let rewind = "/api/leveret/queues/%2F/q/rewind";
    let rights = |read: &str| json!({"configure": ".*", "write": ".*", "read": read});
    check(
        &mut guest,
        &[
            (
                "PUT",
                "/api/users/u",
                json!({"password": "u", "tags": "management"}),
                201,
                "",
            ),
            ("PUT", "/api/permissions/%2F/u", rights("^other"), 201, ""),
        ],
    )
    .await;
    let mut user = Client::of(&server, "u", "u");
    check(
        &mut user,
        &[("POST", rewind, json!({"to": "0s"}), 401, "not_authorised")],
    )
    .await;
    check(
        &mut guest,
        &[("PUT", "/api/permissions/%2F/u", rights("^q"), 204, "")],
    )
    .await;
    check(
        &mut user,
        &[
            ("POST", rewind, json!({"to": "0s"}), 200, r#""rewound":0"#),
            (
                "GET",
                "/api/leveret/secret-keys",
                NONE,
                401,
                "Not administrator user",
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_shown_with_their_offsets_and_times() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "s", &[("x-queue-type", text("stream"))])
        .await;
    peer.declare_durable(1, "q", &[]).await;
    let empty = guest.json("/api/leveret/streams/%2F").await;
    assert_eq!(
        empty,
        json!([{
            "name": "s", "vhost": "/", "messages": 0, "segments": 0, "first_offset": 0, "next_offset": 0, "bytes": 0,
            "oldest_timestamp": null, "newest_timestamp": null, "consumers": 0, "lost": 0,
        }])
    );
    for _ in 0..3 {
        peer.publish(1, "s", b"body").await;
    }
    eventually_eq("three messages are in the stream", 3, || server.ready("s")).await;
    let streams = guest.json("/api/leveret/streams").await;
    let stream = &streams[0];
    assert_eq!(streams.as_array().unwrap().len(), 1);
    assert_eq!(
        (&stream["messages"], &stream["next_offset"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(stream["segments"], 1);
    assert!(
        stream["oldest_timestamp"].as_u64().unwrap()
            <= stream["newest_timestamp"].as_u64().unwrap()
    );
    check(
        &mut guest,
        &[("GET", "/api/leveret/streams/missing", NONE, 404, "")],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_subscriptions_and_queues_of_cmq_are_listed() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    for list in ["topics", "subscriptions", "queues"] {
        assert_eq!(
            guest.json(&format!("/api/leveret/cmq/{list}")).await,
            json!([])
        );
    }
    let mut client = cmq::client(&server).await;
    client
        .ok(
            "CreateQueue",
            &[("queueName", "q"), ("visibilityTimeout", "7")],
        )
        .await;
    client
        .ok("CreateTopic", &[("topicName", "t"), ("filterType", "2")])
        .await;
    client
        .ok(
            "Subscribe",
            &[
                ("topicName", "t"),
                ("subscriptionName", "s"),
                ("protocol", "queue"),
                ("endpoint", "q"),
                ("bindingKey.1", "a.*"),
            ],
        )
        .await;
    let topics = guest.json("/api/leveret/cmq/topics").await;
    let topic = &topics[0];
    assert_eq!(
        (&topic["name"], &topic["vhost"]),
        (&json!("t"), &json!("/"))
    );
    assert_eq!(
        (&topic["filter_type"], &topic["subscriptions"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(topic["owner"], "guest");
    let subscriptions = guest
        .json("/api/leveret/cmq/subscriptions?name=s&page=1")
        .await;
    let subscription = &subscriptions["items"][0];
    for (field, expected) in [
        ("name", json!("s")),
        ("topic", json!("t")),
        ("protocol", json!("queue")),
        ("endpoint", json!("q")),
        ("binding_keys", json!(["a.*"])),
        ("filter_tags", json!([])),
        ("messages", json!(0)),
    ] {
        assert_eq!(subscription[field], expected, "{field}");
    }
    let queues = guest.json("/api/leveret/cmq/queues").await;
    assert_eq!(
        (&queues[0]["name"], &queues[0]["visibility_timeout"]),
        (&json!("q"), &json!(7))
    );
    // Those who may not enter the virtual host do not see them.
    check(
        &mut guest,
        &[(
            "PUT",
            "/api/users/u",
            json!({"password": "u", "tags": "management"}),
            201,
            "",
        )],
    )
    .await;
    let mut user = Client::of(&server, "u", "u");
    for list in ["topics", "subscriptions", "queues"] {
        assert_eq!(
            user.json(&format!("/api/leveret/cmq/{list}")).await,
            json!([])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_keys_are_created_shown_once_and_deleted() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let path = "/api/leveret/secret-keys";
    let created = guest
        .post(path, &json!({"user": "guest", "vhost": "/"}))
        .await;
    assert_eq!(created.status, 201);
    let created = created.json();
    let (id, key) = (
        created["id"].as_str().unwrap(),
        created["key"].as_str().unwrap(),
    );
    assert!(id.starts_with("AKID") && key.len() == 32);
    let listed = guest.get(path).await.text();
    assert!(listed.contains(id) && !listed.contains(key));
    let chosen = json!({"user": "guest", "vhost": "/", "id": "mine", "key": "k"});
    check(
        &mut guest,
        &[
            ("POST", path, chosen.clone(), 201, ""),
            ("POST", path, chosen, 400, "already exists"),
            (
                "POST",
                path,
                json!({"vhost": "/"}),
                400,
                "[{key_missing,user}]",
            ),
            (
                "POST",
                path,
                json!({"user": "guest", "vhost": "/", "id": "x"}),
                400,
                "together",
            ),
            (
                "POST",
                path,
                json!({"user": "guest", "vhost": "/", "id": "", "key": "k"}),
                400,
                "1 to 128 bytes",
            ),
            (
                "POST",
                path,
                json!({"user": "missing", "vhost": "/"}),
                400,
                "vhost_or_user_not_found",
            ),
            (
                "POST",
                path,
                json!({"user": "guest", "vhost": "missing"}),
                400,
                "vhost_or_user_not_found",
            ),
            ("DELETE", "/api/leveret/secret-keys/mine", NONE, 204, ""),
            (
                "DELETE",
                "/api/leveret/secret-keys/mine",
                NONE,
                404,
                "Object Not Found",
            ),
        ],
    )
    .await;
}
