//! Queues, exchanges and bindings: declaring, listing, publishing, fetching, purging and deleting.

use serde_json::{Value, json};

use super::Client;
use crate::support::TestServer;

/// A name with everything that paths quote.
const ODD: &str = "h%C3%A9llo%20%E2%9C%93%2Fslash";

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_declared_shown_and_deleted() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    let declaration = json!({"durable": true, "arguments": {"x-max-length": 10}});
    for path in [
        "/api/queues/%2F/q".to_owned(),
        format!("/api/queues/%2F/{ODD}"),
    ] {
        assert_eq!(client.put(&path, &declaration).await.status, 201, "{path}");
        assert_eq!(client.put(&path, &declaration).await.status, 204, "{path}");
    }
    let queue = client.json(&format!("/api/queues/%2F/{ODD}")).await;
    for (field, expected) in [
        ("name", json!("héllo ✓/slash")),
        ("vhost", json!("/")),
        ("type", json!("classic")),
        ("durable", json!(true)),
        ("auto_delete", json!(false)),
        ("exclusive", json!(false)),
        (
            "arguments",
            json!({"x-max-length": 10, "x-queue-type": "classic"}),
        ),
        ("state", json!("running")),
        ("messages", json!(0)),
        ("consumers", json!(0)),
        ("policy", json!(null)),
        ("effective_policy_definition", json!({})),
        ("consumer_details", json!([])),
    ] {
        assert_eq!(queue[field], expected, "{field}");
    }
    let list = client.json("/api/queues?columns=name,vhost").await;
    let rows = json!([{"name": "héllo ✓/slash", "vhost": "/"}, {"name": "q", "vhost": "/"}]);
    assert_eq!(list, rows);
    let totals = client
        .json("/api/queues/%2F/q?disable_stats=true&enable_queue_totals=true")
        .await;
    assert_eq!(
        (&totals["messages"], totals.get("consumers")),
        (&json!(0), None)
    );

    let reply = client
        .put("/api/queues/%2F/q", &json!({"durable": false}))
        .await;
    assert_eq!(
        reply.refused(400, "bad_request"),
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'"
    );
    let gone = format!("/api/queues/%2F/{ODD}");
    assert_eq!(client.delete(&gone).await.status, 204);
    client.delete(&gone).await.refused(404, "Object Not Found");
    client.get(&gone).await.refused(404, "Object Not Found");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_declarations_are_refused_in_rabbitmqs_words() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    for (path, body, status, error, reason) in [
        (
            "queues/%2F/q",
            r#"{"durable": "maybe"}"#,
            400,
            "bad_request",
            json!(["not_boolean", "maybe"]),
        ),
        ("queues/%2F/q", "{", 400, "bad_request", json!("not_json")),
        ("queues/%2F/q", "[]", 400, "bad_request", json!("not_json")),
        (
            "queues/%2F/q",
            r#""x""#,
            400,
            "bad_request",
            json!(
                "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?"
            ),
        ),
        (
            "queues/%2F/q",
            r#"{"arguments": {"x-message-ttl": "abc"}}"#,
            400,
            "bad_request",
            json!(
                "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': \"expected integer, got longstr\""
            ),
        ),
        (
            "queues/%2F/q",
            r#"{"arguments": {"x": null}}"#,
            400,
            "bad_request",
            json!("null_not_allowed"),
        ),
        (
            "queues/%2F/q",
            r#"{"arguments": "x"}"#,
            400,
            "bad_request",
            json!("arguments are no object"),
        ),
        (
            "queues/%2F/q",
            r#"{"node": "rabbit@nowhere"}"#,
            400,
            "bad_request",
            json!("Node rabbit@nowhere is not a cluster member"),
        ),
        (
            "queues/%2F/amq.mine",
            "{}",
            401,
            "not_authorised",
            json!("Access refused."),
        ),
        (
            "queues/missing/q",
            "{}",
            404,
            "not_found",
            json!("vhost_not_found"),
        ),
        (
            "exchanges/%2F/e",
            r#"{"type": "nonsense"}"#,
            400,
            "bad_request",
            json!("unknown exchange type 'nonsense'"),
        ),
        (
            "exchanges/%2F/amq.default",
            "{}",
            401,
            "not_authorised",
            json!("Access refused."),
        ),
        (
            "exchanges/%2F/amq.direct",
            r#"{"type": "topic", "durable": true}"#,
            400,
            "bad_request",
            json!(
                "inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': received 'topic' but current is 'direct'"
            ),
        ),
    ] {
        let reply = client
            .send("PUT", &format!("/api/{path}"), body.as_bytes())
            .await;
        let expected = json!({"error": error, "reason": reason});
        assert_eq!(
            (reply.status, reply.json()),
            (status, expected),
            "{path} {body}"
        );
    }
    let long = |bytes: usize| format!("/api/queues/%2F/{}", "x".repeat(bytes));
    assert_eq!(client.put(&long(255), &json!({})).await.status, 201);
    client
        .put(&long(256), &json!({}))
        .await
        .refused(400, "bad_request");
    // What RabbitMQ takes for no declaration at all.
    for body in ["", "null", "{\"arguments\": []}"] {
        let reply = client
            .send("PUT", "/api/queues/%2F/plain", body.as_bytes())
            .await;
        assert!(matches!(reply.status, 201 | 204), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_and_bindings_are_made_listed_and_removed() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    let exchange = json!({"type": "topic", "durable": true, "internal": "false"});
    assert_eq!(
        client.put("/api/exchanges/%2F/e", &exchange).await.status,
        201
    );
    assert_eq!(
        client.put("/api/exchanges/%2F/e", &exchange).await.status,
        204
    );
    client.put("/api/queues/%2F/q", &json!({})).await;
    let path = "/api/bindings/%2F/e/e/q/q";
    let plain = client.post(path, &json!({"routing_key": "a b/c"})).await;
    assert_eq!(
        (plain.status, plain.header("location")),
        (201, Some("q/a%2Bb%252Fc"))
    );
    let arguments = json!({"routing_key": "k", "arguments": {"n": 1}});
    let location = client.post(path, &arguments).await;
    let location = location.header("location").unwrap().to_owned();
    assert_eq!(client.post(path, &json!({})).await.status, 201);

    let between = client.json(path).await;
    assert_eq!(between.as_array().unwrap().len(), 3);
    let one = client.json("/api/bindings/%2F/e/e/q/q/a%2Bb%252Fc").await;
    let expected = json!({
        "source": "e", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "a b/c",
        "arguments": {}, "properties_key": "a+b%2Fc",
    });
    assert_eq!(one, expected);
    assert_eq!(
        client
            .json("/api/queues/%2F/q/bindings")
            .await
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        client.json("/api/exchanges/%2F/e/bindings/source").await,
        between
    );
    assert_eq!(
        client
            .json("/api/exchanges/%2F/e/bindings/destination")
            .await,
        json!([])
    );
    assert_eq!(
        client.json("/api/bindings").await.as_array().unwrap().len(),
        4
    );

    let reply = client.delete("/api/exchanges/%2F/e?if-unused=true").await;
    assert_eq!(
        reply.refused(400, "bad_request"),
        "exchange 'e' in vhost '/' in use"
    );
    for location in ["q/~", "q/a%2Bb%252Fc", &location] {
        let path = format!("/api/bindings/%2F/e/e/q/{location}");
        assert_eq!(client.delete(&path).await.status, 204, "{path}");
        client.delete(&path).await.refused(404, "Object Not Found");
    }
    assert_eq!(
        client
            .delete("/api/exchanges/%2F/e?if-unused=true")
            .await
            .status,
        204
    );

    for (path, body, status) in [
        ("/api/bindings/%2F/e/amq.topic/q/none", json!({}), 404),
        ("/api/bindings/%2F/e/none/q/q", json!({}), 404),
        ("/api/bindings/%2F/e/amq.topic/x/q", json!({}), 404),
        (
            "/api/bindings/%2F/e/amq.topic/q/q",
            json!({"routing_key": 5}),
            400,
        ),
        (
            "/api/bindings/%2F/e/amq.topic/q/q",
            json!({"arguments": "x"}),
            400,
        ),
        (
            "/api/bindings/%2F/e/amq.default/q/q",
            json!({"routing_key": "k"}),
            401,
        ),
    ] {
        assert_eq!(
            client.post(path, &body).await.status,
            status,
            "{path} {body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_published_fetched_and_purged() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    client
        .put("/api/queues/%2F/q", &json!({"durable": true}))
        .await;
    let publish = "/api/exchanges/%2F/amq.default/publish";
    let message = |key: &str, payload: &str, encoding: &str| {
        json!({
            "routing_key": key, "payload": payload, "payload_encoding": encoding,
            "properties": {"delivery_mode": 2, "headers": {"a": 1}},
        })
    };
    for (key, payload, encoding, routed) in [
        ("q", "hello", "string", true),
        ("q", "/w==", "base64", true),
        ("nowhere", "lost", "string", false),
    ] {
        let reply = client.post(publish, &message(key, payload, encoding)).await;
        assert_eq!(
            (reply.status, reply.json()),
            (200, json!({"routed": routed}))
        );
    }
    server.flush().await;
    let restarted = server.restart().await;
    let mut client = Client::guest(&restarted);
    let get = "/api/queues/%2F/q/get";
    let fetch =
        |count: i64, ackmode: &str| json!({"count": count, "ackmode": ackmode, "encoding": "auto"});
    let properties = json!({"delivery_mode": 2, "headers": {"a": 1}});
    let shown = |payload: &str, encoding: &str, bytes: usize, behind: usize| {
        json!({
            "payload_bytes": bytes, "redelivered": true, "exchange": "", "message_count": behind,
            "properties": properties, "payload": payload, "payload_encoding": encoding,
            "routing_key": "q",
        })
    };
    // After a restart each message may have been handed out before.
    for ackmode in ["ack_requeue_true", "reject_requeue_true"] {
        let messages = client.post(get, &fetch(-1, ackmode)).await.json();
        let expected = json!([
            shown("hello", "string", 5, 1),
            shown("/w==", "base64", 1, 0),
        ]);
        assert_eq!(messages, expected);
    }
    let truncated =
        json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "base64", "truncate": "2"});
    let messages = client.post(get, &truncated).await.json();
    assert_eq!(messages, json!([shown("aGU=", "base64", 5, 1)]));
    assert_eq!(restarted.numbers("q"), (2, 0, 0));

    let reply = client.delete("/api/queues/%2F/q?if-empty=true").await;
    assert_eq!(
        reply.refused(400, "bad_request"),
        "queue 'q' in vhost '/' not empty"
    );
    let taken = client
        .post(get, &fetch(1, "ack_requeue_false"))
        .await
        .json();
    assert_eq!(taken[0]["payload"], "hello");
    let rejected = client
        .post(get, &fetch(1, "reject_requeue_false"))
        .await
        .json();
    assert_eq!(rejected[0]["payload"], "/w==");
    assert_eq!(
        client.post(get, &fetch(5, "ack_requeue_true")).await.json(),
        json!([])
    );
    client.post(publish, &message("q", "x", "string")).await;
    assert_eq!(
        client.delete("/api/queues/%2F/q/contents").await.status,
        204
    );
    assert_eq!(restarted.numbers("q"), (0, 0, 0));
    assert_eq!(
        client
            .delete("/api/queues/%2F/q?if-empty=true")
            .await
            .status,
        204
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_publishes_and_fetches_are_refused_in_rabbitmqs_words() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    client.put("/api/queues/%2F/q", &json!({})).await;
    let stream = json!({"durable": true, "arguments": {"x-queue-type": "stream"}});
    client.put("/api/queues/%2F/stream", &stream).await;
    let publish = |changes: Value| {
        let mut body = json!({"properties": {}, "routing_key": "q", "payload": "x", "payload_encoding": "string"});
        for (key, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(body.as_object_mut().unwrap().remove(key)),
                value => body[key] = value.clone(),
            }
        }
        body
    };
    let path = "/api/exchanges/%2F/amq.default/publish";
    for (changes, reason) in [
        (json!({"payload": null}), json!("[{key_missing,payload}]")),
        (
            json!({"properties": null}),
            json!("[{key_missing,properties}]"),
        ),
        (
            json!({"payload_encoding": "hex"}),
            json!(["unsupported_encoding", "hex"]),
        ),
        (
            json!({"payload_encoding": "base64", "payload": "!!"}),
            json!(["not_base64", "!!"]),
        ),
        (json!({"payload": 5}), json!("payload_not_string")),
        (
            json!({"properties": {"delivery_mode": "x"}}),
            json!(["not_int", "delivery_mode"]),
        ),
        (
            json!({"properties": {"user_id": "other"}}),
            json!(
                "406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'"
            ),
        ),
        (
            json!({"properties": {"expiration": "x"}}),
            json!("406 PRECONDITION_FAILED - invalid expiration 'x': no_integer"),
        ),
    ] {
        let reply = client.post(path, &publish(changes)).await;
        let expected = json!({"error": "bad_request", "reason": reason});
        assert_eq!((reply.status, reply.json()), (400, expected));
    }
    let reply = client
        .post("/api/exchanges/%2F/none/publish", &publish(json!({})))
        .await;
    assert_eq!(reply.refused(404, "not_found"), "exchange_not_found");
    for (queue, body, status, reason) in [
        (
            "q",
            json!({"ackmode": "ack_requeue_true", "encoding": "auto"}),
            400,
            json!("[{key_missing,count}]"),
        ),
        (
            "q",
            json!({"count": "x", "ackmode": "ack_requeue_true", "encoding": "auto"}),
            400,
            json!(["not_integer", "x"]),
        ),
        (
            "q",
            json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "hex"}),
            400,
            json!("Unsupported encoding. Please use auto or base64."),
        ),
        ("none", json!({"count": 1}), 404, json!("queue_not_found")),
        (
            "stream",
            json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}),
            400,
            json!("540 basic.get not supported by stream queues queue 'stream' in vhost '/'"),
        ),
    ] {
        let reply = client
            .post(&format!("/api/queues/%2F/{queue}/get"), &body)
            .await;
        assert_eq!(
            (reply.status, &reply.json()["reason"]),
            (status, &reason),
            "{body}"
        );
    }
    let reply = client
        .post("/api/queues/%2F/q/actions", &json!({"action": "sync"}))
        .await;
    assert_eq!(reply.json()["reason"], json!(["unknown", "sync"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_message_is_no_failed_delivery_and_rejecting_it_is() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    let arguments = json!({"x-queue-type": "quorum", "x-delivery-limit": 0});
    let declaration = json!({"durable": true, "arguments": arguments});
    client.put("/api/queues/%2F/q", &declaration).await;
    let message =
        json!({"properties": {}, "routing_key": "q", "payload": "m", "payload_encoding": "string"});
    let publish = "/api/exchanges/%2F/amq.default/publish";
    client.post(publish, &message).await;
    for (ackmode, left) in [
        ("ack_requeue_true", 1),
        ("ack_requeue_true", 1),
        ("reject_requeue_true", 0),
    ] {
        let fetch = json!({"count": 1, "ackmode": ackmode, "encoding": "auto"});
        let messages = client.post("/api/queues/%2F/q/get", &fetch).await.json();
        assert_eq!(messages[0]["payload"], "m");
        assert_eq!(server.numbers("q"), (left, 0, 0), "{ackmode}");
    }
}
