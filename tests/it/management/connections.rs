//! Connections, channels and consumers; closing connections; the broker as a whole.

use serde_json::{Value, json};
use tokio::time::timeout;

use super::Client;
use crate::support::{PATIENCE, Peer, Publish, TestServer};

fn path_of(connection: &Value) -> String {
    let name = connection["name"].as_str().unwrap();
    name.replace(' ', "%20").replace('>', "%3E")
}

/// Asks until the answer is as expected.
async fn until(client: &mut Client, path: &str, is_expected: impl Fn(&Value) -> bool) -> Value {
    let asked = timeout(PATIENCE, async {
        loop {
            let json = client.json(path).await;
            if is_expected(&json) {
                return json;
            }
        }
    });
    asked
        .await
        .unwrap_or_else(|_| panic!("{path} never is as expected"))
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_channels_and_consumers_are_listed() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    assert_eq!(client.json("/api/connections").await, json!([]));
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.consume(1, "q", "tag").await;
    // Some clients send a slash behind the path.
    let list = client.json("/api/connections/").await;
    let connection = &list[0];
    for (field, expected) in [
        ("user", json!("guest")),
        ("vhost", json!("/")),
        ("protocol", json!("AMQP 0-9-1")),
        ("state", json!("running")),
        ("ssl", json!(false)),
        ("peer_host", json!("127.0.0.1")),
        ("auth_mechanism", json!("PLAIN")),
    ] {
        assert_eq!(connection[field], expected, "{field}");
    }
    let path = format!("/api/connections/{}", path_of(connection));
    assert_eq!(client.json(&path).await["name"], connection["name"]);
    client
        .get(&format!("{path}/sessions"))
        .await
        .refused(400, "bad_request");
    // A connection tells its channels now and then.
    let channels = until(&mut client, &format!("{path}/channels"), |channels| {
        channels[0]["consumer_count"] == 1
    })
    .await;
    let (channel, name) = (&channels[0], connection["name"].as_str().unwrap());
    assert_eq!(channel["name"], format!("{name} (1)"));
    assert_eq!(
        (&channel["number"], &channel["consumer_count"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        client.json("/api/vhosts/%2F/channels").await[0]["name"],
        channel["name"]
    );
    let one = client
        .json(&format!("/api/channels/{}", path_of(channel)))
        .await;
    let consumers = client.json("/api/consumers/%2F").await;
    assert_eq!(one["consumer_details"], consumers);
    for (field, expected) in [
        ("consumer_tag", json!("tag")),
        ("queue", json!({"name": "q", "vhost": "/"})),
        ("ack_required", json!(true)),
        ("active", json!(true)),
    ] {
        assert_eq!(consumers[0][field], expected, "{field}");
    }
    assert_eq!(
        consumers[0]["channel_details"]["connection_name"],
        connection["name"]
    );
    let queue = client.json("/api/queues/%2F/q").await;
    assert_eq!(
        (&queue["consumers"], &queue["consumer_details"]),
        (&json!(1), &consumers)
    );
    let overview = client.json("/api/overview").await;
    let totals =
        json!({"connections": 1, "channels": 1, "exchanges": 7, "queues": 1, "consumers": 1});
    assert_eq!(overview["object_totals"], totals);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_closed_with_a_reason() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let mut client = Client::guest(&server).with_header("x-reason", "maintenance");
    let list = client.json("/api/connections").await;
    let path = format!("/api/connections/{}", path_of(&list[0]));
    assert_eq!(client.delete(&path).await.status, 204);
    let closed = (320, "CONNECTION_FORCED - maintenance".to_owned());
    assert_eq!(peer.closed().await, closed);
    client
        .delete("/api/connections/none")
        .await
        .refused(404, "Object Not Found");

    let mut peer = Peer::new(&server).await;
    let mut client = Client::guest(&server);
    assert_eq!(
        client.json("/api/connections/username/none").await,
        json!([])
    );
    let of_user = client.json("/api/connections/username/guest").await;
    assert_eq!(
        (&of_user[0]["user"], &of_user[0]["vhost"]),
        (&json!("guest"), &json!("/"))
    );
    assert_eq!(
        client.delete("/api/connections/username/none").await.status,
        204
    );
    assert_eq!(
        client
            .delete("/api/connections/username/guest")
            .await
            .status,
        204
    );
    let closed = (
        320,
        "CONNECTION_FORCED - Closed via management plugin".to_owned(),
    );
    assert_eq!(peer.closed().await, closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_see_and_close_their_own_connections_only() {
    let server = TestServer::start().await;
    let _peer = Peer::new(&server).await;
    let users = server.broker.users();
    users
        .add("u", b"pw", vec!["management".into()])
        .await
        .unwrap();
    users
        .add("m", b"pw", vec!["monitoring".into()])
        .await
        .unwrap();
    let mut guest = Client::guest(&server);
    let list = guest.json("/api/connections").await;
    let path = format!("/api/connections/{}", path_of(&list[0]));
    let mut user = Client::of(&server, "u", "pw");
    assert_eq!(user.json("/api/connections").await, json!([]));
    assert_eq!(user.json("/api/channels").await, json!([]));
    let reason = "User not authorised to access object";
    for path in [path.as_str(), "/api/connections/username/guest"] {
        assert_eq!(user.get(path).await.refused(401, "not_authorised"), reason);
        assert_eq!(
            user.delete(path).await.refused(401, "not_authorised"),
            reason
        );
    }
    let mut monitor = Client::of(&server, "m", "pw");
    assert_eq!(monitor.json(&path).await["name"], list[0]["name"]);
    assert_eq!(
        monitor.delete(&path).await.refused(401, "not_authorised"),
        reason
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_and_its_node_are_shown() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    let overview = client.json("/api/overview").await;
    for field in [
        "rabbitmq_version",
        "node",
        "listeners",
        "contexts",
        "queue_totals",
        "churn_rates",
        "message_stats",
    ] {
        assert!(overview.get(field).is_some(), "{field}");
    }
    assert_eq!(overview["product_name"], "Leveret");
    assert_eq!(
        client.json("/api/version").await,
        overview["rabbitmq_version"]
    );
    let nodes = client.json("/api/nodes").await;
    let node = &nodes[0];
    for field in [
        "mem_used",
        "mem_limit",
        "disk_free",
        "fd_used",
        "uptime",
        "processors",
    ] {
        assert!(node[field].is_u64(), "{field}");
    }
    let path = format!("/api/nodes/{}", node["name"].as_str().unwrap());
    assert_eq!(client.json(&path).await["name"], node["name"]);
    let memory = client.json(&format!("{path}/memory")).await;
    assert!(memory["memory"]["total"]["rss"].as_u64().unwrap() > 0);
    client.json(&format!("{path}/memory/relative")).await;
    client
        .get("/api/nodes/none")
        .await
        .refused(404, "Object Not Found");

    let name = client.json("/api/cluster-name").await;
    assert_eq!(name["name"], overview["cluster_name"]);
    assert_eq!(
        client
            .put("/api/cluster-name", &json!({"name": "new"}))
            .await
            .status,
        204
    );
    assert_eq!(
        client.json("/api/cluster-name").await,
        json!({"name": "new"})
    );
    let reply = client.put("/api/cluster-name", &json!({})).await;
    assert_eq!(reply.refused(400, "bad_request"), "[{key_missing,name}]");
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_move_with_messages() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    assert_eq!(
        client.json("/api/queues/%2F/q").await.get("message_stats"),
        None
    );
    peer.publish(1, "q", b"one").await;
    peer.get_no_ack(1, "q").await;
    let path = "/api/queues/%2F/q?msg_rates_age=60&msg_rates_incr=5";
    let queue = until(&mut client, path, |queue| {
        queue["message_stats"]["get_no_ack"] == 1
    })
    .await;
    let stats = &queue["message_stats"];
    assert_eq!(
        (
            &stats["publish"],
            &stats["get_no_ack"],
            &stats["deliver_get"]
        ),
        (&json!(1), &json!(1), &json!(1))
    );
    assert!(stats["publish_details"]["rate"].is_f64());
    assert!(
        !stats["publish_details"]["samples"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    until(&mut client, "/api/exchanges/%2F/amq.default", |exchange| {
        exchange["message_stats"]["publish_in"] == 1
    })
    .await;
    let reply = client.get("/api/queues?lengths_age=0&lengths_incr=5").await;
    reply.refused(400, "invalid_range_parameters");
}

/// RabbitMQ's tools find by this what nobody uses.
#[tokio::test(flavor = "multi_thread")]
async fn queues_and_channels_tell_since_when_they_are_idle() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    let channel = until(&mut client, "/api/channels", |list| {
        list[0]["idle_since"].is_string()
    });
    let first = channel.await[0]["idle_since"].clone();
    let is_idle = |queue: &Value| queue["idle_since"].is_string();
    let queue = until(&mut client, "/api/queues/%2F/q", is_idle).await;
    // To look at a queue is no activity.
    client.json("/api/leveret/queues/%2F/q").await;
    assert_eq!(
        client.json("/api/queues/%2F/q").await["idle_since"],
        queue["idle_since"]
    );
    peer.publish(1, "q", b"1").await;
    let later = |since: &Value, before: &Value| since.as_str() > before.as_str();
    until(&mut client, "/api/queues/%2F/q", |again| {
        later(&again["idle_since"], &queue["idle_since"])
    })
    .await;
    until(&mut client, "/api/channels", |list| {
        later(&list[0]["idle_since"], &first)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_tells_the_timestamp_of_its_first_message() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    let path = "/api/queues/%2F/q?columns=head_message_timestamp";
    let shown = |timestamp: Value| json!({"head_message_timestamp": timestamp});
    assert_eq!(client.json(path).await, shown(Value::Null));
    for timestamp in [1_700_000_000, 1_800_000_000] {
        let publish = Publish::to_queue("q", b"b");
        let publish = publish.with(|properties| properties.with_timestamp(timestamp));
        peer.publish_as(1, &publish).await;
    }
    peer.publish(1, "q", b"without").await;
    for expected in [json!(1_700_000_000), json!(1_800_000_000), Value::Null] {
        let got = peer.get(1, "q").await.unwrap();
        assert_eq!(client.json(path).await, shown(expected));
        peer.ack(1, got.delivery_tag()).await;
        peer.expect_nothing(1).await;
    }
}
