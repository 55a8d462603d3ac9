//! Dynamic shovels: defined by parameters, seen and ended through the API.

use std::sync::Arc;
use std::time::Duration;

use leveret::broker::parameters::runtime;
use leveret::model::shovel::ShovelDefinition;
use leveret::store::MemoryStore;
use leveret::views::{Force, ShovelState, ShovelStatus};
use leveret::wire::AMQPValue;
use serde_json::{Value, json};

use super::proxy::Proxy;
use crate::management::client::Client;
use crate::support::{Peer, TestServer, eventually, eventually_eq};

/// A definition from queue `from` of this broker to queue `to` at `uri`.
pub(super) fn to(uri: &str, more: Value) -> Value {
    let mut value = json!({
        "src-uri": "amqp://", "src-queue": "from", "dest-uri": uri, "dest-queue": "to", "reconnect-delay": 0.05,
    });
    for (key, term) in more.as_object().unwrap() {
        value[key] = term.clone();
    }
    value
}

pub(super) async fn set(server: &TestServer, name: &str, value: Value) {
    runtime::set(&server.broker, "/", "shovel", name, &value)
        .await
        .unwrap();
}

pub(super) fn status(server: &TestServer, name: &str) -> Option<ShovelStatus> {
    server.views.shovels().get("/", name)
}

pub(super) fn state(server: &TestServer, name: &str) -> &'static str {
    status(server, name).map_or("none", |status| status.state_name())
}

pub(super) async fn publish(server: &TestServer, numbers: std::ops::Range<u64>) {
    let mut peer = Peer::new(server).await;
    peer.declare_durable(1, "from", &[]).await;
    for number in numbers {
        peer.publish(1, "from", number.to_string().as_bytes()).await;
    }
    // Its answer follows everything that was sent before.
    peer.close_connection().await;
}

async fn arrived(server: &TestServer) -> Vec<u64> {
    let mut peer = Peer::new(server).await;
    let mut arrived = Vec::new();
    while let Some(content) = peer.get_no_ack(1, "to").await {
        arrived.push(content.text().parse().unwrap());
    }
    arrived
}

#[tokio::test]
async fn a_shovel_within_one_broker_needs_no_password_and_declares_its_queues() {
    let server = TestServer::start().await;
    set(&server, "s", to("amqp:///%2f", json!({}))).await;
    eventually_eq("it runs", "running", || state(&server, "s")).await;
    publish(&server, 0..100).await;
    eventually("all are moved", || server.ready("to") == 100).await;
    assert!(arrived(&server).await.into_iter().eq(0..100));
    eventually("all are acked", || server.numbers("from") == (0, 0, 1)).await;
    assert!(
        runtime::clear(&server.broker, "/", "shovel", "s")
            .await
            .is_ok()
    );
    eventually("it is gone", || status(&server, "s").is_none()).await;
    eventually("its consumer too", || server.consumers("from") == 0).await;
}

#[tokio::test]
async fn delete_after_moves_exactly_so_many_and_removes_the_parameter() {
    for (mode, delete_after) in [
        ("on-confirm", json!(70)),
        ("on-publish", json!(70)),
        ("on-confirm", json!("queue-length")),
        ("on-confirm", json!(0)),
    ] {
        let server = TestServer::start().await;
        let length = match delete_after.as_u64() {
            Some(_) => 100,
            None => 70,
        };
        publish(&server, 0..length).await;
        let moved = delete_after.as_u64().unwrap_or(70);
        let more =
            json!({"src-delete-after": delete_after, "ack-mode": mode, "src-prefetch-count": 7});
        set(&server, "s", to("amqp://", more)).await;
        eventually("it deletes itself", || {
            server.broker.shovels().list().is_empty()
        })
        .await;
        eventually("it is gone", || status(&server, "s").is_none()).await;
        let left = length - moved;
        eventually("the rest is ready", || {
            server.numbers("from") == (left, 0, 0)
        })
        .await;
        assert!(arrived(&server).await.into_iter().eq(0..moved), "{mode}");
    }
}

