//! Virtual hosts and policies over the API.

use leveret::wire::AMQPValue;
use serde_json::json;

use super::Client;
use super::check::{NONE, check};
use crate::support::{Peer, TestServer, eventually_eq, keys, text};

#[tokio::test(flavor = "multi_thread")]
async fn virtual_hosts_are_set_protected_and_deleted() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let node = leveret::node::name();
    let start = format!("/api/vhosts/v/start/{node}");
    check(
        &mut guest,
        &[
            (
                "PUT",
                "/api/vhosts/v",
                json!({"description": "d", "tags": "a,b", "default_queue_type": "quorum"}),
                201,
                "",
            ),
            ("PUT", "/api/vhosts/a%2Fb%20%C3%A4", NONE, 201, ""),
            (
                "PUT",
                "/api/vhosts/w",
                json!({"default_queue_type": "nonsense"}),
                400,
                "nonsense is not a valid queue type",
            ),
            ("PUT", "/api/vhosts/w", json!({"tracing": "x"}), 400, ""),
            ("PUT", "/api/vhosts/w", json!({"tags": 5}), 400, "tags"),
            (
                "PUT",
                "/api/vhosts/w",
                json!({"description": 5}),
                400,
                "expected a string",
            ),
            (
                "PUT",
                &format!("/api/vhosts/{}", "v".repeat(256)),
                NONE,
                400,
                "255 bytes",
            ),
            ("GET", "/api/vhosts/w", NONE, 404, "Object Not Found"),
            ("DELETE", "/api/vhosts/w", NONE, 404, "Object Not Found"),
            ("POST", "/api/vhosts/w/deletion/protection", NONE, 404, ""),
            (
                "POST",
                "/api/vhosts/v/start/other@node",
                NONE,
                400,
                "Unknown node: other@node",
            ),
            ("POST", "/api/vhosts/w/start/other@node", NONE, 400, ""),
            ("POST", &start, NONE, 204, ""),
        ],
    )
    .await;
    let v = guest.json("/api/vhosts/v?columns=name,description,tags,default_queue_type,metadata,tracing,cluster_state,protected_from_deletion").await;
    assert_eq!(
        v,
        json!({
            "name": "v", "description": "d", "tags": ["a", "b"], "default_queue_type": "quorum",
            "metadata": {"description": "d", "tags": ["a", "b"], "default_queue_type": "quorum"},
            "tracing": false, "cluster_state": {node: "running"}, "protected_from_deletion": false,
        })
    );
    // Its creator may use a new virtual host.
    let permission = guest.json("/api/permissions/v/guest").await;
    assert_eq!(permission["configure"], ".*");
    let names = guest.json("/api/vhosts?columns=name").await;
    assert_eq!(
        names,
        json!([{"name": "/"}, {"name": "a/b ä"}, {"name": "v"}])
    );

    check(
        &mut guest,
        &[
            ("POST", "/api/vhosts/v/deletion/protection", NONE, 204, ""),
            (
                "PUT",
                "/api/vhosts/v",
                json!({"defaultqueuetype": "undefined"}),
                204,
                "",
            ),
            (
                "DELETE",
                "/api/vhosts/v",
                NONE,
                412,
                "Refusing to delete virtual host 'v' because it is protected from deletion",
            ),
        ],
    )
    .await;
    let v = guest.json("/api/vhosts/v").await;
    let shown = (
        &v["description"],
        &v["default_queue_type"],
        &v["protected_from_deletion"],
    );
    assert_eq!(shown, (&json!(""), &json!("classic"), &json!(true)));
    check(
        &mut guest,
        &[
            ("DELETE", "/api/vhosts/v/deletion/protection", NONE, 204, ""),
            ("DELETE", "/api/vhosts/v", NONE, 204, ""),
            ("DELETE", "/api/vhosts/v", NONE, 404, ""),
            ("GET", "/api/permissions/v/guest", NONE, 404, ""),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tracing_is_turned_on_and_off_and_stays_where_a_request_does_not_name_it() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    for (method, path, body, traced) in [
        ("PUT", "/api/vhosts/v", json!({"tracing": true}), true),
        ("PUT", "/api/vhosts/v", json!({"description": "d"}), true),
        ("PUT", "/api/vhosts/v", json!({"tracing": "false"}), false),
        (
            "POST",
            "/api/definitions",
            json!({"vhosts": [{"name": "v", "tracing": true}]}),
            true,
        ),
        (
            "POST",
            "/api/definitions",
            json!({"vhosts": [{"name": "v"}]}),
            true,
        ),
    ] {
        let reply = guest.send(method, path, body.to_string().as_bytes()).await;
        assert!((200..300).contains(&reply.status), "{body}");
        assert_eq!(
            guest.json("/api/vhosts/v").await["tracing"],
            traced,
            "{body}"
        );
    }
    // As in RabbitMQ, a file of definitions that is exported does not have it.
    let exported = guest.json("/api/definitions").await;
    assert!(!exported.to_string().contains("tracing"), "{exported}");
    let server = server.restart().await;
    let mut guest = Client::guest(&server);
    assert_eq!(guest.json("/api/vhosts/v").await["tracing"], false);
}

/// RabbitMQ's API opens a connection for each request.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_publishes_and_gets_is_traced() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let mut peer = Peer::new(&server).await;
    for queue in ["q", "trace"] {
        peer.declare(1, queue).await;
    }
    peer.bind(1, "trace", "amq.rabbitmq.trace", "#").await;
    server.broker.vhost("/").unwrap().set_traced(true);
    let message =
        json!({"properties": {}, "routing_key": "q", "payload": "p", "payload_encoding": "string"});
    let get = json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"});
    check(
        &mut guest,
        &[
            (
                "POST",
                "/api/exchanges/%2F/amq.default/publish",
                message,
                200,
                "true",
            ),
            ("POST", "/api/queues/%2F/q/get", get.clone(), 200, "p"),
            ("POST", "/api/queues/%2F/q/get", get, 200, "p"),
        ],
    )
    .await;
    for (name, value) in [
        ("routed_queues", keys(&["q"])),
        ("redelivered", AMQPValue::LongInt(0)),
        ("redelivered", AMQPValue::LongInt(1)),
    ] {
        let copy = peer.get_no_ack(1, "trace").await.unwrap();
        let headers = copy.headers();
        let fields = headers.inner();
        assert_eq!(fields.get(name), Some(&value));
        assert_eq!(fields.get("user"), Some(&text("guest")));
        assert_eq!(fields.get("channel"), Some(&AMQPValue::LongInt(1)));
        assert_eq!(copy.text(), "p");
    }
    assert!(peer.get_no_ack(1, "trace").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_hosts_have_totals_of_their_queues() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"one").await;
    eventually_eq("the message is ready", 1, || server.ready("q")).await;
    peer.get(1, "q").await.unwrap();
    for vhost in [
        guest.json("/api/vhosts").await[0].clone(),
        guest
            .json("/api/vhosts/%2F?lengths_age=60&lengths_incr=5")
            .await,
    ] {
        let lengths = ["messages", "messages_ready", "messages_unacknowledged"];
        assert_eq!(
            lengths.map(|length| vhost[length].as_u64()),
            [Some(1), Some(0), Some(1)]
        );
        assert_eq!(
            (
                &vhost["message_stats"]["publish"],
                &vhost["message_stats"]["get"]
            ),
            (&json!(1), &json!(1))
        );
        assert!(vhost["message_stats"]["publish_details"]["rate"].is_number());
        assert!(vhost["recv_oct"].as_u64() > Some(0) && vhost["send_oct"].as_u64() > Some(0));
    }
    let bare = guest.json("/api/vhosts?disable_stats=true").await;
    assert_eq!(bare[0]["name"], "/");
    assert!(bare[0].get("messages").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_set_on_live_queues_and_cleared() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "orders").await;
    peer.confirm_select(1).await;
    for body in [b"1", b"2", b"3"] {
        peer.publish(1, "orders", body).await;
    }
    eventually_eq("three messages are ready", 3, || server.ready("orders")).await;
    let policy = |definition| json!({"pattern": "^ord", "definition": definition, "priority": 1, "apply-to": "queues"});
    let path = "/api/policies/%2F/p";
    check(&mut guest, &[
        ("PUT", path, policy(json!({"max-length": 2})), 201, ""),
        ("PUT", path, policy(json!({"max-length": 1})), 204, ""),
        ("PUT", path, policy(json!({"nonsense": 1})), 400, r#"Validation failed\n\n[{<<\"nonsense\">>,1}] are not recognised policy settings\n"#),
        ("PUT", path, policy(json!({})), 400, "no policy provided"),
        ("PUT", path, policy(json!("x")), 400, ""),
        ("PUT", path, json!({"definition": {"max-length": 1}}), 400, "[{key_missing,pattern}]"),
        ("PUT", path, json!({"pattern": "x"}), 400, "[{key_missing,definition}]"),
        ("PUT", path, json!({"pattern": "[", "definition": {"max-length": 1}}), 400, "Validation failed"),
        ("PUT", path, json!({"pattern": 5, "definition": {"max-length": 1}}), 400, "Validation failed"),
        ("PUT", path, json!({"pattern": "x", "definition": {"max-length": 1}, "priority": "3"}), 400, "priority should be a number"),
        ("PUT", path, json!({"pattern": "x", "definition": {"max-length": 1}, "apply-to": "x"}), 400, "unrecognised"),
        ("PUT", "/api/policies/missing/p", policy(json!({"max-length": 1})), 404, "vhost_not_found"),
        ("GET", "/api/policies/missing", NONE, 404, "Object Not Found"),
        ("GET", "/api/policies/%2F/missing", NONE, 404, "Object Not Found"),
        ("DELETE", "/api/policies/missing/p", NONE, 404, ""),
        ("DELETE", "/api/policies/%2F/missing", NONE, 404, ""),
        ("PUT", "/api/operator-policies/%2F/o", policy(json!({"max-length": 5})), 201, ""),
        ("PUT", "/api/operator-policies/%2F/o", policy(json!({"dead-letter-exchange": "x"})), 400, "are not recognised policy settings"),
    ])
    .await;
    assert_eq!(server.ready("orders"), 1);
    let mut expected = policy(json!({"max-length": 1}));
    expected["vhost"] = json!("/");
    expected["name"] = json!("p");
    assert_eq!(guest.json(path).await, expected);
    assert_eq!(guest.json("/api/policies").await, json!([expected]));
    assert_eq!(guest.json("/api/policies/%2F").await, json!([expected]));
    assert_eq!(
        guest
            .json("/api/operator-policies/%2F/o?columns=name")
            .await,
        json!({"name": "o"})
    );
    assert_eq!(
        guest.json("/api/operator-policies?columns=vhost").await,
        json!([{"vhost": "/"}])
    );
    assert_eq!(
        guest.json("/api/operator-policies/%2F?columns=vhost").await,
        json!([{"vhost": "/"}])
    );
    check(
        &mut guest,
        &[
            ("PUT", path, policy(json!({"queue-mode": "lazy"})), 204, ""),
            ("GET", path, NONE, 200, r#""without_effect":["queue-mode"]"#),
            ("DELETE", path, NONE, 204, ""),
            ("DELETE", path, NONE, 404, "Object Not Found"),
            ("DELETE", "/api/operator-policies/%2F/o", NONE, 204, ""),
            ("DELETE", "/api/operator-policies/%2F/o", NONE, 404, ""),
        ],
    )
    .await;
    assert_eq!(guest.json("/api/policies").await, json!([]));
}