#[tokio::test]
async fn a_shovel_with_a_duration_has_its_consumer_tag_and_then_removes_itself() {
    let server = TestServer::start().await;
    publish(&server, 0..5).await;
    let more = json!({"src-delete-after-duration": 2, "src-consumer-name": "mover"});
    set(&server, "s", to("amqp://", more)).await;
    eventually("its consumer has the tag", || {
        let consumers = server.views.consumers("/");
        consumers
            .iter()
            .any(|consumer| *consumer.info.tag == *"mover")
    })
    .await;
    eventually("all are moved", || server.ready("to") == 5).await;
    eventually("it is gone", || status(&server, "s").is_none()).await;
    assert!(server.broker.shovels().list().is_empty());
    assert_eq!(server.numbers("from"), (0, 0, 0));
}

#[tokio::test]
async fn a_protected_shovel_is_deleted_by_force_only() {
    let server = TestServer::start().await;
    let mut api = Client::guest(&server);
    set(&server, "s", to("amqp://", json!({"internal": true}))).await;
    let refused = api.delete("/api/shovels/vhost/%2f/s").await;
    let reason = refused.refused(405, "method_not_allowed");
    assert_eq!(
        reason,
        "Cannot delete protected shovel 's' in virtual host '/'."
    );
    assert!(server.broker.shovels().get("/", "s").is_some());
    let deleted = server.views.shovels().delete("/", "s", Force::Yes).await;
    assert_eq!(deleted, Ok(true));
}

#[tokio::test]
async fn shovels_survive_restarts_and_definitions_that_change() {
    let store = Arc::new(MemoryStore::default());
    let destination = TestServer::start().await;
    let uri = format!("amqp://{}", destination.address);
    let server = TestServer::start_on(store).await;
    set(&server, "s", to(&uri, json!({}))).await;
    publish(&server, 0..10).await;
    eventually("ten are moved", || destination.ready("to") == 10).await;
    let server = server.restart().await;
    publish(&server, 10..20).await;
    eventually("twenty are moved", || destination.ready("to") == 20).await;
    set(&server, "s", to(&uri, json!({"dest-queue": "other"}))).await;
    publish(&server, 20..30).await;
    eventually("the others go elsewhere", || {
        destination.ready("other") == 10
    })
    .await;
    assert!(arrived(&destination).await.into_iter().eq(0..20));
}

#[tokio::test]
async fn a_broken_shovel_tells_why_and_recovers() {
    let server = TestServer::start().await;
    publish(&server, 0..5).await;
    let predeclared = to(
        "amqp://guest:wrong@localhost:1/%2f",
        json!({"dest-predeclared": true}),
    );
    set(&server, "s", predeclared).await;
    let reason = || match status(&server, "s").map(|status| status.state) {
        Some(ShovelState::Terminated { reason }) => reason,
        _ => String::new(),
    };
    eventually("it cannot connect", || {
        reason().starts_with("destination: cannot connect")
    })
    .await;
    set(
        &server,
        "s",
        to("amqp://", json!({"dest-predeclared": true})),
    )
    .await;
    eventually("it finds no queue", || {
        reason() == "destination: there is no queue 'to'"
    })
    .await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "to", &[]).await;
    eventually("all are moved", || server.ready("to") == 5).await;
    assert_eq!(state(&server, "s"), "running");
    // A queue that is deleted under it ends the consumer, and is declared again.
    peer.call(1, crate::support::delete_queue("from")).await;
    publish(&server, 5..10).await;
    eventually("all are moved", || server.ready("to") == 10).await;
}

#[tokio::test]
async fn a_shovel_without_delay_is_tried_once() {
    let server = TestServer::start().await;
    let once = to(
        "amqp://",
        json!({"src-predeclared": true, "reconnect-delay": 0}),
    );
    set(&server, "s", once).await;
    eventually_eq("it is broken", "terminated", || state(&server, "s")).await;
    publish(&server, 0..5).await;
    assert!(server.views.shovels().restart("/", "s").await);
    eventually("all are moved", || server.ready("to") == 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_messages_pass_a_network_that_breaks_and_a_restart() {
    const COUNT: u64 = 50_000;
    let source = TestServer::start_on(Arc::new(MemoryStore::default())).await;
    let destination = TestServer::start().await;
    let proxy = Proxy::to(destination.address).await;
    set(
        &source,
        "s",
        to(&format!("amqp://{}?heartbeat=5", proxy.address), json!({})),
    )
    .await;
    publish(&source, 0..COUNT).await;
    for part in 1..6 {
        eventually("it goes on", || destination.ready("to") >= part * COUNT / 8).await;
        proxy.cut();
    }
    let source = source.restart().await;
    eventually("all are moved", || source.numbers("from") == (0, 0, 1)).await;
    let mut arrived = arrived(&destination).await;
    let total = arrived.len() as u64;
    arrived.sort_unstable();
    arrived.dedup();
    assert!(arrived.into_iter().eq(0..COUNT));
    // At most the prefetched messages of each break come again.
    assert!(total - COUNT <= 6 * 1000, "{} came again", total - COUNT);
}

#[tokio::test]
async fn an_exchange_is_a_source_and_a_destination() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "to", &[]).await;
    peer.bind(1, "to", "amq.topic", "to.#").await;
    let value = json!({
        "src-uri": "amqp://", "src-exchange": "amq.direct", "src-exchange-key": "k", "dest-uri": "amqp://",
        "dest-exchange": "amq.topic", "dest-exchange-key": "to.here", "add-forward-headers": true,
        "publish-properties": {"app_id": "shovel"}, "prefetch-count": 10,
    });
    set(&server, "s", value).await;
    eventually_eq("it runs", "running", || state(&server, "s")).await;
    peer.publish_to(
        1,
        "amq.direct",
        "k",
        &[("own", AMQPValue::Boolean(true))],
        "1",
    )
    .await;
    eventually("it is moved", || server.ready("to") == 1).await;
    let content = peer.get_no_ack(1, "to").await.unwrap();
    let headers = content.headers();
    assert_eq!(headers.inner().get("own"), Some(&AMQPValue::Boolean(true)));
    assert!(headers.contains_key("x-shovelled"));
}

#[tokio::test]
async fn the_api_shows_no_secrets_and_ends_shovels() {
    let server = TestServer::start().await;
    publish(&server, 0..3).await;
    let mut api = Client::guest(&server);
    let uri = format!("amqp://guest:guest@{}/%2f", server.address);
    let value = to(&uri, json!({}));
    let path = "/api/parameters/shovel/%2f/s";
    assert_eq!(api.put(path, &json!({"value": value})).await.status, 201);
    eventually("all are moved", || server.ready("to") == 3).await;
    eventually("it has confirms", || {
        status(&server, "s").is_some_and(|shovel| shovel.numbers.unconfirmed == 0)
    })
    .await;
    let mut shovels = api.json("/api/shovels").await;
    assert_eq!(api.json("/api/shovels/%2f").await, shovels);
    let shovel = shovels[0].as_object_mut().unwrap();
    for key in ["node", "timestamp"] {
        assert!(shovel.remove(key).unwrap().is_string());
    }
    let expected = json!([{
        "name": "s", "vhost": "/", "type": "dynamic", "state": "running", "src_uri": "amqp://",
        "src_protocol": "amqp091", "dest_protocol": "amqp091", "dest_uri": format!("amqp://{}/%2f", server.address),
        "src_queue": "from", "dest_queue": "to", "blocked_status": "running", "remaining": "unlimited",
        "remaining_unacked": "unlimited", "pending": 0, "forwarded": 3,
    }]);
    assert_eq!(shovels, expected);
    let shown = api.get("/api/shovels/vhost/%2f/s").await;
    assert_eq!(shown.json()["value"]["src-queue"], "from");
    assert!(!shown.text().contains("guest"), "{}", shown.text());

    assert_eq!(
        api.delete("/api/shovels/vhost/%2f/s/restart").await.status,
        204
    );
    assert_eq!(
        api.delete("/api/shovels/vhost/%2f/x/restart").await.status,
        404
    );
    eventually_eq("it runs again", "running", || state(&server, "s")).await;
    assert_eq!(api.delete("/api/shovels/vhost/%2f/s").await.status, 204);
    assert_eq!(api.get(path).await.status, 404);
    eventually("it is gone", || status(&server, "s").is_none()).await;

    let refused = api.put(path, &json!({"value": {"src-queue": "a"}})).await;
    let reason = refused.refused(400, "bad_request");
    assert!(reason.contains("Key \"src-uri\" not found"), "{reason}");
}

#[tokio::test]
async fn a_policymaker_reaches_only_virtual_hosts_that_it_may_enter() {
    let server = TestServer::start().await;
    let mut admin = Client::guest(&server);
    for (path, body) in [
        ("/api/vhosts/own", json!({})),
        (
            "/api/users/maker",
            json!({"password": "p", "tags": "policymaker"}),
        ),
        (
            "/api/permissions/own/maker",
            json!({"configure": "", "write": "", "read": ""}),
        ),
    ] {
        admin.put(path, &body).await;
    }
    let mut maker = Client::of(&server, "maker", "p");
    let between = |from: &str, to: &str| json!({"value": {"src-uri": from, "src-queue": "a", "dest-uri": to, "dest-queue": "b"}});
    let path = "/api/parameters/shovel/own/s";
    for value in [
        between("amqp:///own", "amqp://"),
        between("amqp:///%2f", "amqp:///own"),
    ] {
        let refused = maker.put(path, &value).await;
        let reason = refused.refused(400, "bad_request");
        assert_eq!(
            reason.trim(),
            "Validation failed\n\nuser \"maker\" may not connect to vhost \"/\""
        );
    }
    let allowed = maker
        .put(path, &between("amqp:///own", "amqp:///own"))
        .await;
    assert_eq!(allowed.status, 201);
    // Shovels of others' URIs are for monitors.
    maker
        .get("/api/shovels")
        .await
        .refused(401, "not_authorised");
}

#[tokio::test]
async fn user_ids_of_others_pass_within_the_broker() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "from", &[]).await;
    let publish = crate::support::Publish::to_queue("from", b"1")
        .with(|properties| properties.with_user_id("guest".into()));
    peer.publish_as(1, &publish).await;
    set(&server, "s", to("amqp://", json!({}))).await;
    eventually("it is moved", || server.ready("to") == 1).await;
    let content = peer.get_no_ack(1, "to").await.unwrap();
    let properties = leveret::wire::PropertiesView::parse(&content.properties).unwrap();
    assert_eq!(properties.user_id(), Some(&b"guest"[..]));
}

#[tokio::test]
async fn a_local_uri_with_a_user_acts_as_that_user() {
    let server = TestServer::start().await;
    let mut admin = Client::guest(&server);
    admin
        .put("/api/users/weak", &json!({"password": "p", "tags": ""}))
        .await;
    let permissions = json!({"configure": "", "write": "", "read": "^from$"});
    admin.put("/api/permissions/%2f/weak", &permissions).await;
    publish(&server, 0..1).await;
    set(&server, "s", to("amqp://weak@/%2f", json!({}))).await;
    let refused = || {
        matches!(status(&server, "s").map(|status| status.state), Some(ShovelState::Terminated { reason })
            if reason.starts_with("destination: ACCESS_REFUSED"))
    };
    eventually("it may not declare", refused).await;
    assert_eq!(server.ready("from"), 1);
    let parsed = ShovelDefinition::parse("s", &to("amqp://nobody@", json!({}))).unwrap();
    assert_eq!(parsed.reconnect_delay, Some(Duration::from_millis(50)));
}
